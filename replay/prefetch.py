"""A policy in a user's own script: minibatches are prepared ahead with rows from a buffer; the loop stays as it is.

    loader = prefetch(loader, graph, policy="best.json", trace="t.parquet")

The loader still returns DGL's minibatches, and `graph.ndata[...][input_nodes]` or
`graph.nodes[...].data[...][input_nodes]` returns rows that have already been fetched.
"""

from __future__ import annotations

import json
import shlex
import sys
import threading
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from queue import SimpleQueue
from time import perf_counter
from typing import Any

import dgl
import torch
from dgl.distributed.kvstore import get_kvstore

from agents.registry import ModelOptions, PolicyPlan
from replay.buffered import BufferedStore
from replay.check import WrongRow
from replay.decisions import DecisionLog, fill_file
from replay.launch import keep_results, trace_file
from replay.loader import make_store
from replay.packed import PACKED, PackedStore
from replay.results import read_recorded
from sim.config import RunConfig, read_policy
from sim.counts.policy_runs import plan_of_config
from traces.errors import InputError
from traces.header import Header
from traces.job.merge import Provenance
from traces.job.observe import observe, observer, unobserved
from traces.job.partition_files import PartitionFiles
from traces.job.run import JobRecording
from traces.job.sampled import read_minibatch
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


class ReplayRun(JobRecording):
    """A recorder whose results go into `folder`, with the policy's buffer between `loaders` and their script.

    Without `loaders`, it serves the loader that was captured, or one like it in every epoch, with the same buffer.
    """

    def __init__(
        self,
        replay: Replay,
        folder: Path,
        provenance: Provenance,
        part_config: Path | None = None,
        loaders: list[Any] | None = None,
    ) -> None:
        if folder.exists():
            raise InputError(f"{folder}: exists already; choose another folder for the results, or remove it")
        graph, cluster = replay.trace.header.graph, replay.trace.header.cluster
        known = {
            "scale_note": graph.scale_note if graph.kind == "synthetic" else None,
            "real": graph.kind == "real",
            "link_bytes_per_s": provenance.link_bytes_per_s or cluster.link_bytes_per_s,
            "policy": replay.plan.name,
            "depth": replay.depth,
            "nodes_of": str(replay.trace.path.resolve()),
        }
        super().__init__(trace_file(folder), provenance.model_copy(update=known), part_config)
        self.replay, self.folder, self.loaders = replay, folder, loaders
        self._prefetcher: Prefetcher | None = None

    def make_source(self, loader: Any) -> Prefetcher | None:
        """Prepare the loader's minibatches, if it is one of those."""
        loaders = self.loaders
        if not (self.replay.is_captured(loader) if loaders is None else any(one is loader for one in loaders)):
            return None
        if self._prefetcher is None:
            self._prefetcher = Prefetcher(self.replay, loader, self)
        self._prefetcher.loader = loader
        return self._prefetcher

    def keep(self, fragments: Path, header: Header) -> None:
        """Write the folder of results. Raises `InputError` where no loader was the captured one."""
        recorded = read_recorded(fragments, header)
        keep_results(self.replay.config, self.replay.plan, self.replay.check, self.folder, recorded)

    def finish(self) -> None:
        """As `JobRecording`. Raises `InputError` where the policy was never at work."""
        if self._prefetcher is not None:
            self._prefetcher.close()
        elif self.recorder is not None:
            observe(None)
            header = self.replay.trace.header
            captured = f"batches of {header.training.batch_size}, {header.minibatches_per_epoch} of them, shuffled"
            raise InputError(f"no loader of the script is like the captured one ({captured}): nothing was replayed")
        super().finish()


class Prefetcher:
    """Prepares the minibatches of one loader in a thread: samples, and fetches the rows that the buffer lacks."""

    def __init__(self, replay: Replay, loader: Any, run: JobRecording) -> None:
        assert run.ranks is not None
        assert run.part_config is not None
        self.loader, self._replay, self._depth = loader, replay, replay.depth
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
            log = DecisionLog(ranks.fragments, ranks.rank, replay.epochs)
            policy, slow = replay.plan.make(), replay.plan.calls_model
            nodes, config = replay.trace.nodes(partition), replay.config
            self._store = make_store(
                {}, nodes, header, ranks.rank, config, policy, slow, self._per_epoch, log.end_epoch, self._packed
            )
            fill_file(ranks.fragments, ranks.rank).write_text(json.dumps(self._store.fill_s))
        self._epoch = -1
        self._taken = 0
        self._thread: _Ahead | None = None
        self._iterator: Any = None

    def serves(self, key: str) -> bool:
        """Whether rows of this data are in the buffer."""
        every = (one for features in self._packed.features.values() for one in features)
        return self._store is not None and any(one.key == key for one in every)

    def begin(self) -> None:
        """Begin to prepare an epoch."""
        self.close()
        self._epoch, self._taken = self._epoch + 1, 0
        seed = int(torch.randint(2**31, ()))
        if self._depth:
            self._thread = _Ahead(self, self._depth, seed)
        else:
            dgl.seed(seed)  # as in `traces.capture.minibatches`

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

    def prepare(self) -> Ready | None:
        """Sample a minibatch and fetch its rows; None at the end of the epoch."""
        start = perf_counter()
        try:
            with unobserved(self.loader):
                item = next(self.loader)
        except StopIteration:
            return None
        sampled = read_minibatch(item, self._only_type)
        sampled_at = perf_counter()
        ids, slices = self._packed.ids(sampled.inputs)
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
            item=item,
            sampled=sampled,
            rows=by_key,
            prepare_start_s=start,
            sample_s=sampled_at - start,
            fetch_s=fetched_at - sampled_at - times.buffer_s - times.decide_s,
            copy_s=perf_counter() - fetched_at + times.buffer_s,
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


def prefetch(
    loader: Any,
    graph: Any,
    *,
    policy: str | Path | RunConfig,
    trace: str | Path,
    out: str | Path | None = None,
    epochs: int | None = None,
    part_config: str | Path | None = None,
    check: bool = False,
    trust: bool = False,
) -> Any:
    """Prepare the loader's minibatches ahead from now on, with rows from a policy's buffer. Returns the loader.

    `policy` is a configuration as `sim.tune` and `sim.run` write it, `trace` the captured run of this script on these
    partitions. Every trainer calls this, after torch's process group. The run records itself: when the process group is
    destroyed or the script ends, rank 0 writes the folder `out` (by default results/live-DATE-TIME), which
    `replay.compare` judges. `epochs` is how many the script trains, where that isn't as many as were captured. `check`
    holds every row against its owner's; `trust` lets it run code of your own that the file `policy` names. Raises
    `InputError` for what can't be replayed.
    """
    import atexit

    before = observer()
    if isinstance(before, ReplayRun) and before.loaders is not None:  # a script that makes a new loader every epoch
        before.loaders.append(loader)
        return loader
    folder = Path(out) if out is not None else Path("results") / f"live-{datetime.now():%Y%m%d-%H%M%S}"
    replay = Replay.read(policy, trace, epochs, check, trust=trust)
    config = None if part_config is None else Path(part_config)
    run = ReplayRun(replay, folder, Provenance(command=shlex.join(sys.argv)), config, [loader])
    run.opened(graph, None)
    observe(run)
    if torch.distributed.is_initialized():
        run.joined()
    atexit.register(run.finish)
    return loader
