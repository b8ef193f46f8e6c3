"""One trace and its configurations: opened, changed, run, judged, written."""

__all__ = ["choose", "experiment", "judging", "options", "results", "timeline", "twin", "whatif"]
