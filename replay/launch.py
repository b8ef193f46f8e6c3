"""Running live, from the plan to the folder of results: a capture with a buffer and a policy in the training loop."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from agents.registry import UNASKED, PolicyPlan
from agents.user_code import require_trust
from replay.agent_process import agent_process
from replay.results import Recorded, read_recorded, tables_of
from sim.config import RunConfig
from sim.counts.policy_runs import make_trainer_cache, plan_of_config, run_facts
from sim.runs.results import write
from sim.workload.load import make_universe
from traces.capture.launch import Capture, capture, nodes_file, recover
from traces.checksum import sha256_of
from traces.cluster.errors import ClusterError
from traces.cluster.launcher import Cluster
from traces.errors import InputError, Terminated
from traces.header import Header
from traces.nodes import Nodes
from traces.reader import Trace

TRACE = "trace.parquet"
CONFIG_FILE = "config.json"
"""The configuration, in the fragments of a run under way and in its results."""


@dataclass(frozen=True, kw_only=True)
class LivePlan:
    """The plan of a live run: a capture plan from the user's options, a policy, and its configuration.

    `config.trace` is filled in when the run is over. `check` holds every row against its owner's.
    """

    capture: Capture
    config: RunConfig
    plan: PolicyPlan
    check: bool = False

    @property
    def capture_plan(self) -> Capture:
        """The capture with the policy's depth and program."""
        depth = int(self.plan.pipelined) if self.config.depth is None else self.config.depth
        changes: dict[str, Any] = {"policy": self.plan.name, "depth": depth}
        if self.plan.buffered:
            changes["entry"] = "replay.worker:main"
        return replace(self.capture, **changes)


@dataclass(frozen=True, eq=False)
class LiveResult:
    """The results of a live run: its folder, header, summary in one row, and tables."""

    folder: Path
    header: Header
    summary: dict[str, Any]
    tables: dict[str, pl.DataFrame]


def trace_file(folder: Path) -> Path:
    """The path of the trace until the folder of results is complete."""
    return folder.with_name(f"{folder.name}.{TRACE}")


def run_live(
    live: LivePlan,
    folder: Path,
    on_progress: Callable[[int], None] = lambda epochs: None,
    say: Callable[[str], None] = lambda text: print(text, file=sys.stderr),
) -> LiveResult:
    """Run, and write results and trace into `folder`, all or nothing; `on_progress` gets the number of finished epochs.

    A run that dies or is interrupted leaves the results of its whole epochs, reports that through `say`, and raises the
    exception again. Raises as `traces.capture.launch.capture`, and `InputError` for a cache or policy that can't be in
    a live run.
    """
    out = trace_file(folder)
    written: list[LiveResult] = []

    def keep(fragments: Path, header: Header) -> None:
        written.append(keep_results(live.config, live.plan, live.check, folder, read_recorded(fragments, header)))

    with ExitStack() as running:

        def arguments(fragments: Path, header: Header) -> dict[str, Any]:
            (fragments / CONFIG_FILE).write_text(live.config.model_dump_json())
            return _arguments(live, fragments, header, running)

        try:
            capture(live.capture_plan, out, arguments, on_progress, keep)
        except (ClusterError, KeyboardInterrupt, Terminated):
            epochs = written[0].header.epochs if written else 0
            kept = f"the results of {epochs} whole epochs are kept in {folder}, marked incomplete"
            say(kept if epochs else "no epoch was whole, so nothing is kept")
            raise
    return written[0]


def recover_live(folder: Path, trust: bool = False) -> LiveResult:
    """The results of the whole epochs that a killed live run left, marked incomplete; `trust` as in `read_config`."""
    out = trace_file(folder)
    written: list[LiveResult] = []

    def keep(fragments: Path, header: Header) -> None:
        config, recorded = read_config(fragments, trust), read_recorded(fragments, header)
        written.append(keep_results(config, plan_of_config(config, UNASKED), False, folder, recorded))

    recover(out, keep)
    return written[0]


