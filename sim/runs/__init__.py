"""One trace and its configurations: opened, changed, run, judged, written."""

__all__ = [
    "applied", "choose", "experiment", "former_names", "judging", "options", "results", "run", "timeline", "twin",
    "unseen", "whatif",
]  # fmt: skip
