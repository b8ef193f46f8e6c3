"""Running a capture on a cluster, and keeping its whole epochs however it ends."""

from __future__ import annotations

import datetime
import json
import platform
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from traces.capture import clock
from traces.capture.assemble import assemble, complete_epochs, overhead
from traces.capture.nodes import remote_nodes
from traces.capture.recorder import MODEL_FILE
from traces.cluster.errors import ClusterError
from traces.cluster.launcher import Cluster
from traces.cluster.link import parse_link
from traces.cluster.partition import read_facts
from traces.cores import usable_cores
from traces.errors import InputError, Terminated
from traces.graphs.graph import Graph
from traces.header import ClusterInfo, Header, OverheadInfo, PartitionInfo, TrainingInfo
from traces.nodes import Nodes
from traces.output import writing
from traces.sampling.sources import graph_info, of_our_partition
from traces.terminal import command_line

HEADER_FILE = "header.json"
ENTRY = "traces.capture.worker:main"
MODELS = ("GraphSAGE", "GAT")
HEADS = 4
"""Attention heads of a GAT's hidden layers, which share out the hidden width."""

ALL = -1
"""A fanout: all neighbours."""

ENDINGS = (InputError, KeyboardInterrupt, Terminated, ClusterError)
"""Exceptions that end a run and leave nothing to recover."""

Keep = Callable[[Path, Header], None]
"""Called with the fragments' folder and the trace's header when the trace has been written; it may copy more from the
fragments."""


@dataclass(frozen=True, kw_only=True)
class Capture:
    """What to capture: DistDGL training a `model` on the partitions of `part_config` of the graph in `graph_dir`.

    `fanout` is in DGL's order, the last entry being the hop of the seeds. `policy` is the prefetching policy of the run
    itself, which the trace records, and `depth` the number of minibatches that it prepares ahead. After every
    `evaluate_every` epochs and at the end the model is evaluated; 0: never. `entry` is the program of every process,
    `program` the command that the trace will name.
    """

    graph_dir: Path
    part_config: Path
    cluster: Cluster
    fanout: tuple[int, ...]
    batch_size: int
    epochs: int
    model: str = "GraphSAGE"
    hidden: int = 64
    evaluate_every: int = 0
    overhead_epochs: int = 0
    seed: int = 0
    policy: str = "none"
    depth: int = 0
    entry: str = ENTRY
    program: str = "traces.capture"

    def __post_init__(self) -> None:
        for name in ("batch_size", "epochs", "hidden"):
            if getattr(self, name) < 1:
                raise InputError(f"{name.replace('_', ' ')} is {getattr(self, name)}; it must be at least 1")
        if not self.fanout or any(one < 1 and one != ALL for one in self.fanout):
            raise InputError(
                f"fanout is {self.fanout}; it must be one or more numbers of at least 1, such as 10,25 ({ALL}: all)"
            )
        if self.model not in MODELS:
            raise InputError(f"model {self.model!r}: choose one of {', '.join(MODELS)}")
        if self.model == "GAT" and self.hidden % HEADS:
            raise InputError(f"hidden is {self.hidden}; GAT's {HEADS} heads share it out, so it must be a multiple")


def fragments_of(out: Path) -> Path:
    """The folder that trainers write to while the trace `out` is being captured."""
    return out.with_name(out.name + ".fragments")


def nodes_file(fragments: Path, partition: int) -> Path:
    """Where the remote nodes of a partition lie while a trace is being captured."""
    return fragments / f"nodes{partition}.npz"


def capture(
    plan: Capture,
    out: Path,
    arguments: Callable[[Path, Header], dict[str, Any]] = lambda fragments, header: {},
    on_progress: Callable[[int], None] = lambda _: None,
    keep: Keep = lambda fragments, header: None,
) -> Header:
    """Run the capture and write its trace to `out`; `on_progress` is called with the number of finished epochs.

    `arguments` is called with the fragments' folder, which holds every partition's nodes, and the header. It returns
    further arguments of the workers, or raises to refuse the run. A run that dies or is interrupted leaves a trace of
    its whole epochs, marked incomplete, and the exception is raised again; without a whole epoch it leaves nothing.
    `keep` is called whenever a trace has been written. Raises `ClusterError` for a run that died, `InputError` for
    options that can't be, and for the leftovers of an earlier capture that was killed (see `recover`).
    """
    fragments = fragments_of(out).resolve()
    if fragments.exists():
        raise InputError(f"{fragments}: left by a capture that was killed; run again with --recover to keep it")
    graph = Graph.load(plan.graph_dir)
    header = _header(plan, graph)
    fragments.mkdir(parents=True, mode=0o700)  # a live run keeps the key of its agent process here
    cost: OverheadInfo | None = None
    ended_well = False
    try:
        with writing(fragments):
            (fragments / HEADER_FILE).write_text(header.model_dump_json())
        for partition, nodes in enumerate(_nodes(plan, graph)):
            with writing(fragments):
                nodes.save(nodes_file(fragments, partition))
        given = _arguments(plan, graph, fragments) | arguments(fragments, header)
        with _watching(fragments, header.trainers, on_progress):
            done = plan.cluster.run(plan.part_config, plan.entry, given, fragments / "logs", plan.seed)
        ended_well, cost = True, overhead(done.values[0])
        found = {"form": done.form, "cores": done.cores}
        header = header.model_copy(update={"cluster": header.cluster.model_copy(update=found)})
    finally:
        if ended_well or complete_epochs(fragments, header.trainers):
            header = _finish(header, fragments, out, cost, ended_well, keep)
        if not sys.exc_info()[0] or isinstance(sys.exc_info()[1], ENDINGS):
            shutil.rmtree(fragments)
    return header