def _arguments(live: LivePlan, fragments: Path, header: Header, running: ExitStack) -> dict[str, Any]:
    """The arguments of `replay.worker`. Raises `InputError` for what can't run live, before anything starts."""
    if not live.plan.buffered:
        return {}
    config = live.config
    refuse_early(live.plan, config, header, lambda partition: Nodes.load(nodes_file(fragments, partition)))
    return {
        "config": config.model_dump_json(),
        "folder": os.getcwd(),
        "check": live.check,
        **agents_of(live.plan, live.capture.cluster, running),
    }


def refuse_early(plan: PolicyPlan, config: RunConfig, header: Header, nodes: Callable[[int], Nodes]) -> None:
    """Raise `InputError` for a cache that can't be in a live run, and for what a policy refuses, here and not in the
    trainers. `nodes` are the remote nodes of a partition."""
    for rank in range(header.trainers):
        partition = header.partition_of(rank)
        if any(header.partition_of(other) == partition for other in range(rank)):
            continue
        universe = make_universe(nodes(partition), config.universe)
        cache = make_trainer_cache(header, rank, universe, config, future=None)
        plan.make().reset(run_facts(header, rank, universe, header.epochs, config, cache.capacity_rows), config.seed)


def agents_of(plan: PolicyPlan, cluster: Cluster, running: ExitStack) -> dict[str, Any]:
    """What trainers must be told to ask a model: how long to wait, and where the process is that asks for them, which
    is started; None where a policy asks none."""
    if not plan.calls_model:
        return {"agents": None, "timeout_s": 0.0}
    assert plan.model is not None  # as `PolicyPlan` says
    hosts = None if cluster.shared_clock else cluster.hosts
    address = running.enter_context(agent_process(plan.name, plan.model, hosts))
    return {"agents": asdict(address), "timeout_s": plan.model.timeout_s}


def keep_results(config: RunConfig, plan: PolicyPlan, check: bool, folder: Path, recorded: Recorded) -> LiveResult:
    """Write the results of the trace beside the folder, and move the trace into it."""
    out = trace_file(folder)
    trace = Trace(out)
    config = config.model_copy(update={"trace": TRACE, "trace_sha256": sha256_of(out)})
    tables, summary = tables_of(trace, plan, config, recorded)
    checked = {}
    if check and plan.buffered:
        checked = {"checked_rows": int(trace.steps()["input_nodes"].sum()), "wrong_rows": 0}  # a wrong row ends the run
    documents = {
        "config": config.model_dump(),
        "summary": {"notice": trace.header.notice, "runs": [summary]} | checked,
        "scores": recorded.scores,
    }
    write(folder, tables, documents, files={TRACE: out})
    return LiveResult(folder, trace.header, summary, tables)


def read_config(folder: Path, trust: bool = False) -> RunConfig:
    """The configuration of a live run. Raises `InputError` for a folder that holds none, and without `trust` for one
    that names code of a user's own."""
    with _of_live_run(folder):
        config = RunConfig.model_validate_json((folder / CONFIG_FILE).read_text())
    require_trust(str(folder / CONFIG_FILE), config.user_code, trust)
    return config


def refuse_checked(folder: Path) -> None:
    """Raise `InputError` for a live run with `--check`, which makes steps longer, so that its times can't be used; and
    for a folder that holds no live run."""
    with _of_live_run(folder):
        checked = "checked_rows" in json.loads((folder / "summary.json").read_text())
    if checked:
        raise InputError(
            f"{folder}: ran with --check, under which every fetch is made twice, so times can't be compared or fitted "
            "to; make the run without it, or leave --fitted-on out to compare counts"
        )


@contextmanager
def _of_live_run(folder: Path) -> Iterator[None]:
    """Turn an error in reading a file into an `InputError` that says the folder holds no live run."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise InputError(
            f"{folder}: holds no live run ({str(error).splitlines()[0]}); give what replay.live wrote"
        ) from None
