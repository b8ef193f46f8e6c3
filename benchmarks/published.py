"""Rudder's public rule under all settings that its code ships, and the best of them: what others are held against.

    python -m benchmarks.published --trace traces/debian.parquet --buffers "25% 50%" --links "50mbit 100mbit"

The published score buffer (`score-public`) with every gate, start and option that Rudder's and MassiveGNN's
repositories name. Prints, for every buffer size, the setting that fetches the fewest rows and, at every link rate, that
with the shortest epochs, beside the setting that the live runs of docs/validation/winner.md had.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from sim import Twin
from sim.caches.cache import Init
from sim.runs.run import Run
from traces.errors import run_command

app = typer.Typer(add_completion=False)

ALPHAS = (".05", ".005")
"""Rudder's example configuration and the defaults of both command lines; the example of both."""

PERIODS = (1, 25, 32)
"""Rudder's example configuration; the defaults of both command lines; the example of both."""

STARTS: tuple[Init, ...] = ("empty", "degree-global", "random")
"""Rudder's `prefetcher_init`; MassiveGNN fills by degree."""

SPEEDS = tuple(round(0.97 + step * 0.005, 3) for step in range(13))
"""Of computing: policies that see no times run at all of these, and their epoch times are means. For who waits for whom
changes with any small change, so that one simulated epoch time is off by some tenths of a per cent."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One way to run the published code: gate, options of the buffer, and what it holds at first."""

    agent: str
    cache: str
    init: Init

    @property
    def label(self) -> str:
        """The setting in a few words."""
        options = self.cache.partition(":")[2].replace("=", " ").split(",") if self.agent != "never" else []
        return ", ".join([self.agent, *options, f"{self.init} at first"])


LIVE = Setting("every:32", "score-public:alpha=.005,period=32", "empty")
"""What the live runs of docs/validation/winner.md had: the example's options, replaced a minibatch after MassiveGNN."""


def gates(period: int) -> list[str]:
    """The gates that go with a period. Rudder's MLP says yes to every question: `rudder-every:1` is how its code asks,
    `always` a question after every minibatch."""
    tied = [f"rudder-every:{period}", f"massivegnn:{period}"] if period > 1 else []
    return ["always", "rudder-every:1", *tied]


def settings(starts: tuple[Init, ...] = STARTS) -> list[Setting]:
    """All settings with these starts. `never` is the published code with its evictions switched off."""
    replacing = [
        Setting(agent, f"score-public:alpha={alpha},period={period}", init)
        for init, alpha, period in product(starts, ALPHAS, PERIODS)
        for agent in gates(period)
    ]
    return [Setting("never", "score-public", init) for init in starts if init != "empty"] + replacing


def epochs_s(run: Run) -> list[float]:
    """The mean epoch of a policy that sees no times, at each of `SPEEDS`."""
    at_speeds = [run.config.model_copy(update={"compute_speed": speed}) for speed in SPEEDS]
    return [run.twin.simulate(one, ahead=True).row["epoch_s_mean"] for one in at_speeds]


@app.command(help=__doc__)
def main(
    trace: Annotated[Path, typer.Option(help="A captured run.")],
    buffers: Annotated[str, typer.Option(help="Sizes of the buffer.")] = "25% 50%",
    links: Annotated[str, typer.Option(help="Rates of the hosts' links.")] = "captured",
    cost: Annotated[
        Path | None, typer.Option(help="A cost model of sim.calibrate.", show_default="fitted to the trace")
    ] = None,
) -> None:
    twin = Twin.open(trace, cost=cost)
    if twin.header.notice:
        print(twin.header.notice)
    print("| graph | buffer | figure | best published setting | its figure | as run live | difference |")
    print("|---|---|---|---|---|---|---|")
    rates = {link: None if link == "captured" else link for link in links.split()}
    for buffer in buffers.split():
        rows: dict[str, dict[Setting, float]] = {"rows": {}} | {f"epoch s, {link}": {} for link in rates}
        for setting in (*settings(), LIVE):
            options = {"cache": setting.cache, "init": setting.init, "buffer": buffer, "ahead": True}
            for link, rate in rates.items():
                run = twin.simulate(setting.agent, link=rate, **options)
                rows["rows"][setting] = run.row["fetched_rows"]
                rows[f"epoch s, {link}"][setting] = float(np.mean(epochs_s(run)))
        for figure, of_settings in rows.items():
            best = min(settings(), key=of_settings.__getitem__)
            shown = [number(of_settings[one]) for one in (best, LIVE)]
            less = f"{of_settings[best] / of_settings[LIVE] - 1:+.1%}"
            cells = [twin.header.graph.name, buffer, figure, best.label, *shown, less]
            print("| " + " | ".join(cells) + " |", flush=True)


def number(value: float) -> str:
    """Rows with commas, seconds to the millisecond."""
    return f"{value:,}" if isinstance(value, int) else f"{value:.3f}"


if __name__ == "__main__":
    run_command(app)
