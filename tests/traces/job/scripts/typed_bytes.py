"""The RGCN of typed_nodes.py, run three times with the same seed: as it is, recorded, and prefetched.

While it is recorded, trainers pull their rows in turns, and what the kernel counts on the machine's interface is read
round each pull. Rows that training writes are where a buffer would show: losses would differ.
"""

import os
import time
from pathlib import Path

import dgl
import torch
import torch.nn.functional as F
from typed_nodes import RGCN, WIDTHS, draw

EPOCHS, HEADERS = 2, 14 + 20 + 32
"""Bytes of Ethernet's, IP's and TCP's header (with time stamps) in each packet as the kernel hands it on."""


def received():
    """Bytes and packets that came through the interface."""
    line = next(one for one in Path("/proc/self/net/dev").read_text().splitlines() if "eth0:" in one)
    return [int(one) for one in line.split(":")[1].split()[:2]]


class Job:
    def __init__(self, arguments):
        self.out, self.policy = Path(arguments["out"]), arguments["policy"]
        dgl.distributed.initialize(os.environ["DGL_IP_CONFIG"])
        torch.distributed.init_process_group("gloo")
        self.rank = torch.distributed.get_rank()
        self.graph = graph = dgl.distributed.DistGraph("mine")
        book = graph.get_partition_book()
        mask = graph.nodes["paper"].data["train_mask"]
        self.nodes = dgl.distributed.node_split(mask, book, ntype="paper", force_even=True)[:240]
        self.others = {name: book.partid2nids(1 - book.partid, name)[:1] for name in WIDTHS}  # one remote node a type
        self.turn, self.count = 0, False
        self.total = {name: {"bytes": 0, "packets": 0, "pulls": 0} for name in WIDTHS}

    def rows_of(self, authors, input_nodes):
        """The rows of all input nodes; counted, in turns that are told by files, as a barrier would be counted too."""
        sources = {
            "paper": self.graph.nodes["paper"].data["feat"],
            "inst": self.graph.nodes["inst"].data["about"],
            "author": authors,
        }
        if not self.count:
            return {name: source(input_nodes[name]) if name == "author" else source[input_nodes[name]]
                    for name, source in sources.items()}  # fmt: skip
        found, own = {}, self.out / f"turn{self.turn}-{self.rank}"
        torch.distributed.barrier()
        if self.rank:
            while not (self.out / f"turn{self.turn}-0").exists():
                time.sleep(0.001)
        for name, source in sources.items():
            ids = input_nodes[name]
            before = received()
            found[name] = source(ids) if name == "author" else source[ids]
            after = received()
            self.total[name]["bytes"] += after[0] - before[0]
            self.total[name]["packets"] += after[1] - before[1]
            self.total[name]["pulls"] += 1
        own.touch()
        while not (self.out / f"turn{self.turn}-1").exists():
            time.sleep(0.001)
        self.turn += 1
        return found

    def losses(self, name, put=lambda loader: loader, count=False):
        graph, self.count = self.graph, False
        torch.manual_seed(self.rank)
        # names of its own, as a DistEmbedding stays in the store; drawn from the same generator
        policy = graph.get_node_partition_policy("author")
        authors = dgl.distributed.DistEmbedding(graph.num_nodes("author"), WIDTHS["author"], name, draw, policy)
        with torch.no_grad():  # the servers drew it; here it is the same in every run
            own = graph.get_partition_book().partid2nids(self.rank, "author")
            authors._tensor[own] = torch.rand(len(own), WIDTHS["author"])
        torch.distributed.barrier()
        model = torch.nn.parallel.DistributedDataParallel(RGCN(graph.etypes, 16, 8))
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        sparse = dgl.distributed.optim.SparseAdam([authors], lr=0.01)
        sampler = dgl.dataloading.NeighborSampler([-1, -1])
        loader = dgl.dataloading.DistNodeDataLoader(graph, {"paper": self.nodes}, sampler, batch_size=60, shuffle=True)
        loader, found = put(loader), []
        self.count = count
        if count:
            self.one_row = self.kernel_of_one_row(authors)
        for _ in range(EPOCHS):
            for input_nodes, seeds, blocks in loader:
                rows = self.rows_of(authors, input_nodes)
                labels = graph.nodes["paper"].data["labels"][seeds["paper"]]
                loss = F.cross_entropy(model(blocks, rows), labels)
                optimizer.zero_grad()
                sparse.zero_grad()
                loss.backward()
                optimizer.step()
                sparse.step()
                torch.distributed.barrier()  # nobody reads what others have yet to write
                found.append(loss.item())
        return found

    def kernel_of_one_row(self, authors):
        """By type, the bytes without headers that a pull of one remote row makes the kernel receive."""
        with torch.no_grad():
            self.rows_of(authors, self.others)
        one = {name: total["bytes"] - HEADERS * total["packets"] for name, total in self.total.items()}
        self.total = {name: dict.fromkeys(total, 0) for name, total in self.total.items()}
        return one


def main(arguments):
    job = Job(arguments)
    plain = job.losses("plain")

    from replay.prefetch import prefetch
    from traces.job.observe import observer
    from traces.record import Recorder

    trace = job.out / "t.parquet"
    with Recorder(trace, job.graph) as recorder:
        recorded = job.losses("recorded", recorder.watch, count=True)
    torch.distributed.barrier()  # rank 0 writes the trace
    options = {"policy": job.policy, "trace": trace, "out": job.out / "live", "check": True}
    prefetched = job.losses("prefetched", lambda loader: prefetch(loader, job.graph, **options))
    observer().finish()
    losses = {"plain": plain, "recorded": recorded, "prefetched": prefetched}
    return {"losses": losses, "kernel": job.total, "one_row": job.one_row}
