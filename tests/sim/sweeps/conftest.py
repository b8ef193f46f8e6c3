"""What the tests of sweeps share."""

import pytest


@pytest.fixture
def repeated(write_trace, minibatch):
    """A trace of two trainers, each of which asks for the same rows in all of its minibatches."""
    one = minibatch(list(range(100, 160)), {"sample_s": 0.001, "forward_s": 0.002, "fetch_s": 0.004, "step_s": 0.01})
    other = minibatch(list(range(20, 70)), one.times)
    return write_trace(
        [[[one] * 6] * 3, [[other] * 6] * 3], nodes_per_partition=100, halo=[range(100, 200), range(100)]
    )
