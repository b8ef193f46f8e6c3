"""Preparing the minibatches of a script's loader ahead of it, with rows out of a policy's buffer."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from queue import SimpleQueue
from time import perf_counter
from typing import Any

import dgl
import numpy as np
import torch
from dgl.distributed.kvstore import get_kvstore
from numpy.typing import NDArray

from agents.registry import ModelOptions, PolicyPlan
from replay.buffered import BufferedStore
from replay.check import WrongRow
from replay.decisions import EpochLog, fill_file
from replay.loader import make_store
from replay.packed import PACKED, PackedStore
from sim.config import RunConfig, read_policy
from sim.counts.policy_runs import plan_of_config
from traces.capture.ahead import LooksNoFurther, sampled_ahead
from traces.errors import InputError
from traces.job.observe import unobserved
from traces.job.partition_files import PartitionFiles
from traces.job.run import JobRecording
from traces.job.sampled import Sampled, read_minibatch
from traces.job.source import Ready
from traces.reader import Trace


@dataclass(frozen=True, eq=False)
class Replay:
    """What to replay in a job: a configuration, and the captured run that it was tuned on. `epochs` is how many the
    script trains, by default as many as were captured; `check` holds every row against its owner's."""

    config: RunConfig
    plan: PolicyPlan
    trace: Trace
    epochs: int
    check: bool

    @classmethod
    def read(
        cls,
        policy: str | Path | RunConfig,
        trace: str | Path,
        epochs: int | None = None,
        check: bool = False,
        model: ModelOptions | None = None,
        trust: bool = False,
    ) -> Replay:
        """Read the files. Raises `InputError` for invalid files, and without `trust` for a policy file that names
        users' code."""
        config = policy if isinstance(policy, RunConfig) else read_policy(Path(policy), trust)
        captured = Trace(trace)
        plan = plan_of_config(config, model or ModelOptions(keep_answers=False))
        if check and not plan.buffered:
            raise InputError(f"check holds rows of a buffer against their owners', but policy {plan.name} has none")
        return cls(config, plan, captured, epochs or captured.header.epochs, check)

    @property
    def depth(self) -> int:
        """Minibatches to prepare ahead."""
        return int(self.plan.pipelined) if self.config.depth is None else self.config.depth

    def is_captured(self, loader: Any) -> bool:
        """Whether a loader is the one that was captured: it shuffles, and has its batch size and minibatches."""
        header = self.trace.header
        as_long = loader.expected_idxs in map(header.minibatches_of, range(header.trainers))
        return bool(loader.shuffle and as_long and loader.batch_size == header.training.batch_size)


@dataclass(eq=False)
class _Sampled:
    """A minibatch that was sampled: what DGL's loader returned, and what it says."""

    item: Any
    sampled: Sampled
    packed: PackedStore

    @cached_property
    def ids(self) -> tuple[NDArray[np.int64], dict[str, slice]]:
        """As `PackedStore.ids`."""
        return self.packed.ids(self.sampled.inputs)

    def blocks(self) -> Any:
        """DGL's blocks, a layer each."""
        return self.item[-1]


