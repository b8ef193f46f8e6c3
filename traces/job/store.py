"""Node data by their keys in DGL's store, and a pull that times its parts."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter
from typing import Any

import torch
from dgl.distributed.kvstore import default_pull_handler

from traces.capture.fetch import FetchTimes, Sharded


@dataclass(slots=True, eq=False)
class StoredData:
    """Node data of one type, by its key in the store."""

    key: str
    node_type: str
    name: str
    policy: Any
    _known: tuple[torch.Tensor, Sharded] | None = None

    def sharded(self, local: torch.Tensor) -> Sharded:
        """The rows of all machines, of which this one has `local`; made anew only where a script has replaced them."""
        if self._known is None or self._known[0] is not local:
            self._known = local, Sharded(self.key, local, self.policy)
        return self._known[1]


def node_data(client: Any, key: str) -> StoredData | None:
    """The node data of a `key`; None for edge data and other keys."""
    policies = client.all_possible_part_policy
    # a key is a policy, a sign, and a name: node~paper~feat
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
    tensor, wanted = data.sharded(local), ids.numpy()
    times = FetchTimes(owner_done_s=[0.0] * tensor.parts)
    rows = tensor.empty(len(wanted))
    tensor.pull(wanted, rows, None, tensor.by_owner(wanted), start, times)
    return torch.from_numpy(rows), times
