"""Caches by name. A new one is a file beside this one, and a line in `CACHES`."""

from __future__ import annotations

from importlib import import_module

from agents.spec import options, parse_spec
from sim.caches.cache import Cache, Setup
from traces.errors import InputError

CACHES = {
    "score": "sim.caches.score:Score",
    "score-public": "sim.caches.public:PublicScore",
    "frequency": "sim.caches.frequency:Frequency",
    "window": "sim.caches.frequency:Window",
    "static": "sim.caches.static:Static",
    "degree": "sim.caches.static:Degree",
    "vip": "sim.caches.static:VIP",
    "vip-sampled": "sim.caches.presampled:SampledVIP",
    "presc": "sim.caches.presampled:PreSC",
    "random": "sim.caches.static:Random",
    "fifo": "sim.caches.fifo:FIFO",
    "lru": "sim.caches.lru:LRU",
    "lfu": "sim.caches.lfu:LFU",
    "clock": "sim.caches.clock:Clock",
    "sieve": "sim.caches.sieve:Sieve",
    "s3fifo": "sim.caches.s3fifo:S3FIFO",
    "tinylfu": "sim.caches.tinylfu:WTinyLFU",
    "arc": "sim.caches.arc:ARC",
    "likeliest": "sim.caches.likeliest:Likeliest",
    "min": "sim.caches.min:MIN",
    "lookahead": "sim.caches.lookahead:LookAhead",
    "hindsight": "sim.caches.static:Hindsight",
    "infinite": "sim.caches.infinite:Infinite",
}


def cache_class(name: str) -> type[Cache]:
    """The class behind a cache's name. Raises `InputError` for a name that isn't there."""
    if name not in CACHES:
        raise InputError(f"there is no cache {name!r}; there are {', '.join(sorted(CACHES))}")
    module, _, attribute = CACHES[name].partition(":")
    found: type[Cache] = getattr(import_module(module), attribute)
    return found


def make_cache(text: str, setup: Setup) -> Cache:
    """The cache that a spec string names, `score:alpha=.05,period=32`. Raises `InputError` for wrong options."""
    spec = parse_spec(text)
    kind = cache_class(spec.name)
    return kind(**options(spec, kind), setup=setup)
