"""Message passing in plain PyTorch against `dgl.nn`: forward and gradients."""

import dgl
import pytest
import torch

from traces.capture.block_edges import BlockEdges
from traces.capture.model import CLASSES

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
SOURCES, DESTINATIONS, EDGES = 40, 12, 90


def sampled_block(seed: int, sources: int, destinations: int, edges: int):
    """Destinations from half of them on have no neighbours."""
    generator = torch.Generator().manual_seed(seed)
    src = torch.randint(sources, (edges,), generator=generator)
    dst = torch.randint(destinations // 2, (edges,), generator=generator)
    return dgl.create_block((src, dst), num_src_nodes=sources, num_dst_nodes=destinations)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("width", [8, 24], ids=["wider", "narrower"])  # DGL multiplies before or after it sums
@pytest.mark.parametrize("model_name", CLASSES)
def test_scores_and_gradients_are_those_of_dgl(model_name: str, width: int, device: str) -> None:
    torch.manual_seed(0)
    model = CLASSES[model_name](width, 16, 5, 2)
    blocks = [sampled_block(1, SOURCES, 24, EDGES), sampled_block(2, 24, DESTINATIONS, EDGES)]
    found = []
    for where, given in ("cpu", blocks), (device, [BlockEdges.of(block).to(torch.device(device)) for block in blocks]):
        features = torch.randn(SOURCES, width, generator=torch.Generator().manual_seed(3)).to(where).requires_grad_()
        scores = model.to(where)(given, features)
        model.zero_grad()
        (scores.square().sum() + scores[:, 1].sum()).backward()
        found.append([one.cpu().clone() for one in (scores, features.grad, *(p.grad for p in model.parameters()))])
    for dgl_nn, over_edges in zip(*found, strict=True):
        torch.testing.assert_close(over_edges, dgl_nn, rtol=1e-4, atol=1e-5)


def test_a_block_without_edges() -> None:
    model = CLASSES["GraphSAGE"](8, 16, 5, 1)
    block = dgl.create_block(([], []), num_src_nodes=4, num_dst_nodes=4)
    torch.testing.assert_close(model([BlockEdges.of(block)], torch.ones(4, 8)), model([block], torch.ones(4, 8)))
