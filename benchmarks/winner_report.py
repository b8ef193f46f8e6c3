"""The page of `benchmarks.winner`: what was predicted, and what was measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks.published import settings
from benchmarks.winner_choice import BUFFERS, WAITING, Captures, choose, cost_of, fastest_first, predict, published
from benchmarks.winner_text import CHOICE, HOW, INTRODUCTION, OWN, WAITED, WAITS, WHAT, paragraph
from replay.comparison import compare
from replay.fidelity import table as markdown_table
from replay.grid import Planned, PolicyChoice
from replay.launch import TRACE
from sim.figures.fidelity import predicted as draw_predicted
from sim.figures.style import STYLE, caption
from traces.output import atomic_write
from traces.reader import Trace

Live = dict[str, dict[str, list[Planned]]]
"""By largest buffer, the live runs of every role: none, pipeline, winner, every:N, public rule."""

Means = dict[str, Any]
"""Predicted and measured figures of a policy, means over its live runs."""


def measure(folder: Path, captures: Captures, choice: PolicyChoice) -> dict[str, Any]:
    """A live run, and the simulation of its own trace, in epochs after the first; hits and rows are the whole run's."""
    _, cost = cost_of(captures, choice.agent if choice.agent in Captures._fields else "")
    compared = compare(folder, cost)
    steps = Trace(folder / TRACE).steps()
    warm = steps.filter(pl.col("epoch") > 0)
    waits = warm["stall_s"].sum() + warm["wait_s"].sum() + warm["allreduce_s"].sum()
    assert compared.simulated_epoch_s is not None  # a cost model was given
    return {
        "epoch_s": float(compared.live_epoch_s[1:].mean()),
        "last_epoch_s": float(compared.live_epoch_s[-1]),
        "hit_rate": compared.live_hits / int(steps["remote_rows"].sum()),
        "fetched_rows": compared.live_fetched_rows,
        "stall_share": warm["stall_s"].sum() / warm["step_s"].sum(),
        "idle_share": waits / warm["step_s"].sum(),
        "own_trace_epoch_s": float(compared.simulated_epoch_s[1:].mean()),
        "different_minibatches": len({(d.rank, d.epoch, d.minibatch) for d in compared.differences}),
        "minibatches": compared.minibatches,
    }


def results(live: Live, captures: Captures, out: Path) -> pl.DataFrame:
    """A row a live run, with the prediction of its configuration beside it."""
    rows, known = [], set()
    for runs in (runs for of_size in live.values() for runs in of_size.values()):
        if runs[0].policy in known:
            continue
        known.add(runs[0].policy)
        predicted = predict(captures, runs[0].policy)
        for run in runs:
            measured = measure(out / run.folder, captures, run.policy)
            rows.append({"policy": run.policy.label, "repeat": run.repeat} | measured | predicted)
    return pl.DataFrame(rows)


def write_page(
    live: Live, at_hand: Planned, captures: Captures, rates: pl.DataFrame, sweep: pl.DataFrame, out: Path, page: Path,
    command: str, when: str,
) -> str:  # fmt: skip
    """Write the page and its figure, and results.parquet; returns the page."""
    runs = results(live, captures, out)
    runs.write_parquet(out / "results.parquet")
    by_policy = {row["policy"]: row for row in _means(runs).to_dicts()}
    means = {
        largest: {role: by_policy[of_role[0].policy.label] for role, of_role in of_size.items()}
        for largest, of_size in live.items()
    }
    winner = next(iter(live.values()))["winner"][0]
    cores = Trace(captures.none / TRACE).header.cluster.cores
    ahead = measure(out / at_hand.folder, captures, at_hand.policy)
    parts = [
        INTRODUCTION.format(
            what=paragraph(
                WHAT, configurations=f"{len(sweep):,}", graph=winner.block.graph.name, machines=winner.machines,
                link=winner.link, batch=winner.block.batch, epochs=winner.block.epochs, repeats=winner.block.repeats,
                cores=cores, model=winner.block.model,
            ),
            how=paragraph(HOW), command=command, when=when, picture=page.with_suffix(".png").name,
        ).strip(),
        *(
            f"## Buffers of up to {largest} of the halo\n" + "\n".join(_result(one)) + "\n\n" + _table(one)
            for largest, one in means.items()
        ),
        "## The link rate\n" + _waiting(rates, winner.link, by_policy["pipeline"], ahead),
        "## The choice\n" + _choice(sweep, live, captures),
        "## Each live run's own trace, simulated\n" + _own_traces(runs),
    ]  # fmt: skip
    text = "\n\n".join(parts) + "\n"
    _draw(runs, page.with_suffix(".png"), f"{command}; {when}")
    with atomic_write(page) as partial:
        partial.write_text(text)
    return text


