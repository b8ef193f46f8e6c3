"""Thousands of configurations over traces: a grid, processes that share the traces, one data set of results."""

__all__ = ["batches", "grid", "in_process", "leaderboard", "pool", "ray_workers", "store"]
