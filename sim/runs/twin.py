"""A captured run, opened once and simulated as often as one likes: the place where configurations are applied."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from agents.policy import Policy
from agents.registry import PolicyPlan, resolve
from sim.calibration.fit import fit
from sim.cluster.clusterfile import agent_latency
from sim.config import TIME_FIELDS, RunConfig, make_config
from sim.cost.model import CostModel, cost_sha256
from sim.counts.bound import Bound, bound_of_run
from sim.counts.cache_replay import FetchCounts
from sim.counts.policy_runs import count_ahead, decides, plan_of_config
from sim.runs.applied import Applied
from sim.runs.choose import changed_options, plan_of, refuse_checksums_of_none, refuse_meaningless, with_cache_named
from sim.runs.results import epoch_seconds
from sim.runs.run import Run
from sim.runs.unseen import given_cost, timed
from sim.runs.whatif import read_owners, repartitioned, what_if
from sim.workload.load import TrainerInput, load
from sim.workload.stream import UniverseKind
from traces.checksum import sha256_of
from traces.errors import InputError
from traces.header import Header
from traces.reader import Trace

BASELINES_KEPT = 8
"""So many baselines are remembered; a run keeps its own besides."""


def checksum(path: Path) -> str:
    """The SHA-256 of a trace file, in hexadecimal. Raises `InputError` where there is none."""
    if not path.is_file():
        raise InputError(f"{path}: no such file; `python -m traces.capture --help` tells how to make a trace")
    return sha256_of(path)


@dataclass(eq=False, repr=False)
class Twin:
    """A captured run in memory: its trainers in every universe that was asked for, and a cost model.

    Runs that are given one after another share what only depends on what they have in common: dense ids, degree order,
    what-ifs, what a cache that replaces on its own fetches, baselines, and the bound.
    """

    path: Path
    sha256: str
    header: Header
    cost: CostModel
    inputs: dict[UniverseKind, list[TrainerInput]]
    owners: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    cost_sha256: str = ""
    predicted: str = ""
    extrapolated: str = ""
    _applied: tuple[Any, Applied] | None = None
    _fetch_counts: tuple[Any, list[FetchCounts] | None] = (None, None)
    _baselines: dict[RunConfig, Run] = field(default_factory=dict)
    _bounds: dict[RunConfig, Bound] = field(default_factory=dict)

    @classmethod
    def open(
        cls,
        trace: Path | str,
        universes: Iterable[UniverseKind] = ("halo",),
        cost: CostModel | Path | str | None = None,
        like: Path | str | None = None,
    ) -> Twin:
        """Read a trace, and fit the cost model to it; or take `cost`, a model or a file of `sim.calibrate`; or fit it
        to `like`, a captured run. A trace that was sampled offline needs one of these, and takes over cluster and model
        of the run that the cost model was fitted on (`sim.runs.unseen`).

        Universes that are not named are read when they are needed. Raises `InputError` for bad input.
        """
        path = Path(trace)
        given = given_cost(cost, like)
        sha256, opened = checksum(path), Trace(path)
        inputs = {universe: load(opened, universe) for universe in sorted(universes)}
        for one in (one for trainers in inputs.values() for one in trainers):
            _ = one.stream.universe.degree_rank, one.stream.universe.halo_rows  # found before processes part ways
        header, model, predicted, extrapolated = opened.header, given, "", ""
        if header.sampled:
            header, model, predicted, extrapolated = timed(next(iter(inputs.values())), header, given)
        elif model is None:
            model = fit(next(iter(inputs.values())), header, path.name, sha256).cost
        known = "" if given is None else cost_sha256(given)
        return cls(path, sha256, header, model, inputs, {}, known, predicted, extrapolated)

    def __repr__(self) -> str:
        header = self.header
        shape = f"{header.trainers} trainers, {header.epochs} epochs of {header.minibatches_per_epoch} minibatches"
        return f"<Twin of {self.path.name}: {header.graph.name}, {header.graph.kind} graph; {shape}>"

    @property
    def notices(self) -> list[str]:
        """What a reader must know first of any run: what is synthetic, incomplete, sampled, and how its times are
        predicted."""
        return [text for text in (self.header.notice, self.predicted, self.extrapolated) if text]

    @property
    def trace(self) -> Trace:
        """The trace's file, to look into."""
        return Trace(self.path)

    @property
    def measured_epochs(self) -> pl.DataFrame:
        """A row an epoch as it was captured: its number and `epoch_s`."""
        inputs = next(iter(self.inputs.values()))
        start_s, step_s = (np.stack([one.times[name] for one in inputs]) for name in ("start_s", "step_s"))
        seconds = epoch_seconds(start_s, step_s, self.header.minibatches_per_epoch)
        return pl.DataFrame({"epoch": np.arange(len(seconds), dtype=np.int32), "epoch_s": seconds})

    def head(self, epochs: int) -> Twin:
        """The first epochs only, under the same cost model; nothing is copied."""
        epochs = min(epochs, self.header.epochs)
        header = self.header.model_copy(update={"epochs": epochs})
        inputs = {universe: _head(inputs, header) for universe, inputs in self.inputs.items()}
        more = self.cost_sha256, self.predicted, self.extrapolated
        return Twin(self.path, self.sha256, header, self.cost, inputs, self.owners, *more)

    def config(
        self,
        policy: str | type[Policy] | Policy | PolicyPlan | None = None,
        *,
        link: str | None = None,
        latency_s: float | None = None,
        cluster: Path | str | dict[str, Any] | None = None,
        scenario: Path | str | dict[str, Any] | None = None,
        owners: Path | str | None = None,
        **fields: Any,
    ) -> RunConfig:
        """The configuration that options mean, which are those of `python -m sim.run`.

        A policy is named, or given as a class or an object; a `cache` is named or given as a class. `cluster` and
        `scenario` are files, or what such a file says. Raises `InputError` for values that can't be, and
        for options that would mean nothing.
        """
        fields = with_cache_named(fields)
        plan = plan_of(policy, fields)
        given = set(fields)
        fields |= what_if(link=link, latency_s=latency_s, cluster=cluster, scenario=scenario)
        if owners is not None:
            fields["owners_sha256"] = checksum(Path(owners))
            self.owners[fields["owners_sha256"]] = read_owners(Path(owners))
        same = {"trace": self.path.name, "trace_sha256": self.sha256, "cost_sha256": self.cost_sha256}
        config = make_config(agent=plan.name, agent_sha256=plan.sha256, **same, **fields)
        refuse_meaningless(plan, config, given)
        return config

    def simulate(
        self,
        policy: str | type[Policy] | Policy | PolicyPlan | RunConfig | None = None,
        *,
        plan: PolicyPlan | None = None,
        ahead: bool = False,
        fetch_counts: list[FetchCounts] | None = None,
        bins: int = 0,
        on_progress: Callable[[], None] = lambda: None,
        **options: Any,
    ) -> Run:
        """Simulate a policy, given as a spec, a class, an object or a complete configuration; `options` are those of
        `config`.

        `plan` is the policy of a configuration, where the spec doesn't define it completely. With `ahead`, the counts
        of a policy that looks at no times are found before time is simulated, and once for runs that share them; its
        observations then have no times. `fetch_counts` are those of a recorded run. `bins` and `on_progress` are as in
        `sim.simulation.simulate`. Raises `InputError` for what can't be.
        """
        if isinstance(policy, RunConfig):
            refuse_checksums_of_none(policy)
            plan, config = plan or plan_of_config(policy), policy
            refuse_meaningless(plan, config, changed_options(config))
            for name in options:
                raise InputError(f"a configuration has all options; leave out {name}")
        else:
            plan = plan_of(policy, with_cache_named(options))
            config = self.config(plan, **options)
        applied = self._apply(plan, config)
        if fetch_counts is None and (ahead or not plan.buffered or not decides(config)):
            fetch_counts = self._count(plan, config, applied)
        return Run(self, plan, config, applied, applied.simulate(plan, config, fetch_counts, on_progress, bins))

    def baseline(self, config: RunConfig, agent: str, on_progress: Callable[[], None] = lambda: None) -> Run:
        """A baseline of a run: `none` or `pipeline` on the same cluster, or `never` with the same buffer."""
        same = config.under(agent) if agent == "never" else config.without_buffer(agent)
        if same not in self._baselines:
            while len(self._baselines) >= BASELINES_KEPT:
                self._baselines.pop(next(iter(self._baselines)))
            self._baselines[same] = self.simulate(same, ahead=True, on_progress=on_progress)
        return self._baselines[same]

    def bound(self, config: RunConfig) -> Bound:
        """MIN with buffers of this size."""
        size = {"buffer": config.buffer, "universe": config.universe}
        key = config.without_buffer("").reset(TIME_FIELDS).model_copy(update=size)
        if key not in self._bounds:
            applied = self._apply(resolve("never"), config)
            self._bounds[key] = bound_of_run(applied.inputs, applied.header, config)
        return self._bounds[key]

    def _apply(self, plan: PolicyPlan, config: RunConfig) -> Applied:
        """What-ifs and cluster of a configuration; the last ones are remembered."""
        if config.trace_sha256 != self.sha256:
            of = f"{config.trace} ({config.trace_sha256[:16] or 'no checksum'})"
            raise InputError(f"the configuration is for the trace {of}, not for {self.path} ({self.sha256[:16]})")
        if config.cost_sha256 != self.cost_sha256:
            models = [sha256[:16] or "fitted to its trace" for sha256 in (config.cost_sha256, self.cost_sha256)]
            raise InputError("the configuration is for the cost model {}, not for the one here ({})".format(*models))
        universe = config.universe if plan.buffered or not self.inputs else next(iter(self.inputs))
        key = universe, config.without_buffer("").reset(("scenario", "depth"))
        if self._applied is None or self._applied[0] != key:
            inputs = self._trainers(universe)
            if config.owners_sha256:
                if config.owners_sha256 not in self.owners:
                    raise InputError(
                        f"no file of owners with SHA-256 {config.owners_sha256} was given; name it as owners"
                    )
                inputs = repartitioned(inputs, self.header, self.owners[config.owners_sha256])
            self._applied = key, Applied.of(inputs, self.header, self.cost, config)
        return self._applied[1]

    def _trainers(self, universe: UniverseKind) -> list[TrainerInput]:
        if universe not in self.inputs:
            self.inputs[universe] = _head(load(Trace(self.path), universe), self.header)
        return self.inputs[universe]

    def _count(self, plan: PolicyPlan, config: RunConfig, applied: Applied) -> list[FetchCounts] | None:
        """What is fetched, where it doesn't depend on time; the last counts are remembered."""
        counted = config if plan.buffered else config.without_buffer(config.agent)
        decided = plan.buffered and decides(config)
        key = counted.reset(TIME_FIELDS), agent_latency(config) if decided else None
        if self._fetch_counts[0] != key:
            self._fetch_counts = key, count_ahead(applied.inputs, applied.header, plan, config)
        return self._fetch_counts[1]


def _head(inputs: list[TrainerInput], header: Header) -> list[TrainerInput]:
    return [one.head(header.epochs * header.minibatches_per_epoch) for one in inputs]
