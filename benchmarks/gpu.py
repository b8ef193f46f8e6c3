"""Training on a GPU, checked: live runs of both models with and without a buffer, and what their parts take.

    python -m benchmarks.gpu [--scale 1000] [--epochs 3] [--json gpu.json]

Makes a synthetic graph of ogbn-papers100M's shape, 1/SCALE of its size, cuts it in two, and trains with DistDGL on two
machines that share the host's GPU. With --check every row from the buffer is held against its owner's, and
`replay.compare`'s counts against the run's. Fails where no trainer computed on a GPU, a row or a count was wrong,
a loss didn't fall, or one model's losses on the GPU and on the CPU differ in the first epoch by more than a tenth.
"""

from __future__ import annotations

import json as json_text
import os
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from traces.errors import run_command

app = typer.Typer(add_completion=False)

MODELS = ("GraphSAGE", "GAT")
PARTS = ("sample_s", "fetch_s", "label_s", "copy_s", "forward_s", "backward_s", "wait_s", "allreduce_s", "update_s")


@app.command(help=__doc__)
def main(
    scale: Annotated[int, typer.Option(help="The graph is 1/SCALE of ogbn-papers100M's size.")] = 1000,
    epochs: Annotated[int, typer.Option(min=2)] = 3,
    batch: Annotated[int, typer.Option(help="Seeds a minibatch a trainer.")] = 50,
    link: Annotated[str | None, typer.Option(help="Rate of each machine's link.", show_default="unshaped")] = None,
    json: Annotated[Path | None, typer.Option(help="Write the figures here, too.")] = None,
) -> None:
    import torch

    from traces.cluster.partition import partition
    from traces.graphs.papers100m_synthetic import build

    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    print(f"torch {torch.__version__}, GPUs: {', '.join(names) or 'none'}", flush=True)
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        root = Path(folder)
        build(scale=scale, report=lambda stage, share: None).save(root / "graph")
        config = partition(root / "graph", 2, root / "parts")
        options = {"graph_dir": root / "graph", "part_config": config, "batch_size": batch, "epochs": epochs}
        runs = [
            _live(root / f"{model}-{number}", model, agent, link, options)
            for model in MODELS
            for number, agent in enumerate(("none", "every:4"))
        ]
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
        on_cpu = [_live(root / f"{model}-cpu", model, "none", link, options) for model in MODELS]
    if json is not None:
        json.write_text(json_text.dumps({"gpus": names, "torch": torch.__version__, "runs": runs + on_cpu}, indent=1))
    faults = [fault for one in runs for fault in _faults(one, on_cpu)]
    print("\n".join(faults) or "all rows, counts and losses hold")
    sys.exit(bool(faults))


def _live(folder: Path, model: str, agent: str, link: str | None, options: dict[str, Any]) -> dict[str, Any]:
    """Run, print and return what came of it."""
    from agents.registry import resolve
    from replay.comparison import compare
    from replay.launch import TRACE, LivePlan, run_live
    from sim.config import RunConfig
    from traces.capture.launch import Capture
    from traces.cluster.local import LocalCluster
    from traces.reader import Trace

    plan = resolve(agent)
    cluster = LocalCluster(parts=2, link=link, timeout_s=240)
    capture = Capture(cluster=cluster, fanout=(10, 25), model=model, evaluate_every=options["epochs"], **options)
    config = RunConfig(trace="", trace_sha256="", agent=plan.name)
    live = run_live(LivePlan(capture=capture, config=config, plan=plan, check=plan.buffered), folder)
    compared = compare(folder)
    steps = Trace(folder / TRACE).steps()
    steps = steps.filter(steps["epoch"] > 0)  # the first epoch warms up
    found = {
        "model": model,
        "agent": agent,
        "device": live.header.training.device,
        "form": live.header.cluster.form,
        "losses": live.tables["epochs"]["loss"].to_list(),
        "accuracy": live.summary["score_val"],
        "checked_rows": json_text.loads((folder / "summary.json").read_text()).get("checked_rows", 0),
        "hit_rows": compared.live_hits,
        "different_counts": len(compared.differences),
        "minibatches": compared.minibatches,
        "seconds": {name: float(steps[name].mean()) for name in (*PARTS, "step_s")},
    }
    losses = ", ".join(f"{loss:.4f}" for loss in found["losses"])
    print(f"{model} {agent} on {found['device']} ({found['form']}): losses {losses}; accuracy {found['accuracy']:.4f}")
    checked, different = f"{found['checked_rows']:,} rows checked", found["different_counts"]
    print(f"  {found['hit_rows']:,} hits, {checked}, {different} of {found['minibatches']} minibatches' counts differ")
    parts = ", ".join(f"{name.removesuffix('_s')} {value * 1e3:.2f}" for name, value in found["seconds"].items())
    print(f"  ms a minibatch: {parts}", flush=True)
    return found


def _faults(run: dict[str, Any], on_cpu: list[dict[str, Any]]) -> list[str]:
    which, found = f"{run['model']} {run['agent']}", []
    if run["device"] != "cuda":
        found.append(f"{which}: trained on {run['device']}, not on a GPU")
    if run["different_counts"]:
        found.append(f"{which}: {run['different_counts']} minibatches' counts differ")
    if run["agent"] != "none" and not run["checked_rows"]:
        found.append(f"{which}: no row was checked")
    if not run["losses"][-1] < run["losses"][0]:
        found.append(f"{which}: the loss didn't fall ({run['losses']})")
    cpu_loss = next(cpu["losses"][0] for cpu in on_cpu if cpu["model"] == run["model"])
    if abs(run["losses"][0] / cpu_loss - 1) > 0.1:
        found.append(f"{which}: first epoch's loss {run['losses'][0]:.4f}, on the CPU {cpu_loss:.4f}")
    return found


if __name__ == "__main__":
    run_command(app)
