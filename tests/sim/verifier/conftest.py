"""Candidates in files, and a small trace."""

import textwrap

import numpy as np
import pytest


@pytest.fixture
def write(tmp_path):
    """Writes a candidate, and says where."""

    def written(source, name="candidate.py"):
        path = tmp_path / name
        path.write_text(textwrap.dedent(source))
        return path

    return written


@pytest.fixture
def trace(write_trace, minibatch):
    """Two trainers, four epochs of three minibatches, whose rows drift."""

    def rows(rank, epoch, number):
        base = 20 * (1 - rank)
        drawn = np.random.default_rng((rank, epoch, number)).choice(12, size=6, replace=False)
        times = {"sample_s": 0.002, "fetch_s": 0.02, "forward_s": 0.005, "backward_s": 0.005, "step_s": 0.03}
        return minibatch(sorted((base + (drawn + 2 * epoch) % 20).tolist()), times)

    epochs = [[[rows(rank, epoch, number) for number in range(3)] for epoch in range(4)] for rank in range(2)]
    return write_trace(epochs, nodes_per_partition=20)
