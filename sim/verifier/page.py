"""The standings as a page in Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from sim.verifier.cells import BUFFERS, SCENARIOS
from sim.verifier.records import Record
from sim.verifier.standings import Standing

COLUMNS = ("place", "policy", "times as fast", "95 %", "behind the first", "95 %", "hits", "x MIN")


def cells_of(standing: Standing, names: Sequence[str]) -> list[str]:
    """A row of the table: `COLUMNS`, then a column a trace."""
    low, high = standing.interval
    near, far = standing.behind_interval
    first = standing.place == 1
    return [
        "foresees" if standing.place is None else str(standing.place),
        standing.record.label + (f" ({standing.record.sha256[:8]})" if standing.record.sha256 else ""),
        f"{standing.speedup:.3f}",
        f"{low:.3f} to {high:.3f}",
        "" if first else f"{standing.behind:.1%}",
        "" if first else f"{near:.1%} to {far:.1%}",
        f"{standing.hit_rate_remote:.1%}",
        f"{standing.fetched_over_min:.2f}",
        *(f"{standing.by_trace[name]:.3f}" for name in names),
    ]


def page(found: Sequence[Standing], refused: Sequence[Record], notices: Sequence[str]) -> str:
    """The whole page."""
    names = list(found[0].by_trace) if found else []
    titles = [*COLUMNS, *names]
    tied = [one.record.label for one in found if one.place not in (None, 1) and one.tied]
    lines = [
        "# Benchmark of record",
        "",
        *(f"**{notice}**" for notice in notices),
        *([""] if notices else []),
        "How many times as fast simulated epochs are as those of DistDGL without prefetching: the geometric mean over",
        f"traces ({', '.join(names)}), buffers of {', '.join(BUFFERS)} of the halo in which any remote row may be, and",
        f"scenarios ({', '.join(SCENARIOS)}; `sim/verifier/cells.py`). Caches that know what comes",
        "(`foresees`) have no place, as no live run can have them. `hits` are over all remote rows, `x MIN` is what is",
        "fetched over the least that any policy could fetch. Classifiers and language models, which need files, are on",
        "the [page of agents](agents.md).",
        "",
        "Intervals are bootstraps over the epochs of each trace. They say how far a figure depends on the epochs that",
        "were captured, and not how far the simulator is off ([time](time.md)): differences of less than 3 % are ties.",
        "",
        f"Not told from the first by these epochs: {', '.join(tied) or 'none'}.",
        "",
        "<!-- not run: takes minutes; tests/sim/verifier runs smaller ones -->",
        "```bash",
        "python -m sim.benchmark --page docs/benchmark.md",
        "```",
        "",
        "| " + " | ".join(titles) + " |",
        "|" + "---|" * len(titles),
        *("| " + " | ".join(cells_of(one, names)) + " |" for one in found),
    ]
    if refused:
        lines += ["", "Refused:", ""]
        lines += [f"- `{one.label} ({one.sha256[:8]}): {one.refused.replace('`', chr(39))}`" for one in refused]
    return "\n".join(lines) + "\n"