def _arguments(plan: Capture, graph: Graph, fragments: Path) -> dict[str, Any]:
    """The arguments of `worker.run`."""
    return {
        "fanout": plan.fanout,
        "batch_size": plan.batch_size,
        "epochs": plan.epochs,
        "model": plan.model,
        "hidden": plan.hidden,
        "depth": plan.depth,
        "classes": graph.classes,
        "evaluate_every": plan.evaluate_every,
        "overhead_epochs": plan.overhead_epochs,
        "shared_clock": plan.cluster.shared_clock,
        "fragments": str(fragments),
    }


def recover(out: Path, keep: Keep = lambda fragments, header: None) -> Header:
    """Make the trace `out` of the whole epochs that a killed capture left, marked incomplete. `keep`: see `capture`."""
    fragments = fragments_of(out)
    if not (fragments / HEADER_FILE).is_file():
        raise InputError(f"{fragments}: no interrupted capture of {out} is there to recover")
    header = Header.model_validate_json((fragments / HEADER_FILE).read_text())
    header = _finish(header, fragments, out, None, False, keep)
    shutil.rmtree(fragments)
    return header


def _finish(
    header: Header, fragments: Path, out: Path, cost: OverheadInfo | None, ended_well: bool, keep: Keep
) -> Header:
    training = header.training.model_copy(update=json.loads((fragments / MODEL_FILE).read_text()))
    header = header.model_copy(update={"training": training, "overhead": cost, "complete": ended_well})
    nodes = (Nodes.load(nodes_file(fragments, partition)) for partition in range(header.partition.parts))
    try:
        with writing(out):
            header = assemble(out, header, nodes, fragments)
        keep(fragments, header)
    except InputError as error:  # a full disk
        raise InputError(
            f"{error}; what was recorded is kept in {fragments}: make room, then run the same command with --recover"
        ) from error
    return header


def _nodes(plan: Capture, graph: Graph) -> Iterator[Nodes]:
    partitioned = of_our_partition(graph, read_facts(plan.part_config))
    return remote_nodes(partitioned, plan.batch_size, plan.cluster.trainers_per_machine, plan.fanout)


def _header(plan: Capture, graph: Graph) -> Header:
    facts, cluster = read_facts(plan.part_config), plan.cluster
    return Header(
        graph=graph_info(graph, facts.graph_checksum),
        partition=PartitionInfo(
            parts=cluster.parts, method="metis", offsets=tuple(facts.offsets.tolist()), edge_cut=facts.edge_cut
        ),
        cluster=ClusterInfo(
            form=cluster.form,
            hosts=cluster.hosts,
            trainers_per_host=cluster.trainers_per_machine,
            servers_per_host=cluster.servers_per_machine,
            cores=usable_cores(),
            link_bytes_per_s=parse_link(cluster.link) if cluster.link else None,
        ),
        training=TrainingInfo(
            model=plan.model,
            hidden=plan.hidden,
            gradient_bytes=0,
            fanout=plan.fanout,
            batch_size=plan.batch_size,
            depth=plan.depth,
            seed=plan.seed,
        ),
        epochs=plan.epochs,
        minibatches_per_epoch=1,  # known when the first epoch is there
        policy=plan.policy,
        complete=False,
        versions={name: version(name) for name in ("dgl", "torch", "numpy")} | {"python": platform.python_version()},
        date=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        command=command_line(plan.program),
        clock=clock.ONE_HOST if cluster.shared_clock else clock.SEVERAL_HOSTS,
    )


@contextmanager
def _watching(fragments: Path, trainers: int, on_progress: Callable[[int], None]) -> Iterator[None]:
    """Call `on_progress` with the number of whole epochs, twice a second, from a thread."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.5):
            on_progress(complete_epochs(fragments, trainers))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        on_progress(complete_epochs(fragments, trainers))
