"""GraphStorm's node trainer, untouched: recorded, and replayed with a policy, every row checked.

    python -m benchmarks.with_graphstorm --graphstorm FOLDER

FOLDER is where GraphStorm was installed to (docs/validation/graphstorm.md says how). Makes a synthetic graph of three
node types in two partitions, trains on two machines of this host, and exits with 1 where a count differs from the
simulator's.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from traces.errors import run_command

app = typer.Typer(add_completion=False)
JOB = Path(__file__).with_name("graphstorm_job.py")
ARGUMENTS = ["--ip_config", "{ip_config}", "--part_config", "{part_config}"]
MAKE = Path(__file__).parents[1] / "tests" / "traces" / "job" / "scripts" / "make_partition.py"


@app.command(help=__doc__)
def main(
    graphstorm: Annotated[Path, typer.Option(help="Where GraphStorm was installed to.")],
    cache: Annotated[str, typer.Option(help="Cache to replay.")] = "score",
    agent: Annotated[str, typer.Option(help="Policy to replay.")] = "every:4",
    buffer: Annotated[str, typer.Option(help="Size of the buffer.")] = "25%",
) -> None:
    from replay.comparison import compare
    from replay.launch import trace_file
    from sim.config import RunConfig
    from traces.cluster.local import LocalCluster
    from traces.job.launch import capture_job
    from traces.job.merge import Provenance
    from traces.reader import Trace

    sys.path.insert(0, str(graphstorm.resolve()))  # which the cluster's processes inherit
    cluster, provenance = LocalCluster(parts=2, timeout_s=600), Provenance(command=" ".join(sys.argv))
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:
        folder = Path(name)
        config, captured, live = partition(folder), folder / "captured.parquet", folder / "live"
        capture_job(cluster, config, [str(JOB), *ARGUMENTS], captured, provenance)
        header = Trace(captured).header
        print(f"recorded {header.epochs} epochs of {header.minibatches_per_epoch} minibatches a trainer")
        for one in header.node_types:
            told = ", ".join(f"{f.name} {f.dtype}{' (trainable)' if f.trainable else ''}" for f in one.features)
            print(f"  {one.name}: {told}; {one.remote_rows:,} remote rows")
        choice = RunConfig(trace="", trace_sha256="", agent=agent, cache=cache, buffer=buffer, universe="remote")
        given = {
            "config": choice.model_dump_json(),
            "trace": str(captured),
            "epochs": None,
            "check": True,
            "folder": str(live),
            "agents": None,
            "command_folder": str(folder),
        }
        entry = "replay.script_worker:main"
        capture_job(cluster, config, [str(JOB), *ARGUMENTS], trace_file(live), provenance, 0, entry, given)
        compared, summary = compare(live), json.loads((live / "summary.json").read_text())
    print(
        f"replayed {agent}, {cache} {buffer}: {summary['checked_rows']:,} rows checked, {summary['wrong_rows']} wrong"
    )
    different = len(compared.differences)
    print(f"  {compared.live_hits:,} hits, simulated {compared.simulated_hits:,}; "
          f"counts differ in {different} of {compared.minibatches} minibatches")  # fmt: skip
    sys.exit(bool(different))


def partition(folder: Path) -> Path:
    """Two partitions of the tests' graph of three node types, all features in float32, as GraphStorm has them."""
    os.environ["DGLBACKEND"] = "pytorch"
    import dgl

    graph, balanced = runpy.run_path(str(MAKE))["typed"]()
    graph.nodes["inst"].data["about"] = graph.nodes["inst"].data["about"].float()
    here = Path.cwd()
    os.chdir(folder)  # METIS leaves files
    dgl.distributed.partition_graph(
        graph, "mine", 2, str(folder / "parts"), num_hops=1, part_method="metis", balance_ntypes=balanced
    )
    os.chdir(here)
    return folder / "parts" / "mine.json"


if __name__ == "__main__":
    run_command(app)
