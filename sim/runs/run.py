"""A simulated run: its tables, summary, and baselines."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from agents.registry import PolicyPlan, resolve
from sim.config import RunConfig
from sim.counts.bound import Bound
from sim.counts.policy_runs import decides
from sim.runs.applied import Applied
from sim.runs.results import decision_table, epoch_times, idle_notice, minibatch_table, summarise
from sim.simulation.simulate import Simulated

if TYPE_CHECKING:
    from sim.runs.twin import Twin


class Run:
    """One run of a policy over a captured run. Tables and baselines are made when they are asked for.

    `config` is what was simulated, `plan` the policy, `applied` the trainers and the cluster after what-ifs, and
    `simulated` the arrays of what happened.
    """

    def __init__(self, twin: Twin, plan: PolicyPlan, config: RunConfig, applied: Applied, simulated: Simulated) -> None:
        self.twin, self.plan, self.config, self.applied, self.simulated = twin, plan, config, applied, simulated

    def __repr__(self) -> str:
        cache = f", {self.config.cache} of {self.config.buffer}" if self.plan.buffered else ""
        seconds = f"{self.row['epoch_s_mean']:.4g} s an epoch"
        hits = f", {self.row['hit_rate_remote']:.1%} hits" if self.plan.buffered else ""
        return f"<Run of {self.plan.name}{cache} on {self.config.trace}: {seconds}{hits}>"

    @cached_property
    def row(self) -> dict[str, Any]:
        """The run in one row, without comparisons: `sim.runs.results.summarise`, and in addition

        `buffer_rows` and `buffer_bytes` of the largest buffer of a trainer, `min_fetched_rows`, the fewest rows that
        any policy could fetch with buffers of this size, and `min_hit_rows`, its hits (`sim.counts.bound`); 0 and None
        where there is no buffer.
        """
        header, rows = self.applied.header, max(self.simulated.capacity_rows)
        summary = summarise(self.simulated, self.applied.inputs, header)
        if self.config.universe == "remote":  # hits outside the halo have no rate over rows inside it
            summary["hit_rate_halo"] = None
        bound = self.bound
        return summary | {
            "buffer_rows": rows,
            "buffer_bytes": rows * header.graph.feature_bytes,
            "min_fetched_rows": None if bound is None else bound.fetched_rows,
            "min_hit_rows": None if bound is None else int(bound.hit_rows.sum()),
        }

    @cached_property
    def summary(self) -> dict[str, Any]:
        """The row, with comparisons to the baselines.

        `vs_none`, `vs_pipeline` and `vs_never` are its mean epoch time over that of DistDGL without prefetching, of
        pipelining alone, and of the same buffer left as it was filled, less 1; `fetched_over_min` its fetched rows over
        `min_fetched_rows`. None where there is no such thing.
        """
        held = {"vs_none": self.none, "vs_pipeline": self.pipeline, "vs_never": self.never}
        least = self.row["min_fetched_rows"]
        return (
            {"policy": self.plan.name}
            | self.row
            | {name: self.against(other) for name, other in held.items()}
            | {"fetched_over_min": self.row["fetched_rows"] / least if least else None}
        )

    def against(self, other: Run | None) -> float | None:
        """The mean epoch time over that of another run, less 1."""
        return None if other is None else self.row["epoch_s_mean"] / other.row["epoch_s_mean"] - 1

    @cached_property
    def epochs(self) -> pl.DataFrame:
        """A row an epoch: its number and `epoch_s`."""
        return epoch_times(self.simulated, self.applied.header)

    @cached_property
    def minibatches(self) -> pl.DataFrame:
        """A row a minibatch a trainer: counts of rows, and times in seconds."""
        return minibatch_table(self.simulated, self.applied.inputs, self.applied.header)

    @cached_property
    def decisions(self) -> pl.DataFrame:
        """A row a decision: what was seen, what was answered, when it applied, and its effect."""
        return decision_table(self.simulated, self.plan.calls_model)

    @property
    def decides(self) -> bool:
        """Whether a policy decides about a buffer."""
        return self.plan.buffered and decides(self.config)

    @property
    def label(self) -> str:
        """What it is called beside others: a cache that asks no policy gives its name."""
        return self.config.cache if self.plan.buffered and not self.decides else self.plan.name

    @property
    def notices(self) -> list[str]:
        """What a reader must know first: what is synthetic, sampled, predicted or incomplete, and a policy that did
        nothing."""
        asked = self.decides and self.plan.name != "never"
        return [text for text in (*self.twin.notices, idle_notice(self.plan.name, self.row) if asked else "") if text]

    def judge(self, horizon: int = 32, seconds: bool = False) -> pl.DataFrame:
        """Every decision that was applied, with both branches over so many minibatches (`sim.runs.judging.judge`)."""
        from sim.runs.judging import judge

        return judge(self, horizon, seconds)

    @cached_property
    def control(self) -> Run:
        """A random gate that replaces as often: what decides is adaptive only if it beats that one."""
        asked = len(self.applied.inputs) * max(self.applied.inputs[0].stream.minibatches // self.config.window, 1)
        rate = round(min(self.row["replacements"] / asked, 1.0), 4)
        return self.twin.simulate(self.config.under(resolve(f"random:{rate}").name))

    def check(self) -> dict[str, float]:
        """How the model does on the captured run itself: simulated over measured, less 1, for the mean epoch and the
        mean fetch. Empty where something else than the captured run, without any policy, was simulated."""
        twin = self.twin
        if self.config.reset(["engine"]) != twin.config("none") or twin.header.policy != "none" or twin.header.sampled:
            return {}
        epoch_s, measured_s = self.row["epoch_s_mean"], twin.measured_epochs["epoch_s"].to_numpy().mean()
        fetch_s = np.stack([one.times["fetch_s"] for one in self.applied.inputs]).mean()
        return {
            "epoch_error_share": float(epoch_s / measured_s - 1),
            "fetch_error_share": float(self.simulated.times["fetch_s"].mean() / fetch_s - 1),
        }

    @cached_property
    def bound(self) -> Bound | None:
        """MIN with a buffer of the same size; None without a buffer."""
        return self.twin.bound(self.config) if self.plan.buffered else None

    @cached_property
    def none(self) -> Run:
        """DistDGL without prefetching, on the same cluster."""
        return self._baseline("none")

    @cached_property
    def pipeline(self) -> Run:
        """Pipelining without a buffer, on the same cluster."""
        return self._baseline("pipeline")

    @cached_property
    def never(self) -> Run | None:
        """The same buffer, left as it was filled; None where no policy decides anything."""
        return self._baseline("never") if self.decides else None

    def _baseline(self, agent: str) -> Run:
        return self if self.plan.name == agent else self.twin.baseline(self.config, agent)