BEST = 6
"""So many caches, and settings of the public rule, are shown of each buffer size."""


def _means(runs: pl.DataFrame) -> pl.DataFrame:
    """Means over repeats; noise is the standard deviation of the epoch times over their mean."""
    noise = (pl.col("epoch_s").std() / pl.col("epoch_s").mean()).alias("noise_share")
    return runs.group_by("policy", maintain_order=True).agg(pl.exclude("repeat", "policy").mean(), noise)


def _result(means: dict[str, Means]) -> list[str]:
    winner = means["winner"]

    def less(role: str, name: str) -> str:
        return f"{1 - winner[name] / means[role][name]:.1%}"

    def times(role: str, name: str) -> str:
        return f"{means[role][name] / winner[name]:.2f}"

    pairs = [("none", "goal 40 %"), ("pipeline", ""), ("every:N", ""), ("public rule", "goal 10 %")]
    lines = []
    for role, goal in pairs:
        told = f" ({goal})" if goal else ""
        lines.append(
            f"- the winner's epochs are {less(role, 'epoch_s')} shorter than those of `{means[role]['policy']}`, "
            f"{times(role, 'epoch_s')} times as fast{told}; predicted: {less(role, 'predicted_epoch_s')}, "
            f"{times(role, 'predicted_epoch_s')}"
        )
    error = winner["predicted_epoch_s"] / winner["epoch_s"] - 1
    lines.append(f"- the winner's epoch was predicted {error:+.1%} off (goal 3 %); noise {winner['noise_share']:.1%}")
    return lines


def _table(means: dict[str, Means]) -> str:
    head = [
        "", "policy", "epoch predicted, s", "measured, s", "error", "noise", "speed-up over none, predicted",
        "measured", "hits predicted", "measured", "fetched rows predicted", "measured",
    ]  # fmt: skip
    none = means["none"]
    rows = [
        [
            role, row["policy"], f"{row['predicted_epoch_s']:.3f}", f"{row['epoch_s']:.3f}",
            f"{row['predicted_epoch_s'] / row['epoch_s'] - 1:+.1%}", f"{row['noise_share']:.1%}",
            f"{none['predicted_epoch_s'] / row['predicted_epoch_s']:.2f}", f"{none['epoch_s'] / row['epoch_s']:.2f}",
            f"{row['predicted_hit_rate']:.2%}", f"{row['hit_rate']:.2%}",
            f"{row['predicted_fetched_rows']:,.0f}", f"{row['fetched_rows']:,.0f}",
        ]
        for role, row in means.items()
    ]  # fmt: skip
    return markdown_table(head, rows)


def _waiting(rates: pl.DataFrame, link: str, pipeline: Means, ahead: Means) -> str:
    """How the link rate was found, and what it is live."""
    head = ["link", "epoch of pipeline, s", "with all features at hand, s", "share of features", "stall", "idle"]
    rows = [
        [
            row["link"], f"{row['epoch_s']:.2f}", f"{row['epoch_without_features_s']:.2f}",
            f"{row['features_share']:.0%}", f"{row['stall_share']:.0%}", f"{row['idle_share']:.0%}",
        ]
        for row in rates.to_dicts()
    ]  # fmt: skip
    share = 1 - ahead["last_epoch_s"] / pipeline["epoch_s"]
    measured = paragraph(
        WAITED, link=link, stall=pipeline["stall_share"], idle=pipeline["idle_share"], ahead_s=ahead["last_epoch_s"],
        share=share, pipeline_s=pipeline["epoch_s"],
    )  # fmt: skip
    highest = rates.filter(pl.col("features_share") >= WAITING)["link"][0]
    here = "" if link == highest else f" (the runs of this page are at {link})"
    waits = paragraph(WAITS, highest=highest, here=here, share=WAITING)
    return "\n\n".join([waits, markdown_table(head, rows), measured])


