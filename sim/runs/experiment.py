"""One run with its baselines: DistDGL, pipelining alone, the same buffer without decisions, and the bound."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from sim.cost.model import as_json
from sim.runs.choose import meaningless
from sim.runs.results import write
from sim.runs.run import Run
from sim.runs.timeline import chrome_trace, utilisation

INTERVALS = 2000
"""Number of intervals in which the use of links and servers is recorded."""


@dataclass(eq=False)
class Experiment:
    """A run and its baselines; `on_progress` is called after every minibatch of every trainer."""

    run: Run
    on_progress: Callable[[], None] = lambda: None

    @cached_property
    def runs(self) -> dict[str, Run]:
        """By policy, baselines first."""
        run, names = self.run, ["none", "pipeline"]
        if run.decides:
            names.append("never")
        others = {
            name: run.twin.baseline(run.config, name, self.on_progress) for name in names if name != run.plan.name
        }
        return {name: others.get(name, run) for name in dict.fromkeys([*names, run.plan.name])}

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """A row a policy (`Run.summary`), and one for the bound, which has counts only."""
        rows = [one.summary for one in self.runs.values()]
        if (least := self.run.bound) is not None:
            remote, halo = rows[0]["remote_rows"], int(self.run.minibatches["halo_rows"].sum())
            hits = int(least.hit_rows.sum())
            rates = {"hit_rate_remote": hits / max(remote, 1), "hit_rate_halo": hits / max(halo, 1)}
            counts = {"remote_rows": remote, "hit_rows": hits, "replacement_rows": 0, "fill_rows": least.fill_rows}
            rows.append({"policy": "MIN", "fetched_rows": least.fetched_rows} | counts | rates)
            rows = [row | {"fetched_over_min": row["fetched_rows"] / max(least.fetched_rows, 1)} for row in rows]
        if self.run.config.universe == "remote":  # hits outside the halo have no rate over rows inside it
            rows = [row | {"hit_rate_halo": None} for row in rows]
        return rows

    def describe(self) -> str:
        """The run's settings in one line."""
        config, header = self.run.config, self.run.applied.header
        graph, training = header.graph, header.training
        rate = config.link_bytes_per_s or header.cluster.link_bytes_per_s
        parts = [
            f"{config.trace} ({graph.name}, {graph.kind}), {header.trainers} trainers",
            f"batch {training.batch_size}, fanout {','.join(map(str, training.fanout))}",
            f"links {rate * 8 / 1e6:g} Mbit/s" if rate else "links not shaped",
        ]
        if self.run.plan.buffered:
            rows = self.run.simulated.capacity_rows
            size = f"{config.buffer} = {min(rows):,} to {max(rows):,} rows"
            start = "" if "init" in meaningless(self.run.plan, config) else f", init {config.init}"
            parts.append(f"cache {config.cache}, {size} ({config.universe}{start})")
        return "; ".join(parts)

    def write(self, folder: Path, begin_figure: Callable[..., Callable[[], bytes]]) -> None:
        """Write everything into `folder`, whole or not at all.

        `begin_figure` takes the arguments of `sim.reports.run_figure.draw`, and returns a function that returns the
        PNG. Raises `InputError` for a run of code that has no source (`RunConfig.require_source`).
        """
        self.run.config.require_source()
        run, name = self.run, self.run.plan.name
        header, timed = run.applied.header, run.simulated

        def named(tables: dict[str, pl.DataFrame]) -> pl.DataFrame:
            policies = [pl.lit(policy).alias("policy") for policy in tables]
            return pl.concat(
                [table.clone().insert_column(0, name) for name, table in zip(policies, tables.values(), strict=True)]
            )

        caption = "; ".join(filter(None, [*run.notices, self.describe(), f"seed {run.config.seed}"]))
        bound = None if run.bound is None else pl.Series(run.bound.missed_rows)
        epoch_s = {policy: one.row["epoch_s_mean"] for policy, one in self.runs.items()}
        drawn = {policy: self.runs[policy].minibatches for policy in dict.fromkeys(["pipeline", name])}
        finish_figure = begin_figure(name, drawn, epoch_s, bound, caption)
        identity = {"run": run.config.id} | run.config.model_dump()
        tables = {
            "runs": pl.DataFrame([identity | row for row in self.rows], infer_schema_length=None),
            "epochs": named({policy: one.epochs for policy, one in self.runs.items()}),
            "minibatches": named({policy: one.minibatches for policy, one in self.runs.items()}),
            "decisions": run.decisions,
        }
        documents = {
            "config": run.config.model_dump(),
            "summary": {"notice": header.notice, "notices": run.notices, "runs": self.rows} | self.runs["none"].check(),
            "cost": as_json(run.applied.cost),
        }
        if len(timed.used):
            tables["utilisation"], documents["timeline"] = utilisation(timed, header), chrome_trace(timed, header)
        write(folder, tables, documents, finish_figure)
