"""Which device a trainer computes on, and the order in which a minibatch gets there. A GPU is not needed for that."""

from contextlib import contextmanager

import pytest
import torch

from traces.capture.device import CPU, to_device, training_device


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", "3")


def test_without_a_gpu_trainers_compute_on_the_cpu(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert training_device() == CPU


def test_trainers_of_a_host_share_its_gpus_out(two_gpus) -> None:
    assert training_device() == torch.device("cuda:1")


class Rows:
    """Stands for a tensor or a block, and notes what is done with it."""

    def __init__(self, name: str, done: list[str]) -> None:
        self.name, self.done = name, done

    def pin_memory(self) -> "Rows":
        self.done.append(f"{self.name} pinned")
        return self

    def to(self, where: torch.device, non_blocking: bool = False) -> "Rows":
        self.done.append(f"{self.name} to {where}")
        return self

    def record_stream(self, stream: str) -> None:
        self.done.append(f"{self.name} in use by {stream}")


def test_a_minibatch_is_copied_beside_computing_and_kept_for_it(monkeypatch) -> None:
    done: list[str] = []

    class Stream:
        def __init__(self, where: torch.device) -> None: ...

        def synchronize(self) -> None:
            done.append("copied")

    @contextmanager
    def inside(stream: Stream):
        done.append("copying")
        yield

    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", inside)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda where: "computing")
    names = ["feat", "labels", "block"]
    feat, labels, block = (Rows(name, done) for name in names)
    to_device({"feat": feat}, labels, [block], torch.device("cuda:1"))  # type: ignore[arg-type, dict-item]
    start, end = done.index("copying"), done.index("copied")
    assert start == 0
    moved = ["feat pinned", "feat to cuda:1", "labels pinned", "labels to cuda:1", "block to cuda:1"]
    assert done[start + 1 : end] == moved
    assert done[end + 1 :] == [f"{name} in use by computing" for name in names]
