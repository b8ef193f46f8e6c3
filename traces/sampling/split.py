"""Who trains on which nodes: `dgl.distributed.node_split` of DGL 1.1 (and since), without DGL."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def trainer_shares(train: NDArray[np.int64], parts: int, trainers_per_host: int) -> list[NDArray[np.int64]]:
    """The training nodes of every trainer, by rank, all cut to the smallest share, as `traces.capture` cuts them.

    `train` (ascending) is shared out evenly to partitions in the order of ids, so that some nodes of a share belong to
    the partition before or after. A partition's share goes to its trainers at random, by a generator that DGL seeds
    with the partition's number.
    """
    shares: list[NDArray[np.int64]] = []
    for partition, nodes in enumerate(np.array_split(train, parts)):
        if trainers_per_host == 1:
            shares.append(nodes)
            continue
        order = np.random.RandomState(partition).permutation(len(nodes))
        shares += [nodes[np.sort(chosen)] for chosen in np.array_split(order, trainers_per_host)]
    smallest = min(map(len, shares))
    return [share[:smallest] for share in shares]
