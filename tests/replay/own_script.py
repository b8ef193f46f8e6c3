"""A user's own training script: the one of replay/README.md, with three node features of different types."""

import dgl
import torch

from replay.loader import PrefetchingLoader
from traces.capture.model import GraphSAGE
from traces.cluster.process import connect


def half(shape, dtype):
    return torch.arange(shape[0] * shape[1], dtype=torch.float32).reshape(shape).to(dtype) / 100


def codes(shape, dtype):
    return torch.arange(shape[0] * shape[1]).reshape(shape).to(dtype)


def main(arguments):
    connection = connect()
    graph = connection.graph
    nodes = dgl.distributed.node_split(graph.ndata["train_mask"], graph.get_partition_book(), rank=connection.rank)
    nodes = nodes[:480]
    count = graph.num_nodes()
    graph.ndata["half"] = dgl.distributed.DistTensor((count, 5), torch.float16, "half", init_func=half)
    graph.ndata["codes"] = dgl.distributed.DistTensor((count, 3), torch.int32, "codes", init_func=codes)
    torch.distributed.barrier()
    sampler = dgl.dataloading.NeighborSampler([4, 4])
    model = torch.nn.parallel.DistributedDataParallel(GraphSAGE(108, 16, 8, 2))
    optimizer = torch.optim.Adam(model.parameters())

    loader = PrefetchingLoader(
        dgl.dataloading.DistNodeDataLoader(graph, nodes, sampler, batch_size=60, shuffle=True),
        graph,
        policy=arguments["policy"],  # best.json of sim.tune, config.json of sim.run
        trace=arguments["trace"],  # a captured run of this graph on these partitions
        epochs=2,
        features=["feat", "half", "codes"],
        check=True,
    )
    fetched, hits, dtypes = 0, 0, {}
    for _ in range(2):
        for minibatch in loader:
            inputs = torch.cat([rows.float() for rows in minibatch.features.values()], dim=1)
            loss = torch.nn.functional.cross_entropy(model(minibatch.blocks, inputs), minibatch.labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            direct = graph.ndata["codes"][minibatch.input_nodes]  # while the thread prepares the next
            assert torch.equal(direct, minibatch.features["codes"])
            fetched, hits = fetched + len(minibatch.input_nodes), hits + minibatch.fetch.hit_rows
            dtypes |= {name: str(rows.dtype) for name, rows in minibatch.features.items()}
    checked = loader.source.checked_rows
    for _ in loader:  # an epoch that is left in the middle
        break
    return {
        "fetched_rows": fetched,
        "checked_rows": checked,
        "dtypes": dtypes,
        "hit_rows": hits,
        "decisions": len(loader.driver.log),
    }
