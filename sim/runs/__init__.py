"""One trace and its configurations: opened, changed, run, judged, written."""

__all__ = ["choose", "experiment", "former_names", "judging", "options", "results", "timeline", "twin", "whatif"]
