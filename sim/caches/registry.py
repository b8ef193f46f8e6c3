"""Caches by name. A new one is a file beside this one, and a line in `CACHES`."""

from __future__ import annotations

from importlib import import_module

from agents.spec import Renames, Spec, options, parse_spec
from agents.user_code import Names, UserSpec, check_source
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


NAMES = Names("cache", {name: name for name in sorted(CACHES)}, RENAMES, "rudder_twin.caches")


def cache_class(text: str, sha256: str = "") -> type[Cache]:
    """The class behind a spec string, with options or without. Code of a user's own is run by this.

    `sha256` is the checksum of a user's own source that a configuration was made with. Raises `InputError` for a name
    that isn't there, for what is no cache, and for another source.
    """
    if (found := NAMES.user_spec(text)) is not None:
        return _loaded(found, sha256)
    return _ours(parse_spec(RENAMES.now(text)))


def make_cache(text: str, setup: Setup, sha256: str = "") -> Cache:
    """The cache that a spec string names, `score:alpha=.05,period=32` or `mine.py:Mine:.05`.

    Raises `InputError` as `cache_class`, and for wrong options.
    """
    if (found := NAMES.user_spec(text)) is None:
        spec = parse_spec(RENAMES.now(text))
        kind = _ours(spec)
        return kind(**options(spec, kind), setup=setup)
    kind = _loaded(found, sha256)
    arguments = options(found.spec, kind, but=("setup",))
    try:
        return kind(**arguments, setup=setup)
    except InputError:
        raise
    except Exception as error:
        raise found.code.failed("can't be made", error) from error


def may_ask_policy(text: str) -> bool:
    """Whether a cache asks a policy. A user's own isn't loaded to tell: it may."""
    return not _is_ours(text) or cache_class(text).managed


def is_bound(text: str) -> bool:
    """Whether a cache of ours knows the future. A user's own isn't loaded to tell: it counts as one that does not."""
    return _is_ours(text) and cache_class(text).summary.startswith("bound")


def live_caches() -> list[str]:
    """The caches of ours that a live run can have, in the order of `CACHES`."""
    return [name for name in CACHES if cache_class(name).live]


def _is_ours(text: str) -> bool:
    return parse_spec(RENAMES.now(text)).name in CACHES


def _ours(spec: Spec) -> type[Cache]:
    if spec.name not in CACHES:
        raise InputError(f"{spec.text}: a cache is named by its class, not by an object of it")
    module, _, attribute = CACHES[spec.name].partition(":")
    found: type[Cache] = getattr(import_module(module), attribute)
    return found


def _loaded(found: UserSpec, recorded: str) -> type[Cache]:
    code = found.code
    check_source(found.spec.name, code.sha256, recorded)
    kind = code.load()
    if not (isinstance(kind, type) and issubclass(kind, Cache)):
        raise InputError(f"{code}: is no cache: it must be a class that inherits from sim.caches.cache.Cache")
    if not isinstance(getattr(kind, "managed", None), bool):
        raise InputError(f"{code}: says nothing of `managed`; set it to True where policies decide, else to False")
    return kind
