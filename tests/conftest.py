from pathlib import Path

import numpy as np
import pytest

from traces.cluster.partition import partition
from traces.graphs.graph import Graph, random_split

NODES, EDGES, COMMUNITIES = 4000, 40_000, 8


@pytest.fixture(scope="session")
def graph_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random graph of communities, most edges inside them; node i's features start with i."""
    rng = np.random.default_rng(0)
    community = np.sort(rng.integers(0, COMMUNITIES, NODES))
    start = np.searchsorted(community, np.arange(COMMUNITIES + 1))
    dst = rng.integers(0, NODES, EDGES)
    low, high = start[community[dst]], start[community[dst] + 1]
    src = np.where(rng.random(EDGES) < 0.9, rng.integers(low, high), rng.integers(0, NODES, EDGES))
    features = rng.standard_normal((NODES, 100), dtype=np.float32)
    features[:, 0] = np.arange(NODES)
    train, valid, test = random_split(NODES, rng)
    order = rng.permutation(NODES)  # node ids say nothing of the communities
    folder = tmp_path_factory.mktemp("graph") / "communities"
    Graph(
        name="communities",
        kind="synthetic",
        src=order[src],
        dst=order[dst],
        features=features,
        labels=community[np.argsort(order)].astype(np.int64),
        train_mask=train,
        valid_mask=valid,
        test_mask=test,
        classes=COMMUNITIES,
    ).save(folder)
    return folder


@pytest.fixture(scope="session")
def part_config(graph_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The graph in two parts."""
    return partition(graph_dir, 2, tmp_path_factory.mktemp("parts") / "two")
