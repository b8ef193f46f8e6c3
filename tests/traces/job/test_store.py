"""What the names in DGL's store stand for."""

from math import isnan
from types import SimpleNamespace

import torch
from dgl.distributed.kvstore import default_pull_handler

from traces.capture.fetch import as_bytes
from traces.job.store import StoredData, node_data, timed_pull


def test_node_data_is_told_from_what_else_is_in_the_store() -> None:
    """A type's name may begin with another's, and what a script keeps for itself has any name."""
    types = ("node~paper", "node~paper_author", "edge~paper:cites:paper")
    policies = {one: SimpleNamespace(type_name=one.split("~")[1]) for one in types}
    client = SimpleNamespace(all_possible_part_policy=policies)
    for node_type, name in (("paper", "feat"), ("paper_author", "embed_1"), ("paper", "a~b")):
        found = node_data(client, f"node~{node_type}~{name}")
        assert (found.node_type, found.name) == (node_type, name)
    assert node_data(client, "edge~paper:cites:paper~weight") is None
    assert node_data(client, "orders") is None


def test_bfloat16_goes_through_dgl_and_lies_in_a_buffer_as_bytes() -> None:
    """numpy has no such type. Nor has DGL's own store up to master; a script may have taught it."""
    rows = torch.arange(12.0).reshape(4, 3).to(torch.bfloat16)
    client = SimpleNamespace(data_store={"node~_N~brain": rows}, _pull_handlers={"node~_N~brain": default_pull_handler})
    data = StoredData("node~_N~brain", "_N", "brain", None)
    pulled, times = timed_pull(client, data, torch.tensor([2, 0]), lambda: rows[[2, 0]])
    assert torch.equal(pulled, rows[[2, 0]])
    assert isnan(times.local_gather_s)  # it went as one
    packed = as_bytes(pulled)
    assert packed.shape == (2, 6)
    assert torch.equal(packed.contiguous().view(torch.bfloat16).reshape(2, 3), pulled)
