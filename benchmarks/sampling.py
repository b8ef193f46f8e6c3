"""How fast `traces.sample` is, beside DGL's own sampler on the same graph, and how it grows.

    python -m benchmarks.sampling beside --graph data/debian
    python -m benchmarks.sampling large --nodes 6900000 --edges 100000000 --trainers 4 --folder /tmp/large

`beside` samples the same minibatches of a graph with both on one core, turn by turn. `large` makes a synthetic graph of
16 blocks (four fifths of a node's in-edges come from its own block, popular nodes first), gives each block to a host
without any partitioning, samples a run, and prints time and peak memory.
"""

from __future__ import annotations

import resource
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from traces.capture.options import parse_fanout
from traces.cores import usable_cores
from traces.errors import run_command
from traces.graphs.graph import Graph
from traces.header import GraphInfo, PartitionInfo
from traces.reader import Trace
from traces.sampling.csc import InEdges, PartitionedGraph
from traces.sampling.folder import Partitioned, kept
from traces.sampling.sampler import Sampler
from traces.sampling.write import Settings, sample

app = typer.Typer(add_completion=False, help=__doc__)

AT_ONCE = 1 << 22
HOME = 0.8
"""The part of a node's in-edges that come from its own block."""


@app.command()
def beside(
    graph: Annotated[Path, typer.Option(help="Folder that traces.graphs made.")],
    fanout: Annotated[str, typer.Option()] = "10,25",
    batch: Annotated[int, typer.Option()] = 500,
    turns: Annotated[int, typer.Option(help="Minibatches of each, turn by turn.")] = 200,
) -> None:
    import dgl
    import torch

    torch.set_num_threads(1)
    loaded = Graph.load(graph)
    theirs = dgl.graph((torch.tensor(loaded.src), torch.tensor(loaded.dst)), num_nodes=loaded.num_nodes).formats("csc")
    theirs.create_formats_()
    widths, rng = parse_fanout(fanout), np.random.default_rng(0)
    train = np.flatnonzero(loaded.train_mask)
    ours = PartitionedGraph.of_edges(loaded.src, loaded.dst, np.array([0, loaded.num_nodes]), train)
    sampler, their_sampler = Sampler(ours, widths), dgl.dataloading.NeighborSampler(list(widths))
    spent, edges = np.zeros(2), np.zeros(2, np.int64)
    for turn in range(-2, turns):  # the first ones compile, and touch memory for the first time
        seeds = rng.choice(train, batch, replace=False)
        start = time.process_time()
        epoch = sampler.epoch(seeds, batch, (0, loaded.num_nodes // 4), rng)
        middle = time.process_time()
        _, _, blocks = their_sampler.sample_blocks(theirs, torch.from_numpy(seeds))
        end = time.process_time()
        if turn >= 0:
            spent += [middle - start, end - middle]
            edges += [int(epoch.sampled_edges[0]), sum(block.num_edges() for block in blocks)]
    for name, seconds, count in zip(("traces.sample", f"dgl {dgl.__version__}"), spent, edges, strict=True):
        rate = f"{count / seconds / 1e6:.1f} million edges a second of processor time"
        print(
            f"{graph.name}, fanout {fanout}, batch {batch}: {name}: {rate}, {seconds / turns * 1e3:.2f} ms a minibatch"
        )


def synthetic(nodes: int, edges: int, hosts: int) -> Partitioned:
    """A random graph in as many blocks as hosts; nodes of low number in a block are popular."""
    offsets = np.linspace(0, nodes, hosts + 1).astype(np.int64)
    found = InEdges(nodes)
    for counting in (True, False):  # the same draws twice, so that edges are never all in memory
        rng = np.random.default_rng(0)
        for start in range(0, edges, AT_ONCE):
            count = min(AT_ONCE, edges - start)
            dst = rng.integers(0, nodes, count)
            block = np.where(
                rng.random(count) < HOME,
                np.searchsorted(offsets, dst, side="right") - 1,
                rng.integers(0, hosts, count),
            )
            popular = rng.random(count) ** 2
            src = (offsets[block] + popular * (offsets[block + 1] - offsets[block])).astype(np.int64)
            if counting:
                found.count(dst)
            else:
                found.add(src, dst)
    train = np.flatnonzero(np.random.default_rng(1).random(nodes) < 0.011)  # as many as papers100M has
    info = GraphInfo(
        name=f"blocks-{nodes}", kind="synthetic", scale_note="random blocks, for measuring speed", nodes=nodes,
        edges=edges, feature_dim=128, feature_dtype="float32", feature_bytes=512, classes=172,
    )  # fmt: skip
    book = PartitionInfo(parts=hosts, method="blocks, not partitioned", offsets=tuple(offsets.tolist()))
    return Partitioned(PartitionedGraph(found.indptr, found.indices, offsets, train), info, book)


@app.command()
def large(
    folder: Annotated[Path, typer.Option(help="Where the graph's arrays and the trace are put.")],
    nodes: Annotated[int, typer.Option()] = 6_900_000,
    edges: Annotated[int, typer.Option()] = 100_000_000,
    hosts: Annotated[int, typer.Option()] = 16,
    trainers: Annotated[int, typer.Option(help="A host.")] = 1,
    fanout: Annotated[str, typer.Option()] = "10,25",
    batch: Annotated[int, typer.Option()] = 1000,
    epochs: Annotated[int, typer.Option()] = 1,
) -> None:
    start = time.perf_counter()
    source = {"nodes": nodes, "edges": edges, "hosts": hosts}
    parted = kept(folder / f"blocks-{nodes}-{edges}-{hosts}", source, lambda: synthetic(nodes, edges, hosts))
    made = time.perf_counter()
    settings = Settings(fanout=parse_fanout(fanout), batch_size=batch, trainers_per_host=trainers, epochs=epochs)
    out = folder / f"{hosts}x{trainers}-{nodes}.parquet"
    clock = time.process_time()
    sample(parted, settings, out, usable_cores())
    wall, cpu = time.perf_counter() - made, time.process_time() - clock
    trace = Trace(out)
    sampled = int(trace.steps()["sampled_edges"].sum())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    took = f"graph {made - start:.1f} s, sampled in {wall:.1f} s ({cpu:.1f} s of processor time)"
    print(
        f"{nodes:,} nodes, {edges:,} edges, {trace.header.trainers} trainers, {trace.header.epochs} epochs of "
        f"{trace.header.minibatches_per_epoch} minibatches: {sampled:,} sampled edges, "
        f"{trace.remote_rows:,} remote rows; {took}, peak {peak:.1f} GB, "
        f"file {out.stat().st_size / 1e6:,.0f} MB"
    )


if __name__ == "__main__":
    run_command(app)
