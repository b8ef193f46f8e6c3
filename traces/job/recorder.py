"""Records one trainer of an unmodified job, epoch by epoch, from the events of `traces.job.observe`."""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection
from pathlib import Path
from time import perf_counter
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch

from traces.capture.recorder import Recorder, Step
from traces.cores import usable_cores
from traces.errors import InputError
from traces.job.facts import FeatureUse, TrainerFacts, targets_file
from traces.job.partition_files import PartitionFiles
from traces.job.sampled import Sampled, Typed, read_minibatch
from traces.job.source import MakeSource, Source
from traces.job.store import StoredData, node_data, timed_pull
from traces.job.timeline import Timeline

CPU = torch.device("cpu")


class _Busy:
    """The minibatch that the script is busy with."""

    def __init__(self, loader: Any, sampled: Sampled, timeline: Timeline) -> None:
        self.loader, self.sampled, self.timeline = loader, sampled, timeline
        self.trained = False
        self.used: list[tuple[StoredData, FeatureUse]] = []

    def asks_for_inputs(self, data: StoredData | None, ids: Any) -> bool:
        """Whether a pull asks for rows of all input nodes of a type."""
        if data is None or (inputs := self.sampled.inputs.get(data.node_type)) is None:
            return False
        return ids is inputs or (len(ids) == len(inputs) and torch.equal(ids, inputs))


