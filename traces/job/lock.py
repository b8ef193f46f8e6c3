"""One lock around all of DGL's remote calls.

A DGL client takes the next response to be its own, so two threads that call at once abort, or get each other's rows.
The lock lets a script pull labels, evaluate, or use a DistEmbedding while our thread samples and fetches.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable
from functools import cache
from typing import Any

from traces.job.patches import patch, patch_everywhere

RPC = threading.RLock()
"""Held during every remote call of this process. One call may be made inside another."""


def _locked(original: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        with RPC:
            return original(*args, **kwargs)

    return call


@cache
def lock_rpc() -> None:
    """Make all of DGL's functions with remote calls take `RPC`. Further calls in a process do nothing."""
    from dgl.distributed import DistGraph, graph_services, rpc
    from dgl.distributed.kvstore import KVClient

    for name, value in list(vars(KVClient).items()):
        if inspect.isfunction(value) and not name.startswith("__"):
            patch(KVClient, name, _locked)
    patch(DistGraph, "__init__", _locked)
    services = [value for name, value in vars(graph_services).items() if not name.startswith("_")]
    calls = [value for value in services if inspect.isfunction(value) and value.__module__ == graph_services.__name__]
    calls += [getattr(rpc, name) for name in ("client_barrier", "remote_call", "remote_call_to_machine")]
    for function in calls:
        patch_everywhere("dgl", function, _locked)
