"""The tables of the fidelity proof as Markdown: `docs/validation/fidelity.md`."""

from __future__ import annotations

from typing import Any

import polars as pl

INTRODUCTION = """# How far simulations are from live runs

{note}Every row is a live DistDGL run on a local cluster (a network namespace a machine, links shaped by `tc`), and the
simulation of that run's own recorded trace. Hits and fetched rows are the whole run's; epoch times are means of all
epochs but the first. The cost model of a row is fitted on all other configurations on the same graph, machines and
link, never on the one that is predicted; what the model is made of was chosen among some forms while looking at these
errors. `noise` is the standard deviation of the live epoch times of repeated runs over their mean.

A configuration that happened to run slowly makes the models of the others slow, and not its own, so that rows can't be
ranked against each other. Kendall's tau is therefore over pairs: both policies of a pair are simulated with one model,
fitted on neither. The simulator's choice is the policy that wins most of its pairs. `clear` pairs are those whose live
epoch times differ by more than twice the standard error that the setting's noise gives such a difference; what order
others are in, live runs don't tell, nor whether a regret *within noise* is one.

Written{when} by

<!-- not run: trains for as long as all rows of the table together, on a machine that does nothing else -->
```bash
{command}
```
"""

SETTING = ["graph", "machines", "link", "batch"]
RANKING = [
    *SETTING, "policies", "mean error", "noise", "Kendall's tau", "of clear pairs", "of the table's columns",
    "simulator's choice", "live best", "regret",
]  # fmt: skip
CONFIGURATION = [
    *SETTING, "policy", "runs", "hits live", "simulated", "fetched rows live", "simulated",
    "epoch live, s", "simulated, s", "error", "noise",
]  # fmt: skip


def markdown(tables: dict[str, pl.DataFrame], note: str, command: str, when: str) -> str:
    """The whole page, out of what `replay.validation.summarise` gives and the grid's note."""
    overall = tables["overall"].to_dicts()[0]
    noise = overall["noise_share"]
    result = [
        f"- {overall['configurations']} configurations; counts differ in {overall['different_minibatches']:,} of "
        f"{overall['minibatches']:,} minibatches",
        f"- mean absolute error of the epoch time {overall['mean_error_share']:.1%}, worst "
        f"{overall['worst_error_share']:.1%}; noise of repeated live runs {'-' if noise is None else f'{noise:.1%}'}",
        f"- Kendall's tau between live and simulated ranking {_number(overall['kendall_tau'])} (mean over settings); "
        f"{_number(overall['clear_tau'])} over the {overall['clear_pairs']} of {overall['pairs']} pairs that live runs "
        f"tell apart; {_number(overall['table_tau'])} of the table's columns as they stand",
        f"- the simulator's choice is at worst {overall['worst_regret_share']:.1%} slower than the best; where live "
        f"runs tell the two apart, at worst {overall['worst_clear_regret_share']:.1%}",
    ]
    configurations = [
        [
            row["graph"], str(row["machines"]), row["link"], str(row["batch"]), row["policy"], str(row["repeats"]),
            f"{row['live_hit_rate']:.2%}", f"{row['simulated_hit_rate']:.2%}",
            f"{row['live_fetched_rows']:,.0f}", f"{row['simulated_fetched_rows']:,.0f}",
            f"{row['live_epoch_s']:.3f}", f"{row['simulated_epoch_s']:.3f}", f"{row['error_share']:+.1%}",
            "" if row["noise_share"] is None else f"{row['noise_share']:.1%}",
        ]
        for row in tables["configurations"].to_dicts()
    ]  # fmt: skip
    settings = [
        [
            row["graph"], str(row["machines"]), row["link"], str(row["batch"]), str(row["policies"]),
            f"{row['mean_error_share']:.1%}", f"{row['noise_share']:.1%}", _number(row["kendall_tau"]),
            f"{_number(row['clear_tau'])} ({row['clear_pairs']})",
            _number(row["table_tau"]), row["chosen"], row["best"],
            _regret(row),
        ]
        for row in tables["settings"].to_dicts()
    ]  # fmt: skip
    parts = [
        INTRODUCTION.format(note=f"{note.strip()}\n\n" if note else "", command=command, when=when).strip(),
        "## Result\n" + "\n".join(result),
        "## Rankings\n" + table(RANKING, settings),
        "## Configurations\n" + table(CONFIGURATION, configurations),
    ]
    return "\n\n".join(parts) + "\n"


def _regret(row: dict[str, Any]) -> str:
    within = " (within noise)" if row["regret_share"] and not row["regret_is_clear"] else ""
    return f"{row['regret_share']:.1%}{within}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
