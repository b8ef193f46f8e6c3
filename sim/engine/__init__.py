"""Discrete events on cores, links, servers and the all-reduce."""

__all__ = [
    "allreduce",
    "cores",
    "engine",
    "environment",
    "event_heap",
    "layout",
    "links",
    "parameters",
    "rpc",
    "tasks",
    "threads",
]
