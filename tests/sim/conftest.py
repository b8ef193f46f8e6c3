import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

TIMES = {"sample_s": 0.001, "forward_s": 0.002, "backward_s": 0.002, "fetch_s": 0.004, "step_s": 0.01}


@pytest.fixture
def drawn_trace(write_trace, minibatch):
    """Writes a trace of two trainers. A minibatch asks for about 40 of the other's 200 nodes, of which 150 are halo."""

    def make(epochs=2, minibatches=8):
        rng = np.random.default_rng(0)

        def trainer(first):
            draw = lambda: sorted(set((first + 200 * rng.random(60) ** 2).astype(int).tolist()))  # noqa: E731
            return [[minibatch(draw(), TIMES, local_nodes=50) for _ in range(minibatches)] for _ in range(epochs)]

        return write_trace([trainer(200), trainer(0)], nodes_per_partition=200, halo=[range(200, 350), range(150)])

    return make
