"""Loaders are found by what they are, wherever a version of DGL keeps them, and are told once."""

from typing import Any

from traces.job.observe import _watch_loaders


class Base:
    """Stands for `dgl.distributed.DistDataLoader` of any version: 1.1 and 2.1 derive from it in `dgl.dataloading`, 2.4
    in `dgl.distributed`."""

    def __next__(self) -> str:
        return "base"

    def __iter__(self) -> "Base":
        return self


class Derived(Base):
    def __next__(self) -> str:
        return "derived of " + super().__next__()


class Told:
    def __init__(self) -> None:
        self.calls: list[str] = []

    def next_minibatch(self, loader: Any, original: Any) -> Any:
        self.calls.append(type(loader).__name__)
        return original()


def test_derived_loaders_are_told_once_also_those_of_frameworks(monkeypatch) -> None:
    from traces.job import observe

    told = Told()
    monkeypatch.setattr(observe._Installed, "observer", told)
    _watch_loaders(Base)

    class Later(Derived):
        def __next__(self) -> str:
            return "later, " + super().__next__()

    assert Later().__next__() == "later, derived of base"
    assert Derived().__next__() == "derived of base"
    assert Base().__next__() == "base"
    assert told.calls == ["Later", "Derived", "Base"]
