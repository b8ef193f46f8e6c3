"""Caches by name. A new one is a file beside this one, and a line in `CACHES`."""

from __future__ import annotations

from importlib import import_module

from agents.spec import Renames, Spec, options, parse_spec
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
    "vip-demand": "sim.caches.vip_demand:VIPDemand",
    "min": "sim.caches.min:MIN",
    "lookahead": "sim.caches.lookahead:LookAhead",
    "static-opt": "sim.caches.static:StaticOptimum",
    "compulsory": "sim.caches.compulsory:Compulsory",
}


RENAMES = Renames({"likeliest": "vip-demand", "hindsight": "static-opt", "infinite": "compulsory"})


def cache_class(text: str) -> type[Cache]:
    """The class behind a spec string, with options or without. Raises `InputError` for a name that isn't there."""
    return _found(parse_spec(RENAMES.now(text)))


def make_cache(text: str, setup: Setup) -> Cache:
    """The cache that a spec string names, `score:alpha=.05,period=32`. Raises `InputError` for wrong options."""
    spec = parse_spec(RENAMES.now(text))
    kind = _found(spec)
    return kind(**options(spec, kind), setup=setup)


def _found(spec: Spec) -> type[Cache]:
    if spec.name not in CACHES:
        raise InputError(f"there is no cache {spec.name!r}; there are {', '.join(sorted(CACHES))}")
    module, _, attribute = CACHES[spec.name].partition(":")
    found: type[Cache] = getattr(import_module(module), attribute)
    return found
