"""Training of `agents.classifiers.tabnet.TabNet`, with torch."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from agents.classifiers.tabnet import RELAXATION, ROOT_HALF, Affine, TabNet

WIDTH, STEPS = 8, 3
EPOCHS, BATCH, LEARNING_RATE = 60, 256, 0.02


class Net(nn.Module):
    """The network of the paper, with plain batch normalisation."""

    def __init__(self, features: int) -> None:
        super().__init__()
        hidden = 2 * WIDTH
        self.shared = _normalised(features, 2 * hidden)
        self.own = nn.ModuleList(_normalised(hidden, 2 * hidden) for _ in range(STEPS + 1))
        self.attention = nn.ModuleList(_normalised(WIDTH, features) for _ in range(STEPS))
        self.output = nn.Linear(WIDTH, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Log odds, shape (rows,), of features of shape (rows, features)."""
        prior, decided = torch.ones_like(x), x.new_zeros(len(x), WIDTH)
        _, attended = self._transform(x, self.own[0])
        for own, attention in zip(list(self.own)[1:], self.attention, strict=True):
            mask = sparsemax(attention(attended) * prior)
            prior = prior * (RELAXATION - mask)
            step, attended = self._transform(x * mask, own)
            decided = decided + torch.relu(step)
        return self.output(decided)[:, 0]

    def _transform(self, x: torch.Tensor, own: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
        hidden = nn.functional.glu(self.shared(x))
        hidden = (hidden + nn.functional.glu(own(hidden))) * ROOT_HALF
        return hidden[:, :WIDTH], hidden[:, WIDTH:]


def train_tabnet(x: NDArray[np.float64], y: NDArray[np.bool_], weights: NDArray[np.float64], seed: int) -> TabNet:
    """Fit to standardised features (rows, features) and labels (rows,), each row with its weight."""
    torch.manual_seed(seed)
    net = Net(x.shape[1])
    optimiser = torch.optim.Adam(net.parameters(), lr=LEARNING_RATE)
    features, labels = torch.tensor(x, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)
    importance = torch.tensor(weights, dtype=torch.float32)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(labels)).split(BATCH):
            if len(rows) < 2:
                continue  # batch normalisation needs two
            loss = nn.functional.binary_cross_entropy_with_logits(
                net(features[rows]), labels[rows], weight=importance[rows]
            )
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    net.eval()
    return TabNet(
        width=WIDTH,
        shared=_folded(net.shared),
        own=[_folded(layer) for layer in net.own],
        attention=[_folded(layer) for layer in net.attention],
        output=_affine(net.output.weight.T, net.output.bias),
    )


def sparsemax(x: torch.Tensor) -> torch.Tensor:
    """As `agents.classifiers.tabnet.sparsemax`, over the last axis."""
    ordered = x.sort(dim=-1, descending=True).values
    total = ordered.cumsum(-1)
    count = torch.arange(1, x.shape[-1] + 1, dtype=x.dtype)
    kept = (1.0 + count * ordered > total).sum(-1, keepdim=True)
    return torch.relu(x - (total.gather(-1, kept - 1) - 1.0) / kept)


def _normalised(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, outputs, bias=False), nn.BatchNorm1d(outputs))


def _folded(layer: nn.Module) -> Affine:
    """The layer with its normalisation worked in, as it stands after training."""
    linear, norm = layer.children()
    assert isinstance(linear, nn.Linear)
    assert isinstance(norm, nn.BatchNorm1d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    return _affine(linear.weight.T * scale, norm.bias - norm.running_mean * scale)


def _affine(weights: torch.Tensor, bias: torch.Tensor) -> Affine:
    return Affine(weights=weights.detach().double().tolist(), bias=bias.detach().double().tolist())
