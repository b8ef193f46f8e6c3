"""`python -m sim.calibrate TRACE... --out cost.json`: fit the cost model to captured runs, and report its errors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from traces.errors import InputError, run_command
from traces.output import atomic_write, file_to_write

if TYPE_CHECKING:
    import numpy as np
    from rich.console import Console

    from sim.cost.model import CostModel

app = typer.Typer(add_completion=False, rich_markup_mode="rich")

EXAMPLES = """
[bold]Examples[/bold]

python -m sim.calibrate traces/debian.parquet --out cost.json

python -m sim.calibrate first.parquet second.parquet --out cost.json --plot residuals.png

python -m sim.run --trace other.parquet --cost cost.json
"""

HELD_OUT = ("sample_s", "fetch_s", "compute_s", "allreduce_s", "step_s")


@app.command(epilog=EXAMPLES)
def main(
    traces: Annotated[list[Path], typer.Argument(help="Captured runs, under policy none or pipeline.")],
    out: Annotated[Path, typer.Option(help="The cost model to write.", callback=file_to_write)],
    plot: Annotated[
        Path | None,
        typer.Option(help="Where to draw the residuals.", show_default="OUT with .png", callback=file_to_write),
    ] = None,
) -> None:
    """Fit the cost model to captured runs.

    Prints every parameter with its standard error, and the error on held-out epochs. Refuses runs from which two
    parameters can't be identified separately. The first epoch is warm-up and left out.
    """
    from matplotlib.figure import Figure
    from rich.console import Console

    from sim.calibration.fit import fit
    from sim.calibration.joint_fit import joint_fit
    from sim.cost.model import cost_document
    from sim.workload.load import load
    from traces.checksum import sha256_of
    from traces.reader import Trace

    drawn = plot or out.with_suffix(".png")
    if drawn.suffix[1:] not in (formats := Figure().canvas.get_supported_filetypes()):
        raise InputError(f"--plot {drawn}: give it one of the endings {', '.join(formats)}")
    console, fits, provenance, residuals = Console(), [], [], {}
    for path in traces:
        trace = Trace(path)
        inputs, sha256 = load(trace, "halo"), sha256_of(path)
        fitted = fit(inputs, trace.header, path.name, sha256)
        if fitted.doubts:
            raise InputError(
                f"{path}: can't tell apart {'; '.join(fitted.doubts)}; capture a run "
                "whose minibatches differ in size, as the last of an epoch does where the batch size doesn't divide it"
            )
        fits.append(fitted)
        errors, residuals[path.name] = _held_out(inputs, trace, fitted.cost, sha256)
        provenance.append(
            {"trace": path.name, "sha256": sha256, "command": trace.header.command, "date": trace.header.date}
            | {"versions": trace.header.versions, "held_out_error_share": errors}
        )
        summary = ", ".join(f"{name} {share:+.1%}" for name, share in errors.items())
        console.print(f"{path}: simulated over measured on what was held out: {summary or 'nothing was'}")
    cost, standard_errors = joint_fit(fits)
    _print(console, cost, standard_errors)
    with atomic_write(out) as partial:
        partial.write_text(cost_document(cost, {"standard_errors": standard_errors, "fitted_on": provenance}))
    _draw(residuals, drawn)
    console.print(f"written: {out} and {drawn}")


def _held_out(inputs: list[Any], trace: Any, cost: CostModel, sha256: str) -> tuple[dict[str, float], dict[str, Any]]:
    """Simulated over measured, less 1, on the held-out epochs; and all residuals in seconds."""
    from sim.calibration.fit import FITTED_EPOCHS
    from sim.calibration.measured_run import measured_times, simulate_measured, warm_up

    header = trace.header
    measured = measured_times(inputs, header)
    simulated = simulate_measured(inputs, header, cost, sha256)
    first = min(FITTED_EPOCHS, header.epochs) * header.minibatches_per_epoch
    errors = {}
    if header.epochs > FITTED_EPOCHS:
        errors = {n: float(simulated[n][:, first:].mean() / measured[n][:, first:].mean() - 1) for n in HELD_OUT}
    skip = warm_up(header)
    return errors, {n: (measured[n][:, skip:].ravel(), simulated[n][:, skip:].ravel()) for n in HELD_OUT}


def _print(console: Console, cost: CostModel, errors: dict[str, float]) -> None:
    from dataclasses import asdict

    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in ("parameter", "value", "standard error"):
        table.add_column(name, justify="left" if name == "parameter" else "right")
    values = {name: value for name, value in asdict(cost).items() if isinstance(value, float)} | cost.regression
    for name, value in values.items():
        table.add_row(name, f"{value:.4g}", f"{errors[name]:.2g}" if name in errors else "not fitted")
    console.print(table)


def _draw(residuals: dict[str, dict[str, tuple[np.ndarray, np.ndarray]]], path: Path) -> None:
    """Simulated less measured over measured, a panel a part."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.2 * len(HELD_OUT), 3.2), layout="constrained")
    for place, name in enumerate(HELD_OUT):
        axes = figure.add_subplot(1, len(HELD_OUT), place + 1)
        for trace, times in residuals.items():
            measured_s, simulated_s = times[name]
            axes.plot(measured_s * 1e3, (simulated_s - measured_s) * 1e3, ".", markersize=3, alpha=0.5, label=trace)
        axes.axhline(0.0, color="black", linewidth=0.8)
        axes.set_xlabel(f"measured {name[:-2]} (ms)")
        axes.set_ylabel("simulated - measured (ms)" if place == 0 else "")
    figure.axes[0].legend(fontsize=7)
    with atomic_write(path) as partial:
        figure.savefig(partial, format=path.suffix[1:], dpi=120)


if __name__ == "__main__":
    run_command(app)
