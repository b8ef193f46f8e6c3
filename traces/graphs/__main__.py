"""`python -m traces.graphs NAME --out DIR`: build a graph and write it to a folder."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from traces.errors import InputError, run_command
from traces.graphs import SOURCES, build
from traces.output import folder_to_write
from traces.terminal import Json, Quiet, command_line, console, print_json, progress

if TYPE_CHECKING:
    from traces.graphs.graph import Graph

SOURCE_LIST = "\n".join(f"  {source.pattern:<22}{source.summary}" for source in SOURCES)
HELP = f"""Build a graph to capture a run on, and write it to a folder.

\b
Sources:
{SOURCE_LIST}

\b
Examples:
  python -m traces.graphs debian --out data/debian
  python -m traces.graphs linux --out data/linux
  python -m traces.graphs debian --width 768 --out data/debian-768
  python -m traces.graphs papers100m-synthetic --scale 1000 --undirected --out data/papers100m
  python -m traces.graphs ogbn-arxiv --root dataset --out data/arxiv
"""
app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command(help=HELP)
def main(
    name: Annotated[str, typer.Argument(metavar="NAME", help="One of the sources above.")],
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder to write; made if it isn't there.", callback=folder_to_write)
    ],
    undirected: Annotated[bool, typer.Option("--undirected", help="Add the reverse of every edge.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the graph in DIR.")] = False,
    scale: Annotated[int | None, typer.Option(metavar="N", help="papers100m-synthetic: divide its size by N.")] = None,
    seed: Annotated[
        int | None, typer.Option(metavar="S", help="Seed of random draws; ogbn's graphs have none.")
    ] = None,
    dump: Annotated[Path | None, typer.Option(metavar="FILE", help="debian: a saved `apt-cache dumpavail`.")] = None,
    source: Annotated[
        Path | None, typer.Option(metavar="FILE", help="linux: kernel source, a .deb or a tarball.")
    ] = None,
    width: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="debian, linux: columns of the features (by default 128).")
    ] = None,
    root: Annotated[Path | None, typer.Option(metavar="DIR", help="ogbn: ogb's folder of data sets.")] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    _refuse_to_overwrite(out, force)
    given = {"scale": scale, "seed": seed, "dump": dump, "source": source, "width": width, "root": root}
    options = {option: value for option, value in given.items() if value is not None}
    graph = _build_with_progress(name, options, quiet or json)
    if undirected:
        graph = graph.undirected()
    command = command_line("traces.graphs")
    graph = dataclasses.replace(graph, provenance=graph.provenance | {"command": command})
    checksum = graph.save(out)
    if json:
        kind = graph.scale_note or graph.kind
        print_json({"folder": out, "graph": graph.name, "kind": kind, "checksum": checksum} | graph.counts())
    elif not quiet:
        _print_summary(graph, checksum, out)


def _refuse_to_overwrite(out: Path, force: bool) -> None:
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {out}: is a file; choose a folder")
    if not out.is_dir() or not any(out.iterdir()):
        return
    if not (out / "graph.json").exists():
        raise InputError(f"--out {out}: has files that are no graph; choose another folder")
    if not force:
        raise InputError(f"--out {out}: holds a graph; choose another folder, or replace it with --force")


def _build_with_progress(name: str, options: dict[str, int | Path], quiet: bool) -> Graph:
    with progress(quiet=quiet) as bar:
        task = bar.add_task(name, total=1.0)
        return build(
            name, lambda stage, share: bar.update(task, description=f"{name}: {stage}", completed=share), **options
        )


def _print_summary(graph: Graph, checksum: str, out: Path) -> None:
    from rich.table import Table

    counts = graph.counts()
    table = Table(title=str(out), title_justify="left")
    table.add_column("graph")
    table.add_column(graph.name, overflow="fold")
    rows = {
        "kind": graph.scale_note or graph.kind,
        "nodes": f"{counts['num_nodes']:,}",
        "edges": f"{counts['num_edges']:,}",
        "features": f"{counts['feature_width']}",
        "classes": f"{counts['classes']}",
        "train / valid / test": f"{counts['train']:,} / {counts['valid']:,} / {counts['test']:,}",
        "checksum": checksum,
    }
    for label, value in rows.items():
        table.add_row(label, value)
    console().print(table)


if __name__ == "__main__":
    run_command(app)
