"""Hooks below a script: in DGL's loaders and store, in torch's DistributedDataParallel and optimizers.

Found by what they are and not by the version of DGL: every class that iterates as DGL's `DistDataLoader` does, wherever
it lives, also one that a framework derives later.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Protocol

from traces.job.lock import lock_rpc
from traces.job.patches import patch

Original = Callable[..., Any]


class Observer(Protocol):
    """Gets the events of a process, in whatever thread they happen. `original` is DGL's or torch's own function."""

    def next_minibatch(self, loader: Any, original: Original) -> Any:
        """In the place of a loader's `__next__`."""

    def iterate(self, loader: Any, original: Original) -> Any:
        """In the place of a loader's `__iter__`."""

    def pull(self, client: Any, name: str, ids: Any, original: Original) -> Any:
        """In the place of `KVClient.pull`, through which `DistTensor.__getitem__` and DistEmbedding go."""

    def pushed(self, name: str) -> None:
        """Rows of a tensor in the store are about to be written."""

    def wrapped(self, model: Any) -> None:
        """A model was put into DistributedDataParallel."""

    def forward(self, original: Original, *args: Any, **kwargs: Any) -> Any:
        """In the place of the forward pass of such a model."""

    def update(self, original: Original | None) -> Any:
        """Before an optimizer's step (None), or in the place of a sparse one's."""

    def opened(self, graph: Any, part_config: str | None) -> None:
        """A DistGraph was made, perhaps with the path of its partition's configuration."""

    def leaving(self) -> None:
        """The process group is about to be destroyed."""

    def joined(self) -> None:
        """The process group has just been made."""


class _Installed:
    """The observer of this process, None before there is one and after it has finished."""

    observer: Observer | None = None


def observer() -> Observer | None:
    """The present observer, or None."""
    return _Installed.observer


def observe(observer: Observer | None, models: bool = True) -> None:
    """Make `observer` (or nobody) get all events from now on. It is told at once of models that are already in
    DistributedDataParallel, unless it knows them."""
    import gc

    from torch.nn.parallel import DistributedDataParallel

    install()
    _Installed.observer = observer
    if observer is not None and models:
        for model in [one for one in gc.get_objects() if isinstance(one, DistributedDataParallel)]:
            observer.wrapped(model)


@cache
def install() -> None:
    """Install the hooks in DGL and torch, once a process. Without an observer they only take DGL's lock."""
    import torch.distributed
    from dgl.distributed import DistDataLoader, DistGraph
    from dgl.distributed.kvstore import KVClient
    from torch.nn.parallel import DistributedDataParallel
    from torch.optim import optimizer

    lock_rpc()
    _watch_loaders(DistDataLoader)
    patch(KVClient, "pull", _pull)
    patch(KVClient, "push", _push)
    patch(DistributedDataParallel, "__init__", _ddp_init)
    patch(DistributedDataParallel, "forward", _ddp_forward)
    optimizer.register_optimizer_step_pre_hook(lambda *_: _notify("update", None))
    patch(DistGraph, "__init__", _graph_init)
    for sparse in _sparse_optimizers():
        patch(sparse, "step", _sparse_step)
    patch(torch.distributed, "init_process_group", _init_group)
    patch(torch.distributed, "destroy_process_group", _destroy_group)


def _notify(what: str, *args: Any) -> Any:
    if (observer := _Installed.observer) is not None:
        return getattr(observer, what)(*args)
    return None


_inside = threading.local()
"""Whether this thread is inside a loader's function: a derived class calls its parent's, which must not count twice."""


def _outermost(what: str) -> Callable[[Original], Original]:
    def make(original: Original) -> Original:
        def call(loader: Any) -> Any:
            if (observer := _Installed.observer) is None or getattr(_inside, "loader", None) is loader:
                return original(loader)

            def plain() -> Any:
                with unobserved(loader):
                    return original(loader)

            return getattr(observer, what)(loader, plain)

        return call

    return make


@contextmanager
def unobserved(loader: Any) -> Iterator[None]:
    """In the block, this thread uses a loader without being observed."""
    before, _inside.loader = getattr(_inside, "loader", None), loader
    try:
        yield
    finally:
        _inside.loader = before


def _watch_loaders(base: type) -> None:
    def watch(loader_class: type) -> None:
        for name, what in (("__next__", "next_minibatch"), ("__iter__", "iterate")):
            if name in vars(loader_class):
                patch(loader_class, name, _outermost(what))

    def derived(loader_class: type, **kwargs: Any) -> None:
        object.__init_subclass__(**kwargs)
        watch(loader_class)

    known = [base]
    for one in known:
        watch(one)
        known += one.__subclasses__()
    base.__init_subclass__ = classmethod(derived)  # type: ignore[assignment]


def _pull(original: Original) -> Original:
    def pull(client: Any, name: str, id_tensor: Any) -> Any:
        if (observer := _Installed.observer) is None:
            return original(client, name, id_tensor)
        return observer.pull(client, name, id_tensor, lambda: original(client, name, id_tensor))

    return pull


def _graph_init(original: Original) -> Original:
    def init(graph: Any, graph_name: str, gpb: Any = None, part_config: str | None = None) -> None:
        original(graph, graph_name, gpb, part_config)
        _notify("opened", graph, part_config)

    return init


def _push(original: Original) -> Original:
    def push(client: Any, name: str, *args: Any, **kwargs: Any) -> Any:
        _notify("pushed", name)
        return original(client, name, *args, **kwargs)

    return push


def _ddp_init(original: Original) -> Original:
    def init(model: Any, *args: Any, **kwargs: Any) -> None:
        original(model, *args, **kwargs)
        _notify("wrapped", model)

    return init


def _ddp_forward(original: Original) -> Original:
    def forward(*args: Any, **kwargs: Any) -> Any:
        if (observer := _Installed.observer) is None:
            return original(*args, **kwargs)
        return observer.forward(original, *args, **kwargs)

    return forward


def _sparse_optimizers() -> list[type]:
    """DGL's optimizers of distributed embeddings: they step outside of torch's."""
    from dgl.distributed import optim

    classes = [value for value in vars(optim).values() if isinstance(value, type) and hasattr(value, "step")]
    return [base for one in classes for base in one.__mro__ if "step" in vars(base)][:1]


def _sparse_step(original: Original) -> Original:
    def step(*args: Any, **kwargs: Any) -> Any:
        if (observer := _Installed.observer) is None:
            return original(*args, **kwargs)
        return observer.update(lambda: original(*args, **kwargs))

    return step


def _init_group(original: Original) -> Original:
    def init(*args: Any, **kwargs: Any) -> None:
        original(*args, **kwargs)
        _notify("joined")

    return init


def _destroy_group(original: Original) -> Original:
    def destroy(group: Any = None) -> None:
        if group is None:
            _notify("leaving")
        original(group)

    return destroy
