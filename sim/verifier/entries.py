"""The benchmark's own entries: every cache that decides alone, and every policy that needs no file and no model."""

from __future__ import annotations

from sim.caches.registry import CACHES, cache_class
from sim.verifier.candidate import Ours

UNBOUNDED = "compulsory"
"""Not an entry: it has room for everything."""

PERIODIC = ("every:8", "every:32", "always")
"""`never` is not among them: a managed buffer under it is the cache `static`."""

ADAPTIVE = (
    "partial:0.05", "random:0.1", "threshold:0.3", "hysteresis:0.3,0.5",
    "hill-climb:16", "bandit:16", "cost-benefit:32",
)  # fmt: skip

PUBLISHED = (
    Ours("score-public:alpha=0.005,period=32", "massivegnn:32"),
    Ours("score-public", "rudder-every:1"),
)
"""The example of MassiveGNN's repository, and Rudder under a model that always says yes."""


def entries() -> list[Ours]:
    """All of them; caches that know what comes among them."""
    alone = [Ours(name) for name in CACHES if not cache_class(name).managed and name != UNBOUNDED]
    managed = [name for name in CACHES if cache_class(name).managed]
    periodic = [Ours(cache, agent) for cache in managed for agent in PERIODIC]
    adaptive = [Ours(cache, agent) for cache in ("score", "frequency") for agent in ADAPTIVE]
    return [*alone, *periodic, *adaptive, *PUBLISHED]
