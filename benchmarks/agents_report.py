"""The table and the figure of `benchmarks.agents`, out of the runs that are there."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.published import STARTS, Setting, settings

BUFFERS = ("5%", "15%", "25%")
TRACES = {"debian": "Debian packages (real graph)", "papers100m": "papers100m (synthetic, 1/200 of ogbn-papers100M)"}
PUBLIC, EXAMPLE, OURS = "score-public", "score-public:alpha=.005,period=32", "frequency:half_life=5000"
POLICY, CACHE = "partial:0.05", "vip-demand"
"""What of this project is put against the others: a policy with the buffer `OURS`, and a cache that asks no policy."""

Row = dict[str, Any]


def report(folder: Path) -> None:
    """Write the tables between the marks in docs/agents.md and, if all parts were run, docs/agents.png.

    Rows of classifiers and language models that were not run stay as they are on the page.
    """
    paths = sorted(folder.glob("*.jsonl"))
    runs = [json.loads(line) for path in paths for line in path.read_text().splitlines()]
    table = pl.DataFrame([flat(run) for run in runs], infer_schema_length=None)
    # A classifier is named after its kind; its file's name also holds the other trace and the seed.
    table = table.with_columns(pl.col("agent").str.replace(r"classifier:.*/(\w+)-\w+-\d\.json", "classifier:$1"))
    page = Path("docs/agents.md")
    head, _, rest = page.read_text().partition("<!-- tables -->\n")
    before, _, tail = rest.partition("<!-- /tables -->\n")
    transfer = folder / "transfer.csv"
    sections = [ours(table, net, rows_of(before, f"public rule, {net} network")) for net in ("steady", "congested")]
    sections += [agents(table, trace, rows_of(before, TRACES[trace])) for trace in TRACES]
    sections += [spread(table, rows_of(before, "Over the seeds"))]
    sections += [transferred(tested(pl.read_csv(transfer)) if transfer.exists() else rows_of(before, "Classifiers"))]
    page.write_text(head + "<!-- tables -->\n" + "\n".join(sections) + "<!-- /tables -->\n" + tail)
    if {path.stem for path in paths} == {"rules", "models"}:
        draw(table, page.with_suffix(".png"))


def rows_of(tables: str, title: str) -> list[list[str]]:
    """The cells of the table on the page under a heading that has this in it, a list a row."""
    section = next((part for part in tables.split("\n### ") if title in part.partition("\n")[0]), "")
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in row] for row in rows[1:]]


def line_of(cells: list[str]) -> str:
    """A row of a table."""
    return "| " + " | ".join(cells) + " |"


def flat(run: Row) -> Row:
    """A run as one row: the cell, the figures, and those of its control."""
    control = {f"control_{name}": value for name, value in run.get("control", {}).items()}
    return run["cell"] | {name: value for name, value in run.items() if name not in ("cell", "control")} | control


def pick(table: pl.DataFrame, **where: Any) -> list[Row]:
    """The rows with these values."""
    return table.filter(**where).to_dicts()


def best(rows: list[Row], by: str) -> Row:
    """The row with the smallest value."""
    return min(rows, key=lambda row: row[by])


def ours(table: pl.DataFrame, network: str, before: list[list[str]]) -> str:
    """Our cache and our policy against every:N at its best N, on two buffers, and against Rudder's public rule."""
    lines = [
        f"\n### `{CACHE}`, and {POLICY} on `{OURS}`, against every:N and the public rule, {network} network\n",
        "| trace | buffer | figure | none | pipeline | public rule, best published setting "
        "| public rule, our start | best every:N, `score` | best every:N, `frequency` "
        f"| {POLICY} | {CACHE} | against the best of the others | share of MIN's saving |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for trace in TRACES:
        here = table.filter(trace=trace, network=network)
        if not pick(here, agent="none"):
            continue
        none, pipeline = pick(here, agent="none")[0], pick(here, agent="pipeline")[0]
        for buffer in BUFFERS:
            at = here.filter(buffer=buffer)
            mine, partial = pick(at, cache=CACHE), pick(at, agent=POLICY, cache=OURS)
            rivals = public(at), public(at, our_start=True), every(at, "score"), every(at, OURS)
            if not (mine and partial and all(rivals)):
                continue
            for figure, shown in (("fetched_rows", "rows"), ("epoch_s", "epoch s")):
                asked = [cell for cells in before if cells[:3] == [trace, buffer, shown] for cell in cells]
                rivals[1].extend(not_asked(asked, figure))
                others = [best([row for row in rows if row.get(figure)], figure) for rows in rivals]
                own = mine[0][figure]
                cells = [trace, buffer, shown, *(number(row[figure]) for row in (none, pipeline))]
                cells += [f"{number(row[figure])} ({gate(row)})" for row in others]
                cells += [number(partial[0][figure]), f"**{number(own)}**"]
                cells.append(against(mine[0], best(others, figure), figure))
                saved = (none["fetched_rows"] - mine[0]["fetched_rows"]) / (none["fetched_rows"] - mine[0]["min_rows"])
                lines.append(line_of([*cells, f"{saved:.1%}" if figure == "fetched_rows" else ""]))
    return "\n".join(lines) + "\n"


def public(table: pl.DataFrame, our_start: bool = False) -> list[Row]:
    """Runs of the public rule: all published settings, or the same gates and language models with our start."""
    starts = ("degree",) if our_start else STARTS
    chosen = {(one.agent, one.cache, one.init) for one in settings(starts)}
    rows = table.filter(pl.col("cache").str.starts_with("score-public")).to_dicts()
    asked = ("ollama:", "local:")
    return [
        row
        for row in rows
        if (row["agent"], row["cache"], row["init"]) in chosen
        or (our_start and row["cache"] == PUBLIC and row["agent"].startswith(asked))
    ]


def not_asked(cells: list[str], figure: str) -> list[Row]:
    """What a language model took as the gate of the public rule, with our start, where cells of the page say so."""
    told = [re.fullmatch(r"([\d,.]+) \(((?:ollama|local):.*)\)", cell) for cell in cells]
    return [
        {
            figure: json.loads(one[1].replace(",", "")),
            "agent": one[2],
            "cache": PUBLIC,
            "init": "degree",
            "epochs_s": None,
        }
        for one in told
        if one
    ]


def every(table: pl.DataFrame, cache: str) -> list[Row]:
    """Runs of every:N on a cache; always is every:1."""
    fixed = table.filter(pl.col("agent").str.starts_with("every:") | (pl.col("agent") == "always"))
    return pick(fixed, cache=cache)


def against(own: Row, other: Row, figure: str) -> str:
    """What one takes less or more than another; of epoch times with the standard error over the speeds of computing."""
    told = f"{own[figure] / other[figure] - 1:+.1%}"
    if figure == "epoch_s" and other["epochs_s"] is not None:
        shares = np.array(own["epochs_s"]) / np.array(other["epochs_s"]) - 1
        told = f"{shares.mean():+.2%} ± {shares.std(ddof=1) / np.sqrt(len(shares)):.2%}"
    return told


def gate(row: Row) -> str:
    """A gate as the table names it, for the public rule with the options of its buffer and its start."""
    if ":" in row["cache"] and row["cache"].startswith("score-public"):
        return Setting(row["agent"], row["cache"], row["init"]).label
    return row["agent"] if row["init"] == "degree" else f"{row['agent']}, {row['init']} at first"


def agents(table: pl.DataFrame, trace: str, before: list[list[str]]) -> str:
    """Every agent at the middle buffer in the steady network, seed 0, with its control beside it."""
    lines = [
        f"\n### Every agent: {TRACES[trace]}, steady network, {BUFFERS[1]} buffer, seed 0\n",
        "| buffer | agent | decisions | valid | latency s | interval | replaced | pass@1 | regret rows | hit rate "
        "| fetched over MIN | epoch s | control: pass@1 | regret rows | over MIN | epoch s |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    here = table.filter(trace=trace, network="steady", buffer=BUFFERS[1], seed=0)
    for label, cache, init in (
        (PUBLIC, PUBLIC, "degree"),
        (f"{EXAMPLE}, empty at first", EXAMPLE, "empty"),
        (OURS, OURS, "degree"),
    ):
        rows = pick(here, cache=cache, init=init)
        rows = [row for row in rows if row["window"] == 4 or row["agent"] in ("always", "massivegnn:32", POLICY)]
        found = [[label, *cells_of(row)] for row in rows]
        found += [cells for cells in not_run(found, before, 2) if cells[0] == label]
        found.sort(key=lambda cells: float(cells[OVER_MIN]))
        lines += [line_of(cells) for cells in found]
    unbuffered = pick(here, agent="none") + pick(here, agent="pipeline")
    lines += [line_of(["no buffer", *cells_of(row)]) for row in unbuffered]
    if bound := next((row for row in pick(here) if row["min_rows"]), None):
        rate = bound["min_hit_rows"] / bound["remote_rows"]
        lines.append(line_of(["bound", "MIN", *[""] * 7, f"{rate:.1%}", "1.000", *[""] * 5]))
    return "\n".join(lines) + "\n"


OVER_MIN = 10
"""The column of the table of agents by which it is sorted."""


def not_run(found: list[list[str]], before: list[list[str]], key: int) -> list[list[str]]:
    """Rows of the page, of classifiers and language models, that are not among the new ones; the first `key` cells tell
    rows apart."""
    known = {tuple(cells[:key]) for cells in found}
    learned = ("classifier:", "ollama:", "local:")
    return [cells for cells in before if tuple(cells[:key]) not in known and cells[1].startswith(learned)]


def cells_of(row: Row) -> list[str]:
    """What the table of agents shows of a run."""
    decisions = row["decisions"]
    minibatches = {"debian": 800, "papers100m": 1520}[row["trace"]]
    control = row.get("control_fetched_rows") is not None

    def over_min(rows: float) -> str:
        return f"{rows / row['min_rows']:.3f}" if row["min_rows"] else ""

    return [
        row["agent"],
        str(decisions),
        f"{row['valid'] / decisions:.0%}" if decisions else "",
        f"{row['latency_s']:.1f}" if row["latency_s"] else "",
        f"{minibatches / decisions:.0f}" if decisions else "",
        str(row["replacements"]),
        share(row.get("pass_at_1")),
        number(row.get("regret_rows")),
        f"{row['hit_rate_remote']:.1%}",
        over_min(row["fetched_rows"]),
        number(row["epoch_s"]),
        share(row.get("control_pass_at_1")),
        number(row.get("control_regret_rows")),
        over_min(row["control_fetched_rows"]) if control else "",
        number(row["control_epoch_s"]) if control else "",
    ]


def spread(table: pl.DataFrame, before: list[list[str]]) -> str:
    """Policies that draw or were trained, over their seeds."""
    seeded = table.filter(cache=PUBLIC, network="steady", window=4).filter(
        pl.col("agent").str.contains("^(bandit|classifier|ollama|local)")
    )
    rows = seeded.group_by("trace", "agent", "buffer").agg(
        seeds=pl.len(),
        low=(pl.col("fetched_rows") / pl.col("min_rows")).min(),
        mean=(pl.col("fetched_rows") / pl.col("min_rows")).mean(),
        high=(pl.col("fetched_rows") / pl.col("min_rows")).max(),
        control=(pl.col("control_fetched_rows") / pl.col("min_rows")).mean(),
    )
    lines = [
        f"\n### Over the seeds: fetched rows over MIN on `{PUBLIC}`, steady network\n",
        "| trace | agent | buffer | seeds | lowest | mean | highest | control, mean |",
        "|---|---|---|---|---|---|---|---|",
    ]
    found = [
        [row["trace"], row["agent"], row["buffer"], str(row["seeds"])]
        + [f"{row[name]:.3f}" for name in ("low", "mean", "high", "control")]
        for row in rows.to_dicts()
    ]
    found += not_run(found, before, 3)
    lines += map(line_of, sorted(found, key=lambda cells: (cells[0], cells[1], BUFFERS.index(cells[2]))))
    return "\n".join(lines) + "\n"


def transferred(rows: list[list[str]]) -> str:
    """Classifiers on the judged decisions of the other graph."""
    lines = [
        "\n### Classifiers on the other graph's decisions\n",
        "| classifier | trained on | label | accuracy | balanced accuracy | replacing is right |",
        "|---|---|---|---|---|---|",
        *map(line_of, rows),
    ]
    return "\n".join(lines) + "\n"


def tested(transfer: pl.DataFrame) -> list[list[str]]:
    """The rows of that table out of what `benchmarks.agents classifiers` has found."""
    return [
        [row["kind"], row["trained_on"], row["label"]]
        + [f"{row[name]:.1%}" for name in ("accuracy", "balanced", "replace_is_right")]
        for row in transfer.sort("kind", "trained_on", "label").to_dicts()
    ]


def number(value: float | None) -> str:
    """Whole numbers with commas, others to four digits; nothing for nothing."""
    if value is None or value != value:
        return ""
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def share(value: float | None) -> str:
    """A percentage; nothing for nothing."""
    return "" if value is None or value != value else f"{value:.0%}"


def draw(table: pl.DataFrame, path: Path) -> None:
    """Fetched rows over MIN of every agent on the public and on our buffer, a panel a trace and network."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import MaxNLocator, NullLocator, ScalarFormatter

    figure, axes = plt.subplots(2, 2, figsize=(11, 9), layout="constrained", sharey=True)
    names: list[str] = []
    for column, trace in enumerate(TRACES):
        for line, network in enumerate(("steady", "congested")):
            axis = axes[line][column]
            at = table.filter(trace=trace, network=network, buffer=BUFFERS[1], seed=0)
            pipeline = pick(table, trace=trace, network=network, agent="pipeline")
            if at.is_empty():
                axis.set_axis_off()  # not run yet
                continue
            for cache, colour, marker in ((PUBLIC, "#0072B2", "o"), (OURS, "#D55E00", "D")):
                rows = [row for row in pick(at, cache=cache) if row["agent"] not in ("never",)]
                names += [row["agent"] for row in rows if row["agent"] not in names]
                axis.scatter(
                    [row["epoch_s"] for row in rows],
                    [names.index(row["agent"]) for row in rows],
                    c=colour,
                    marker=marker,
                    s=22,
                    label=cache,
                )
            if pipeline:
                axis.axvline(pipeline[0]["epoch_s"], color="#999999", lw=1, label="no buffer (pipeline)")
            if mine := pick(at, cache=CACHE):
                axis.axvline(mine[0]["epoch_s"], color="#009E73", lw=1, label=CACHE)
            axis.set_xscale("log")
            axis.xaxis.set_major_locator(MaxNLocator(6))
            axis.xaxis.set_major_formatter(ScalarFormatter())
            axis.xaxis.set_minor_locator(NullLocator())
            axis.set_title(f"{trace}, {network} network, {BUFFERS[1]} buffer", fontsize="small")
            axis.set_xlabel("mean epoch time (simulated, s; log scale)")
            axis.spines[["top", "right"]].set_visible(False)
    for axis in axes.ravel():
        axis.set_yticks(range(len(names)), names, fontsize="x-small")
    axes[0][0].legend(frameon=False, fontsize="x-small")
    figure.supxlabel(
        "papers100m: synthetic, 1/200 of ogbn-papers100M.  python -m benchmarks.agents report", fontsize="x-small"
    )
    figure.savefig(path, dpi=130, metadata={"Software": None})
    plt.close(figure)
