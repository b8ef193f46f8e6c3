"""Entry functions of the test jobs, each named as path/to/workers.py:function."""

import atexit
import os
import signal
import time
from pathlib import Path

import numpy as np

from traces.cluster.partition import read_facts
from traces.cluster.process import Connection, connect

FANOUT = [5, 5]
BATCH_SIZE = 400
PULLED_ROWS = 20_000


def train(arguments):
    """Train an epoch, hold every fetched row against the graph's, then pull rows from the next machine."""
    import dgl
    import torch

    connection = connect()
    graph, features = connection.graph, np.load(arguments["features"], mmap_mode="r")
    facts = read_facts(Path(os.environ["DGL_CONF_PATH"]))
    orig_nid = facts.orig_nid()
    nodes = dgl.distributed.node_split(graph.ndata["train_mask"], graph.get_partition_book(), rank=connection.rank)
    model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(features.shape[1], 8))
    loader = dgl.dataloading.DistNodeDataLoader(
        graph, nodes[:1000], dgl.dataloading.NeighborSampler(FANOUT), batch_size=BATCH_SIZE, shuffle=True
    )
    asked = []
    for input_nodes, output_nodes, _ in loader:
        rows = graph.ndata["feat"][input_nodes]
        assert np.array_equal(rows.numpy(), features[orig_nid[input_nodes.numpy()]])
        loss = torch.nn.functional.cross_entropy(
            model(graph.ndata["feat"][output_nodes]), graph.ndata["label"][output_nodes]
        )
        loss.backward()
        asked.append(int(input_nodes.sum()))
    return {
        "rank": connection.rank,
        "machine": connection.machine,
        "asked": asked,
        "train_nodes": len(nodes),
        "pull_bytes_per_s": _pull_bytes_per_s(connection, facts.offsets),
    }


def _pull_bytes_per_s(connection: Connection, offsets) -> float:
    import torch

    owner = (connection.machine + 1) % (len(offsets) - 1)
    nodes = torch.from_numpy(np.resize(np.arange(offsets[owner], offsets[owner + 1]), PULLED_ROWS))
    torch.distributed.barrier()
    start_s = time.perf_counter()
    rows = connection.graph.ndata["feat"][nodes]
    return rows.numel() * rows.element_size() / (time.perf_counter() - start_s)


def train_then_hang(arguments):
    atexit.register(time.sleep, 3600)
    return train(arguments)


def fail(arguments):
    """Rank 1 raises an exception while rank 0 waits for it in a barrier, or is killed before it joins."""
    if arguments["how"] == "kill" and os.environ["RANK"] == "1":
        print("about to fail", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    connection = connect()
    if connection.rank == 0:
        import torch

        torch.distributed.barrier()
    print("about to fail", flush=True)
    raise ValueError("a mistake of the worker")


def sleep(arguments):
    print("asleep", flush=True)
    time.sleep(3600)