def _choice(sweep: pl.DataFrame, live: Live, captures: Captures) -> str:
    """The best of each cache at the winners' buffer sizes, and whether the present simulator would choose the same."""
    buffers = f"{', '.join(BUFFERS[:-1])} and {BUFFERS[-1]}"
    others = []
    for largest, of_size in live.items():
        for role, now in choose(sweep, largest, captures).items():
            if now != of_size[role][0].policy:
                others.append(f"`{now.label}` as {role} up to {largest}")
    changed = ""
    if others:
        changed = f"The choice was made with an earlier cost model; with the present one it is {', '.join(others)}."
    text = paragraph(
        CHOICE, configurations=f"{len(sweep):,}", buffers=buffers, published=len(settings()), changed=changed
    )  # fmt: skip
    head = ["buffer", "cache", "gate", "universe", "init", "epoch, s", "hits", "fetched rows"]
    rows = []
    for largest in live:
        ranked = sweep.filter(pl.col("buffer_rows") > 0, pl.col("buffer") == largest).sort("epoch_s_mean", "run")
        for row in ranked.group_by("cache", maintain_order=True).first().head(BEST).to_dicts():
            cells = [row[name] for name in ("buffer", "cache", "agent", "universe", "init")]
            rows.append(
                [*cells, f"{row['epoch_s_mean']:.3f}", f"{row['hit_rate_remote']:.1%}", f"{row['fetched_rows']:,}"]
            )
    said = f"The best {BEST} caches at either size, each with its best gate, simulated; means of all epochs:"
    return "\n\n".join([text, said, markdown_table(head, rows), _published(live, captures)])


def _published(live: Live, captures: Captures) -> str:
    """The best settings of the public rule at the sizes at which it ran."""
    said = f"The best {BEST} settings of the public rule at either size, as predicted; epochs after the first:"
    head, rows = ["policy", "epoch, s", "hits", "fetched rows"], []
    for buffer in dict.fromkeys(of_size["public rule"][0].policy.buffer for of_size in live.values()):
        for choice in fastest_first(published(buffer), captures)[:BEST]:
            row = predict(captures, choice)
            hits, fetched = f"{row['predicted_hit_rate']:.1%}", f"{row['predicted_fetched_rows']:,}"
            rows.append([choice.label, f"{row['predicted_epoch_s']:.3f}", hits, fetched])
    return "\n\n".join([said, markdown_table(head, rows)])


def _own_traces(runs: pl.DataFrame) -> str:
    """The comparison that `replay.validate` makes."""
    means = _means(runs).to_dicts()
    different, minibatches = runs["different_minibatches"].sum(), runs["minibatches"].sum()
    text = paragraph(OWN, different=different, minibatches=minibatches)
    rows = []
    for row in means:
        error = row["own_trace_epoch_s"] / row["epoch_s"] - 1
        rows.append([row["policy"], f"{row['own_trace_epoch_s']:.3f}", f"{row['epoch_s']:.3f}", f"{error:+.1%}"])
    return text + "\n\n" + markdown_table(["policy", "epoch simulated, s", "measured, s", "error"], rows)


def _draw(runs: pl.DataFrame, path: Path, origin: str) -> None:
    """Every live run over the prediction of its configuration."""
    table = runs.select("policy", measured_s="epoch_s", predicted_s="predicted_epoch_s")
    with rc_context(fname=STYLE):
        figure = Figure(figsize=(10, 4.2), layout="constrained")
        draw_predicted(table, figure.subplots(), band=0.03)
        caption(figure, origin)
        FigureCanvasAgg(figure)
        with atomic_write(path) as partial:
            figure.savefig(partial, format="png", dpi=130, bbox_inches="tight", metadata={"Software": None})