class JobRecorder:
    """An observer that keeps every minibatch that is trained on; evaluation ends without an update, and isn't kept.

    `files` is the partition, `facts` what is known of this trainer so far, `fragments` the folder to write epochs to.
    An epoch is written when its loader begins the next one, so that nobody waits for it in the middle of a step.
    `make_source` may put something between a loader and its script that prepares minibatches ahead.
    """

    def __init__(
        self,
        files: PartitionFiles,
        facts: TrainerFacts,
        fragments: Path,
        clock_offset_s: float,
        make_source: MakeSource = lambda loader: None,
    ) -> None:
        self.files, self.facts, self.fragments = files, facts, fragments
        self._make_source = make_source
        self._sources: WeakKeyDictionary[Any, Source | None] = WeakKeyDictionary()
        owned = int(files.offsets[facts.partition]), int(files.offsets[facts.partition + 1])
        self._recorder = Recorder(fragments, facts.rank, facts.partition, owned, clock_offset_s)
        self._only_type = next(iter(files.node_ranges))
        self._data: dict[str, StoredData | None] = {}
        self._busy: _Busy | None = None
        self._kept: list[tuple[Sampled, Step]] = []
        self._loader: Any = None
        self._epoch_is_over = False
        self._parameters = self._gradients = 0
        self._device = CPU
        facts.host, facts.cores = socket.gethostname(), usable_cores()

    # what a script's loaders do

    def next_minibatch(self, loader: Any, original: Callable[[], Any]) -> Any:
        """Time the sampling, and begin a minibatch."""
        self.end_minibatch()
        start, source = perf_counter(), self._sources.get(loader)
        try:
            made = source.take() if source else None
            item = made.item if made else original()
        except StopIteration:
            self._epoch_is_over |= loader is self._loader
            raise
        timeline = Timeline(start, perf_counter(), ready_made=made)
        sampled = made.sampled if made else read_minibatch(item, self._only_type)
        self._busy = _Busy(loader, sampled, timeline)
        return item

    def iterate(self, loader: Any, original: Callable[[], Any]) -> Any:
        """A loader begins an epoch."""
        self.end_minibatch()
        if self._epoch_is_over or loader is self._loader:
            self.end_epoch()
        iterator = original()
        if loader not in self._sources:
            self._sources[loader] = self._make_source(loader)
        if (source := self._sources[loader]) is not None:
            source.begin()
        return iterator

    # what it asks of the store

    def pull(self, client: Any, name: str, ids: Any, original: Callable[[], Any]) -> Any:
        """Pull, and note the time."""
        if (busy := self._busy) is None:
            return original()
        if name not in self._data:
            self._data[name] = node_data(client, name)
        data = self._data[name]
        made = busy.timeline.ready_made
        if made is not None and name in made.rows and busy.asks_for_inputs(data, ids):
            self._use(busy, data, made.rows[name])
            return made.rows[name]
        start = perf_counter()
        if data is None or not busy.asks_for_inputs(data, ids):
            rows = original()
            busy.timeline.pulled_others(perf_counter() - start)
            return rows
        rows, times = timed_pull(client, data, ids, original)
        busy.timeline.pulled_features(perf_counter() - start, times)
        self._use(busy, data, rows)
        return rows

    def _use(self, busy: _Busy, data: StoredData | None, rows: torch.Tensor) -> None:
        """Note the data fetched for a type's input nodes, at the first pull."""
        if data is not None and data.key not in self.facts.features.get(data.node_type, {}) and len(rows):
            row_bytes, dtype = rows[:1].numel() * rows.element_size(), str(rows.dtype).removeprefix("torch.")
            busy.used.append((data, FeatureUse(name=data.name, dtype=dtype, row_bytes=row_bytes)))

    def pushed(self, name: str) -> None:
        """What is written while training goes on can't be kept in a buffer. Raises `InputError` for what is in one."""
        if any(source.serves(name) for source in self._sources.values() if source is not None):
            raise InputError(
                f"training writes {name!r}, which the captured run did not: its rows are in a buffer and would go "
                "stale; capture a run that writes it"
            )
        if self._loader is not None or (self._busy is not None and self._busy.trained):
            self.facts.written.add(name)

    # what it does with its model

    def wrapped(self, model: Any) -> None:
        """Count the parameters, and listen for their gradients."""
        parameters = [one for one in model.parameters() if one.requires_grad]
        self.facts.gradient_bytes += sum(one.numel() * one.element_size() for one in parameters)
        self.facts.model = self.facts.model or type(model.module).__name__
        if parameters and parameters[0].device.type == "cuda":
            self._device = parameters[0].device
            self.facts.device = "cuda"
        for one in parameters:
            if hasattr(one, "register_post_accumulate_grad_hook"):
                self._parameters += 1
                one.register_post_accumulate_grad_hook(self._gradient)

    def _gradient(self, parameter: Any) -> None:
        if (busy := self._busy) is not None:
            busy.trained = True
            self._gradients += 1
            if self._device == CPU or self._gradients == self._parameters:
                busy.timeline.gradients_ready_s = self._now()

    def forward(self, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Time the forward pass; of several, from the first to the last."""
        if (busy := self._busy) is None:
            return original(*args, **kwargs)
        timeline = busy.timeline
        timeline.forward_start_s = timeline.forward_start_s or self._now()
        self._gradients = 0
        result = original(*args, **kwargs)
        timeline.forward_end_s = self._now()
        return result

    def update(self, original: Callable[[], Any] | None) -> Any:
        """An optimizer's step begins: torch's, or one of DGL's sparse ones, which is called here."""
        if (busy := self._busy) is not None:
            busy.trained = True
            busy.timeline.update_start_s = busy.timeline.update_start_s or self._now()
        return None if original is None else original()

    def _now(self) -> float:
        if self._device != CPU:
            torch.cuda.synchronize(self._device)
        return perf_counter()

    # what is kept

    def end_minibatch(self) -> None:
        """Keep the minibatch that the script was busy with, if it was trained on."""
        if (busy := self._busy) is None:
            return
        self._busy = None
        if not busy.trained:
            return
        if not self._kept:
            self._begin(busy.loader)
        for data, use in busy.used:
            self.facts.features.setdefault(data.node_type, {})[data.key] = use
        timeline, sampled = busy.timeline, busy.sampled
        times = timeline.times(self._now())
        made = timeline.ready_made
        fetch = made.fetch if made else timeline.fetch
        counts = {
            "seeds": sampled.seeds,
            "sampled_edges": sampled.sampled_edges,
            "hit_rows": fetch.hit_rows,
            "replacement_rows": fetch.replacement_rows,
        }
        owner_done_s = fetch.owner_done_s or None
        if (source := self._sources.get(busy.loader)) is not None:
            source.stepped(times.get("stall_s") or 0.0, times["step_s"] or 0.0)
        ready = timeline.gradients_ready_s if times.get("allreduce_s") is not None else None
        self._kept.append((sampled, Step(None, counts, times, owner_done_s, ready, None)))

    def _begin(self, loader: Any) -> None:
        self._loader, self._epoch_is_over = loader, False
        self.facts.batch_size, self.facts.samplers = loader.batch_size, int(loader.num_workers)
        self.facts.fanout = _fanout(loader)

    def end_epoch(self) -> None:
        """Write what was kept since the last one."""
        if not self._kept:
            return
        epoch = len(self.facts.minibatches)
        targets = []
        for sampled, step in self._kept:
            fetched = {name: ids for name, ids in sampled.inputs.items() if name in self.facts.features}
            step.input_nodes = self._global(fetched)
            targets.append(self._global(sampled.targets))
            self._recorder.add(step)
        self._recorder.end_epoch(epoch)
        ids, counts = np.unique(np.concatenate(targets), return_counts=True)
        np.savez(targets_file(self.fragments, self.facts.rank, epoch), ids=ids, counts=counts)
        self.facts.minibatches.append(len(self._kept))
        self.facts.save(self.fragments)
        self._kept.clear()

    def _global(self, ids: Typed) -> np.ndarray:
        return np.concatenate(
            [np.empty(0, np.int64)] + [self.files.global_ids(name, one.cpu().numpy()) for name, one in ids.items()]
        )


def _fanout(loader: Any) -> list[int | dict[str, int]]:
    """What the loader's sampler says; nothing where it is of another kind."""
    widths: Collection[Any] = getattr(getattr(loader.collator, "graph_sampler", None), "fanouts", ())
    return [
        {":".join(edge_type) if isinstance(edge_type, tuple) else edge_type: int(n) for edge_type, n in one.items()}
        if isinstance(one, dict)
        else int(one)
        for one in widths
    ]