class Prefetcher:
    """Prepares the minibatches of one loader in a thread: samples, and fetches the rows that the buffer lacks."""

    def __init__(self, replay: Replay, loader: Any, run: JobRecording) -> None:
        assert run.ranks is not None
        assert run.part_config is not None
        self.loader, self._replay, self._depth = loader, replay, replay.depth
        self._rank = run.ranks.rank
        files, ranks, header = PartitionFiles.read(run.part_config), run.ranks, replay.trace.header
        if header.partition.offsets != tuple(files.offsets.tolist()):
            raise InputError(f"{replay.trace.path}: captured on other partitions than those of {run.part_config}")
        types = header.node_types
        if not types:
            raise InputError(f"{replay.trace.path}: names no node data, as a trace of version 1; capture the job anew")
        self._only_type, self._packed = next(iter(files.node_ranges)), PackedStore(files, types, get_kvstore())
        partition = run.recorder.facts.partition if run.recorder else 0
        beside = ranks.share(partition)
        self._per_epoch = max(ranks.share(int(loader.expected_idxs)))
        header = header.model_copy(
            update={
                "epochs": replay.epochs,
                "training": header.training.model_copy(update={"batch_size": loader.batch_size}),
                "trainer_partitions": tuple(beside),
                "trainer_minibatches": (),
                "graph": header.graph.model_copy(update={"feature_bytes": self._packed.slot_bytes}),
            }
        )
        self._store: BufferedStore | None = None
        if replay.plan.buffered:
            log = EpochLog(ranks.fragments, ranks.rank, replay.epochs)
            policy, slow = replay.plan.make(), replay.plan.calls_model
            nodes, config = replay.trace.nodes(partition), replay.config
            self._store = make_store(
                {}, nodes, header, ranks.rank, config, policy, slow, self._per_epoch, log.end_epoch, self._packed
            )
            fill_file(ranks.fragments, ranks.rank).write_text(json.dumps(self._store.fill_s))
        self._epoch = -1
        self._taken = 0
        self._thread: _Ahead | None = None
        self._sampled: Iterator[_Sampled] = iter(())

    def serves(self, key: str) -> bool:
        """Whether rows of this data are in the buffer."""
        every = (one for features in self._packed.features.values() for one in features)
        return self._store is not None and any(one.key == key for one in every)

    def begin(self) -> None:
        """Begin to prepare an epoch."""
        self.close()
        self._epoch, self._taken = self._epoch + 1, 0
        source = self._store or LooksNoFurther()
        self._sampled = sampled_ahead(self._sample(), source, lambda one: torch.from_numpy(one.ids[0]), _Sampled.blocks)
        if self._depth:
            self._thread = _Ahead(self, self._depth, self._seed_of_epoch())

    def _seed_of_epoch(self) -> int:
        """For the thread that samples, which has a generator of its own.

        Derived from the script's seed, without a draw from its generator: shuffling and dropout stay as they are.
        """
        drawn = np.random.SeedSequence([torch.initial_seed() % 2**63, self._rank, self._epoch]).generate_state(1)
        return int(drawn[0]) >> 1

    def close(self) -> None:
        """End the thread, wherever it is."""
        if self._thread is not None:
            self._thread.close()
            self._thread = None

    def take(self) -> Ready:
        """The next minibatch, once it is prepared. Exceptions of the thread are raised here."""
        ready = self._thread.take() if self._thread else self.prepare()
        if ready is None:
            self.close()
            if self._store is not None:
                for _ in range(self._taken, self._per_epoch):
                    self._store.idle()
                self._store.end_epoch(self._epoch)
            raise StopIteration
        self._taken += 1
        return ready

    def _sample(self) -> Iterator[_Sampled]:
        """The minibatches of an epoch, from DGL's loader."""
        while True:
            try:
                with unobserved(self.loader):
                    item = next(self.loader)
            except StopIteration:
                return
            yield _Sampled(item, read_minibatch(item, self._only_type), self._packed)

    def prepare(self) -> Ready | None:
        """Sample what is sampled now, and fetch the rows of the next minibatch; None at the end of the epoch."""
        start = perf_counter()
        if (minibatch := next(self._sampled, None)) is None:
            return None
        sampled_at = perf_counter()
        (ids, slices), sampled = minibatch.ids, minibatch.sampled
        if self._store is None:
            packed = self._packed.empty(len(ids))
            times = self._packed.pull(ids, packed, None)
            rows = torch.from_numpy(packed[PACKED])
        else:
            found, times = self._store.fetch(torch.from_numpy(ids))
            rows = found[PACKED]
        fetched_at = perf_counter()
        by_key = self._packed.unpack(rows, slices)
        if self._replay.check:
            for key, wrong in self._packed.wrong_rows(sampled.inputs, by_key).items():
                if wrong:
                    raise WrongRow(f"{wrong} rows of {key!r} are not their owners'")
        return Ready(
            item=minibatch.item,
            sampled=sampled,
            rows=by_key,
            prepare_start_s=start,
            sample_s=sampled_at - start - times.foresee_s,
            fetch_s=fetched_at - sampled_at - times.buffer_s - times.decide_s,
            copy_s=perf_counter() - fetched_at + times.buffer_s + times.foresee_s,
            fetch=times,
        )

    def stepped(self, stall_s: float, step_s: float) -> None:
        """For policies that look at stalls."""
        if self._store is not None:
            self._store.stepped(stall_s, step_s)


class _Ahead:
    """A thread that keeps `depth` minibatches prepared."""

    def __init__(self, prefetcher: Prefetcher, depth: int, seed: int) -> None:
        self._ready: SimpleQueue[Ready | BaseException | None] = SimpleQueue()
        self._may_prepare, self._left = threading.Semaphore(depth), threading.Event()
        self._prefetcher, self._seed = prefetcher, seed
        self._thread = threading.Thread(target=self._run, name="prefetch", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            dgl.seed(self._seed)
            while True:
                self._may_prepare.acquire()
                if self._left.is_set():
                    return
                ready = self._prefetcher.prepare()
                self._ready.put(ready)
                if ready is None:
                    return
        except BaseException as error:
            self._ready.put(error)

    def take(self) -> Ready | None:
        ready = self._ready.get()
        if isinstance(ready, BaseException):
            raise ready
        self._may_prepare.release()
        return ready

    def close(self) -> None:
        self._left.set()
        self._may_prepare.release()
        self._thread.join()
