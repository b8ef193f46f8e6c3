"""Many configurations over traces: a grid, processes that share the traces, one data set of results, leaderboards."""

__all__ = [
    "batches",
    "command",
    "grid",
    "in_process",
    "leaderboard",
    "pool",
    "ray_workers",
    "sampled",
    "search",
    "shared_twins",
    "store",
]
