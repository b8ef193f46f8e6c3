"""`python -m traces.synthetic`: traces of any size with the statistics of a captured one, without a graph.

Each remote node of a captured trainer keeps its number of accesses, its degrees, and its place in or outside the halo;
only the minibatches of its accesses are drawn anew. So popularity and halo are those of the captured run. Reuse
distances are fitted by one parameter, the *regularity*: the share of nodes whose accesses are spread evenly over the
epochs; those of the other nodes are placed at random. A larger trace has copies of every node. A longer one repeats the
captured counts at other times, and has no new nodes. The header marks the trace as synthetic.

Not kept: which nodes are asked for together, and how popularity drifts.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from traces.errors import InputError, run_command
from traces.output import file_to_write, writing
from traces.terminal import Json, Quiet, print_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from traces.header import Header
    from traces.reader import Epoch, Trace

app = typer.Typer(add_completion=False, rich_markup_mode="rich")

EXAMPLES = """
[bold]Examples[/bold]

python -m traces.synthetic --like traces/papers100m.parquet --out large.parquet --trainers 64 --scale 4 --epochs 50
"""


@dataclass(frozen=True, slots=True, eq=False)
class Profile:
    """What is kept of one captured trainer; arrays have a value a remote node.

    `counts` are accesses over the run. `listed` says whether the trace lists the node, and so whether it is cacheable.
    `regularity` is 1 where the accesses of a node are spread over the epochs as evenly as can be, 0 where at random.
    `captured` are the run's own epochs, whose times and counts of minibatches are used again.
    """

    counts: NDArray[np.int64]
    degrees: NDArray[np.int32]
    local_degrees: NDArray[np.int32]
    listed: NDArray[np.bool_]
    regularity: float
    captured: list[Epoch]


def fit(trace: Trace, rank: int) -> Profile:
    """The profile of a captured trainer."""
    import numpy as np

    nodes = trace.nodes(trace.header.partition_of(rank))
    captured = list(trace.epochs(rank))
    node_ids = np.union1d(nodes.node_ids, np.concatenate([epoch.ids for epoch in captured]))
    at = np.searchsorted(node_ids, nodes.node_ids)
    degrees, local_degrees = np.zeros(len(node_ids), np.int32), np.zeros(len(node_ids), np.int32)
    degrees[at], local_degrees[at] = nodes.degrees, nodes.local_degrees
    per_epoch = np.stack(
        [np.bincount(np.searchsorted(node_ids, epoch.ids), minlength=len(node_ids)) for epoch in captured]
    )
    counts = per_epoch.sum(axis=0)
    again = per_epoch[:, counts > 1]
    epochs = len(captured)
    at_random = counts[counts > 1].sum() * (1 - 1 / epochs)
    spread = float(((again - again.mean(axis=0)) ** 2).sum())
    regularity = float(np.clip(1 - spread / at_random, 0.0, 1.0)) if at_random else 0.0
    return Profile(counts, degrees, local_degrees, np.isin(node_ids, nodes.node_ids), regularity, captured)


def generate(profile: Profile, minibatches: int, epochs: int, scale: int, seed: int) -> Iterator[list[NDArray]]:
    """For every epoch, the nodes of each minibatch, ascending: numbers into the profile repeated `scale` times."""
    import numpy as np

    from traces.placement import epoch_counts, place

    counts = np.tile(profile.counts, scale)
    block = len(profile.captured)
    rng = np.random.default_rng(seed)
    regular = rng.random(len(counts)) < profile.regularity
    for epoch in range(epochs):
        if epoch % block == 0:
            each = epoch_counts(counts, regular, block, minibatches, rng)
        rows, offsets = place(each[epoch % block], minibatches, rng)
        yield np.split(rows, offsets[1:-1])


def write(trace: Trace, path: Path, trainers: int, epochs: int, scale: int, seed: int) -> None:
    """Write a synthetic trace after `trace`; memory is one trainer's profile and one epoch of it."""
    import numpy as np

    from traces.nodes import Nodes
    from traces.writer import TraceWriter, minibatch_table

    if trace.header.sampled:
        raise InputError(f"--like {trace.path}: was sampled offline, so it has no times to repeat; name a captured run")
    if trainers < 2:
        raise InputError(f"--trainers {trainers}: give at least 2, or nothing is remote")
    like = [rank % trace.header.trainers for rank in range(trainers)]
    profiles = {rank: fit(trace, rank) for rank in sorted(set(like))}
    largest = max(len(profile.counts) for profile in profiles.values()) * scale
    owned = -(-largest // (trainers - 1)) + 1
    header = _header(trace, trainers, epochs, scale, seed, owned, path)

    def node_ids(rank: int) -> NDArray[np.int64]:
        """Partition-global ids of a trainer's remote nodes, drawn evenly from all other partitions; ascending."""
        rows = len(profiles[like[rank]].counts) * scale
        drawn = np.random.default_rng((seed, rank)).choice(owned * (trainers - 1), rows, replace=False)
        return np.sort(drawn + owned * (drawn >= owned * rank))

    with TraceWriter(path, header) as writer:
        for rank in range(trainers):
            profile, ids = profiles[like[rank]], node_ids(rank)
            listed = np.tile(profile.listed, scale)
            degrees, local_degrees = (
                np.tile(values, scale)[listed] for values in (profile.degrees, profile.local_degrees)
            )
            writer.write_nodes(rank, Nodes(ids[listed], degrees, local_degrees, None))
        for rank in range(trainers):
            profile, ids = profiles[like[rank]], node_ids(rank)
            drawn = generate(profile, header.minibatches_per_epoch, epochs, scale, seed * trainers + rank)
            for epoch, minibatches in enumerate(drawn):
                source = profile.captured[epoch % len(profile.captured)]
                columns = {name: values * scale for name, values in source.columns.items()}
                columns["input_nodes"] = columns["local_nodes"] + np.array([len(rows) for rows in minibatches])
                remote_ids = [ids[rows] for rows in minibatches]
                done = [[0.0] * trainers] * len(minibatches)
                table = columns | {"remote_ids": remote_ids, "owner_done_s": done}
                writer.write_epoch(minibatch_table(rank, rank, epoch, table))


def _header(trace: Trace, trainers: int, epochs: int, scale: int, seed: int, owned: int, path: Path) -> Header:
    header = trace.header
    graph, options = header.graph, f"--trainers {trainers} --epochs {epochs} --scale {scale} --seed {seed}"
    note = (
        f"accesses drawn after {trace.path.name} ({graph.scale_note or graph.name}), "
        f"{scale} times its nodes, {trainers} trainers; no graph behind it"
    )
    return header.model_copy(
        update={
            "graph": graph.model_copy(
                update={
                    "name": f"{graph.name}-like", "kind": "synthetic", "scale_note": note, "checksum": "",
                    "nodes": owned * trainers, "edges": 0,
                }
            ),
            "partition": header.partition.model_copy(
                update={
                    "parts": trainers, "method": "none: drawn at random", "edge_cut": None,
                    "offsets": tuple(range(0, owned * trainers + 1, owned)),
                }
            ),
            "cluster": header.cluster.model_copy(
                update={"hosts": tuple(f"host{number}" for number in range(trainers)), "trainers_per_host": 1}
            ),
            "epochs": epochs,
            "overhead": None,
            "complete": True,
            "command": f"python -m traces.synthetic --like {trace.path.name} {options} --out {path.name}",
        }
    )  # fmt: skip


@app.command(epilog=EXAMPLES)
def main(
    like: Annotated[Path, typer.Option(help="The captured trace whose statistics are kept.")],
    out: Annotated[Path, typer.Option(help="The trace to write.", callback=file_to_write)],
    trainers: Annotated[int | None, typer.Option(help="Trainers, one a host.  [as captured]")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Epochs.  [as captured]")] = None,
    scale: Annotated[int, typer.Option(min=1, help="How many times the nodes and rows a minibatch.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Seed of all draws.")] = 0,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a trace of any size with the popularity, reuse and halo of a captured one. It says that it is synthetic."""
    from traces.reader import Trace

    trace = Trace(like)
    with writing(out):
        write(trace, out, trainers or trace.header.trainers, epochs or trace.header.epochs, scale, seed)
    written = Trace(out)
    if json:
        print_json({"file": out, "notice": written.header.notice, "remote_rows": written.remote_rows})
    elif not quiet:
        print(f"{out}: {written.header.notice}; {written.remote_rows:,} remote rows")


if __name__ == "__main__":
    run_command(app)
