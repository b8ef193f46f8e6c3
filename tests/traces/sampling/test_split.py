"""Shares of training nodes against `dgl.distributed.node_split` itself."""

import dgl
import numpy as np
import pytest
import torch

from traces.cluster.partition import read_facts
from traces.sampling.split import trainer_shares


@pytest.mark.parametrize("trainers", [1, 2, 3])
@pytest.mark.parametrize("train", [2399, 2400, 7])
def test_shares_are_dgls_cut_to_the_smallest(part_config, monkeypatch, trainers, train):
    offsets = read_facts(part_config).offsets
    chosen = np.sort(np.random.default_rng(0).choice(offsets[-1], train, replace=False))
    mask = torch.zeros(int(offsets[-1]), dtype=torch.bool)
    mask[chosen] = True
    monkeypatch.setattr("dgl.distributed.dist_graph.role.get_num_trainers", lambda: 2 * trainers)
    theirs = []
    for rank in range(2 * trainers):
        book = dgl.distributed.load_partition_book(str(part_config), rank // trainers)[0]
        theirs.append(dgl.distributed.node_split(mask, book, rank=rank).numpy())
    smallest = min(map(len, theirs))
    ours = trainer_shares(chosen, 2, trainers)
    assert [share.tolist() for share in ours] == [share[:smallest].tolist() for share in theirs]
