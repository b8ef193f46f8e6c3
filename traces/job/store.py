"""Node data by their keys in DGL's store, and a pull that times its parts."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
import torch
from dgl.distributed.kvstore import default_pull_handler

from traces.capture.fetch import FetchTimes, Sharded


@dataclass(frozen=True, slots=True)
class StoredData:
    """Node data of one type, by its key in the store."""

    key: str
    node_type: str
    name: str
    policy: Any


def node_data(client: Any, key: str) -> StoredData | None:
    """The node data of a `key`; None for edge data and other keys."""
    policies = client.all_possible_part_policy
    # a key is a policy, a sign, and a name: node~paper~feat, or node:paper:feat since dgl 2.0
    found = [one for one in policies if key.startswith(one) and not key[len(one) : len(one) + 1].isalnum()]
    policy = max(found, key=len, default="")
    if not policy.startswith("node"):
        return None
    return StoredData(key, policies[policy].type_name, key[len(policy) + 1 :], policies[policy])


def timed_pull(client: Any, data: StoredData, ids: torch.Tensor, original: Any) -> tuple[torch.Tensor, FetchTimes]:
    """The rows of `ids`, as DGL's `pull` gives them, and how long the parts took.

    Data with a custom pull handler, or of a dtype that numpy lacks, is pulled by DGL and timed as a whole.
    """
    local = client.data_store[data.key]
    start = perf_counter()
    if client._pull_handlers[data.key] is not default_pull_handler or local.dtype == torch.bfloat16:
        rows = original()
        return rows, FetchTimes(local_gather_s=float("nan"))
    tensor = Sharded(data.key, local, data.policy)
    wanted = ids.numpy()
    times = FetchTimes(owner_done_s=[0.0] * tensor.parts)
    rows = tensor.empty(len(wanted))
    tensor.pull(wanted, rows, np.arange(len(wanted)), tensor.by_owner(wanted), start, times)
    return torch.from_numpy(rows), times
