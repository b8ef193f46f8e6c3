"""One policy over one trace, with what it is to be read against: DistDGL, pipelining alone, and the bound."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import polars as pl
from pydantic import ValidationError

from agents.registry import PolicyPlan, resolve
from sim.calibration.fit import fit
from sim.cluster.clusterfile import cluster_of
from sim.config import RunConfig
from sim.cost.model import CostModel, read_cost
from sim.counts.bound import Bound, bound_of_run
from sim.counts.policy_runs import make_caches
from sim.runs.results import decision_table, epoch_seconds, epoch_times, minibatch_table, summarise, write
from sim.runs.timeline import chrome_trace, utilisation
from sim.runs.whatif import changed, read_owners, repartitioned
from sim.simulation.simulate import Simulated, simulate
from sim.simulation.trainer import TIMED
from sim.workload.load import TrainerInput, load
from traces.checksum import sha256_of
from traces.cluster.link import parse_link
from traces.errors import InputError
from traces.header import Header
from traces.reader import Trace
from traces.schema import TIMES

INTERVALS = 2000
"""In so many it is told how busy links and servers were."""

BASELINES = ("none", "pipeline")

CHANGES = (
    "link_bytes_per_s", "link_latency_s", "depth", "compute_speed", "trainers_per_host", "feature_bytes",
    "owners_sha256", "cluster", "scenario",
)  # fmt: skip
"""Fields of a configuration that make it another run than the captured one, whatever the policy."""


@dataclass(eq=False)
class Experiment:
    """A policy, its baselines and the bound on one trace. Make it with `open`, then `run`, then `write`."""

    plan: PolicyPlan
    config: RunConfig
    header: Header
    inputs: list[TrainerInput]
    cost: CostModel
    cluster: nx.DiGraph
    simulated: dict[str, Simulated] = field(default_factory=dict)
    tables: dict[str, pl.DataFrame] = field(default_factory=dict)
    bound: Bound | None = None
    timeline: bool = False

    @classmethod
    def open(
        cls,
        path: Path,
        plan: PolicyPlan,
        options: dict[str, Any],
        link: str | None,
        cost_file: Path | None = None,
        owners: Path | None = None,
    ) -> Experiment:
        """Read the trace, check the options against it, and fit the cost model, or read it from `cost_file`. Raises
        `InputError` for bad input."""
        trace = Trace(path)
        rate = parse_link(link) if link else None
        try:
            config = RunConfig(
                trace=path.name, trace_sha256=sha256_of(path), agent=plan.name, link_bytes_per_s=rate,
                owners_sha256=sha256_of(owners) if owners else "", **options,
            )  # fmt: skip
        except ValidationError as error:
            first = error.errors()[0]
            raise InputError(f"--{first['loc'][0]}: {first['msg']}") from None
        inputs = load(trace, config.universe)
        cluster = cluster_of(trace.header, config)
        if plan.buffered:
            make_caches(inputs, trace.header, config)  # wrong sizes and options show up before anything else is done
        if cost_file is None:
            cost = fit(inputs, trace.header, path.name, config.trace_sha256).cost
        else:
            cost = read_cost(cost_file)
        if owners is not None:
            inputs = repartitioned(inputs, trace.header, read_owners(owners))
        inputs, header, cost = changed(inputs, trace.header, cost, config)
        return cls(plan, config, header, inputs, cost, cluster)

    @property
    def policies(self) -> list[str]:
        """The policies simulated, baselines first."""
        return list(dict.fromkeys([*BASELINES, self.plan.name]))

    @property
    def steps(self) -> int:
        """Minibatches to simulate in all."""
        return len(self.policies) * len(self.inputs) * self.inputs[0].stream.minibatches

    def run(self, tell: Callable[[], None] = lambda: None) -> None:
        """Simulate. `tell` is called after every minibatch of every trainer."""
        for name in self.policies:
            plan = self.plan if name == self.plan.name else resolve(name)
            self.simulated[name] = simulate(
                self.inputs, self.header, plan, self.config, self.cost, self.cluster, tell,
                bins=INTERVALS if self.timeline else 0,
            )  # fmt: skip
            self.tables[name] = minibatch_table(self.simulated[name], self.inputs, self.header)
        if self.plan.buffered:
            self.bound = bound_of_run(self.inputs, self.header, self.config)

    def summaries(self) -> list[dict[str, Any]]:
        """A row a policy (`sim.runs.results.summarise`), and one for the bound, which has counts only."""
        rows = [{"policy": name} | summarise(self.simulated[name], self.inputs, self.header) for name in self.policies]
        if self.bound is not None:
            remote, halo = rows[0]["remote_rows"], int(self.tables["none"]["halo_rows"].sum())
            hits, fill = int(self.bound.hit_rows.sum()), self.bound.fill_rows
            rates = {"hit_rate_remote": hits / max(remote, 1), "hit_rate_halo": hits / max(halo, 1)}
            counts = {"remote_rows": remote, "hit_rows": hits, "replacement_rows": 0, "fill_rows": fill}
            rows.append({"policy": "MIN", "fetched_rows": self.bound.fetched_rows} | counts | rates)
        if self.config.universe == "remote":  # hits outside the halo can't be told over rows inside it
            rows = [row | {"hit_rate_halo": None} for row in rows]
        return rows

    def check(self) -> dict[str, float]:
        """How the model does on the captured run itself: simulated `none` over measured, less 1, for the mean epoch and
        the mean fetch. Empty where something else than the captured run is simulated."""
        plain = RunConfig(trace="", trace_sha256="", agent="")
        if any(getattr(self.config, name) != getattr(plain, name) for name in CHANGES) or self.header.policy != "none":
            return {}
        per_epoch = self.header.minibatches_per_epoch
        simulated = self.simulated["none"].times
        measured = {name: np.stack([one.times[name] for one in self.inputs]) for name in TIMED if name in TIMES}
        epoch_s = [epoch_seconds(t["start_s"], t["step_s"], per_epoch).mean() for t in (simulated, measured)]
        fetch_s = [t["fetch_s"].mean() for t in (simulated, measured)]
        return {
            "epoch_error_share": float(epoch_s[0] / epoch_s[1] - 1),
            "fetch_error_share": float(fetch_s[0] / fetch_s[1] - 1),
        }

    def describe(self) -> str:
        """The run in a line: what a reader needs to tell it from another."""
        graph, training = self.header.graph, self.header.training
        rate = self.config.link_bytes_per_s or self.header.cluster.link_bytes_per_s
        parts = [
            f"{self.config.trace} ({graph.name}, {graph.kind}), {self.header.trainers} trainers",
            f"batch {training.batch_size}, fanout {','.join(map(str, training.fanout))}",
            f"links {rate * 8 / 1e6:g} Mbit/s" if rate else "links not shaped",
        ]
        if self.plan.buffered:
            rows = self.simulated[self.plan.name].capacity_rows
            size = f"{self.config.buffer} = {min(rows):,} to {max(rows):,} rows"
            parts.append(f"cache {self.config.cache}, {size} ({self.config.universe}, init {self.config.init})")
        return "; ".join(parts)

    def write(self, folder: Path, begin_figure: Callable[..., Callable[[], bytes]]) -> None:
        """Write everything into `folder`, whole or not at all.

        `begin_figure` gets what `sim.reports.run_figure.draw` takes, and gives the function that returns the PNG.
        """
        name = self.plan.name
        summaries = self.summaries()
        identity = {"run": self.config.id} | self.config.model_dump()
        runs = pl.DataFrame([identity | row for row in summaries], infer_schema_length=None)
        epochs = [
            epoch_times(simulated, self.header).insert_column(0, pl.lit(policy).alias("policy"))
            for policy, simulated in self.simulated.items()
        ]
        minibatches = [table.insert_column(0, pl.lit(policy).alias("policy")) for policy, table in self.tables.items()]
        caption = "; ".join(filter(None, [self.header.notice, self.describe(), f"seed {self.config.seed}"]))
        bound = None if self.bound is None else pl.Series(self.bound.missed_rows)
        epoch_s = {row["policy"]: row["epoch_s_mean"] for row in summaries if "epoch_s_mean" in row}
        shown = {policy: self.tables[policy] for policy in dict.fromkeys(["pipeline", name])}
        finish_figure = begin_figure(name, shown, epoch_s, bound, caption)
        timed = self.simulated[name]
        write(
            folder,
            {
                "runs": runs,
                "epochs": pl.concat(epochs),
                "minibatches": pl.concat(minibatches),
                "decisions": decision_table(timed, self.plan.calls_model),
            }
            | ({"utilisation": utilisation(timed, self.header)} if self.timeline else {}),
            {
                "config": self.config.model_dump(),
                "summary": {"notice": self.header.notice, "runs": summaries} | self.check(),
                "cost": asdict(self.cost),
            }
            | ({"timeline": chrome_trace(timed, self.header)} if self.timeline else {}),
            finish_figure,
        )
