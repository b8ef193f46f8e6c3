"""Discrete events on cores, links, servers and the all-reduce."""

__all__ = [
    "allreduce",
    "cores",
    "engine",
    "environment",
    "event_heap",
    "fair_sharing",
    "layout",
    "links",
    "parameters",
    "periods",
    "queues",
    "reference",
    "rpc",
    "state",
    "tasks",
    "threads",
]
