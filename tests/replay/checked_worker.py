"""A buffered run in which every fetched row is held against a direct pull."""

from typing import Any

import torch

from replay.buffered import BufferedStore
from replay.worker import buffered
from traces.capture import worker
from traces.capture.fetch import FetchTimes
from traces.cluster.process import Connection


class Checked:
    def __init__(self, store: BufferedStore, features: Any) -> None:
        self.store, self.features = store, features

    def fetch(self, input_nodes: torch.Tensor) -> tuple[torch.Tensor, FetchTimes]:
        rows, times = self.store.fetch(input_nodes)
        assert torch.equal(rows, self.features[input_nodes]), "the buffer gave other rows than their owners"
        return rows, times


def source(connection: Connection, arguments: dict[str, Any], per_epoch: int) -> Checked:
    return Checked(buffered(connection, arguments, per_epoch), connection.graph.ndata["feat"])


def main(arguments: dict[str, Any]) -> dict[str, Any]:
    return worker.run(arguments, source)
