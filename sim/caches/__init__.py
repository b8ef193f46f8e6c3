"""Caches: one file an algorithm, behind one protocol (`sim.caches.cache`)."""

__all__ = [
    "arc", "blocks", "buckets", "cache", "check", "clock", "compulsory", "demand", "fifo", "frequency", "lfu",
    "lookahead", "lru", "managed", "min", "presampled", "public", "queues", "ranked", "registry", "rings", "s3fifo",
    "score", "sieve", "static", "tinylfu", "vip_demand",
]  # fmt: skip
