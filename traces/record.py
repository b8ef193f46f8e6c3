"""`python -m traces.record --out t.parquet -- train.py ARGS`: record a user's DistDGL job under any launcher."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from traces.errors import InputError, run_command
from traces.job.script import LocalRank, is_server, run_script, with_launchers_words
from traces.output import file_to_write

if TYPE_CHECKING:
    from traces.job.merge import Provenance
    from traces.job.run import JobRecording

app = typer.Typer(add_completion=False, rich_markup_mode="rich")

EXAMPLES = """
[bold]Examples[/bold]

python -m traces.record --out t.parquet -- train.py --graph_name ogb --ip_config ip_config.txt

torchrun ... -m traces.record --out /shared/t.parquet --link 10gbit -- train.py ARGUMENTS

python -m traces.record --recover --out t.parquet
"""


@app.command(epilog=EXAMPLES)
def main(
    out: Annotated[Path, typer.Option(help="The trace to write, on rank 0's host.", callback=file_to_write)],
    script: Annotated[list[str] | None, typer.Argument(metavar="-- SCRIPT ARGUMENTS", help="What to run.")] = None,
    part_config: Annotated[
        Path | None, typer.Option(help="DGL's configuration of the partition, if the job doesn't set DGL_CONF_PATH.")
    ] = None,
    link: Annotated[
        str | None, typer.Option(help="Rate of every host's link, such as 10gbit.", show_default="not known")
    ] = None,
    synthetic: Annotated[str | None, typer.Option(help="The graph is synthetic: what it models.")] = None,
    real: Annotated[bool, typer.Option("--real", help="The graph is a real one.")] = False,
    recover: Annotated[bool, typer.Option("--recover", help="Keep the epochs that a killed job left.")] = False,
    local_rank: LocalRank = None,
) -> None:
    """Run a DistDGL training script as it is, and record what each of its minibatches asked for and how long it took.

    Put it before the script in whatever starts the job (DGL's launch.py, GraphStorm's, torchrun, srun): servers and
    trainers run it alike, and rank 0 writes the trace when the script ends. Minibatches that are evaluated and not
    trained on are left out.
    """
    if recover:
        _recover(out)
        return
    if not script:
        raise InputError("no script: write it behind --, as in python -m traces.record --out t.parquet -- train.py")
    from traces.capture.options import require_distdgl

    require_distdgl()
    from traces.job.observe import install, observe

    path, *words = with_launchers_words(script)
    if is_server():
        install()
        run_script(Path(path), words)
        return
    run = _run(out, part_config, link, synthetic, real)
    observe(run)
    try:
        run_script(Path(path), words)
    except SystemExit as end:
        if end.code:
            raise
    run.finish()


def _run(out: Path, part_config: Path | None, link: str | None, synthetic: str | None, real: bool) -> JobRecording:
    from traces.cluster.link import parse_link
    from traces.job.merge import Provenance
    from traces.job.run import JobRecording

    provenance = Provenance(
        scale_note=synthetic,
        real=real,
        link_bytes_per_s=parse_link(link) if link else None,
        servers_per_host=int(os.environ.get("DGL_NUM_SERVER", "1")),
        command=shlex.join(["python", "-m", "traces.record", *sys.argv[1:]]),
    )
    return JobRecording(out, provenance, part_config)


def _recover(out: Path) -> None:
    from traces.capture.launch import fragments_of
    from traces.job.facts import trainers_in
    from traces.job.merge import merge

    fragments = fragments_of(out)
    if not (fragments / "provenance.json").is_file():
        raise InputError(f"{fragments}: no interrupted recording of {out} is there to recover")
    merge(out, fragments, trainers_in(fragments))
    shutil.rmtree(fragments)


class Recorder:
    """Records a training script from inside, where a prefix can't be had.

        with Recorder("t.parquet", graph) as recorder:
            for epoch in range(10):
                for input_nodes, seeds, blocks in recorder.watch(loader):
                    ...

    `graph` is the DistGraph, `part_config` its partition's configuration, where the environment doesn't name it. Every
    trainer makes one, after torch's process group; rank 0 writes the trace at the end of the block. Other loaders than
    those watched are not recorded. A block that ends in an exception leaves its whole epochs for
    `python -m traces.record --recover`.
    """

    def __init__(self, out: str | Path, graph: Any, part_config: str | Path | None = None) -> None:
        from traces.job.merge import Provenance
        from traces.job.run import JobRecording

        provenance: Provenance = Provenance(command=shlex.join(sys.argv))
        self._run = JobRecording(Path(out), provenance)
        self._run.opened(graph, None if part_config is None else str(part_config))

    def watch(self, loader: Any) -> Any:
        """The loader itself, which is recorded from now on."""
        if not any(one is loader for one in self._run.watched):
            self._run.watched.append(loader)
        return loader

    def __enter__(self) -> Recorder:
        import torch.distributed

        from traces.job.observe import observe

        observe(self._run)
        if torch.distributed.is_initialized():
            self._run.joined()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        from traces.job.observe import observe

        if kind is None:
            self._run.finish()
        else:
            observe(None)


if __name__ == "__main__":
    run_command(app)
