"""What DGL's loaders return, in all their forms."""

import dgl
import pytest
import torch

from traces.errors import InputError
from traces.job.sampled import read_minibatch


@pytest.fixture
def block():
    made = dgl.create_block(([0, 1, 2], [0, 0, 1]), num_src_nodes=3, num_dst_nodes=2)
    made.dstdata[dgl.NID] = torch.tensor([7, 8])
    return made


def test_nodes_of_one_type_and_of_several(block) -> None:
    inputs, seeds = torch.tensor([7, 8, 9]), torch.tensor([7, 8])
    one = read_minibatch((inputs, seeds, [block, block]), "_N")
    assert (list(one.inputs), one.seeds, one.sampled_edges) == (["_N"], 2, 6)
    several = read_minibatch(({"a": inputs, "b": seeds}, {"b": seeds}, [block]), "a")
    assert (list(several.inputs), list(several.targets), several.seeds) == (["a", "b"], ["b"], 2)


def test_edges_with_and_without_negatives(block) -> None:
    pairs = dgl.graph(([0, 1, 0], [1, 0, 0]), num_nodes=2)
    for item in ((torch.tensor([7, 8, 9]), pairs, [block]), (torch.tensor([7, 8, 9]), pairs, pairs, [block])):
        read = read_minibatch(item, "_N")
        assert read.seeds == 3
        assert read.targets["_N"].tolist() == [7, 8]


@pytest.mark.parametrize("item", [torch.zeros(3), (1, 2), (1, 2, 3), (1, 2, [])])
def test_anything_else_is_one_line(item) -> None:
    with pytest.raises(InputError, match="only DGL's DistNodeDataLoader"):
        read_minibatch(item, "_N")
