"""A capture in which trainer 1 dies while the third epoch is under way."""

from typing import Any

from traces.capture import worker
from traces.capture.fetch import DistStore, FetchTimes
from traces.cluster.process import Connection


class Dying(DistStore):
    def __init__(self, connection: Connection, dies_at: int) -> None:
        super().__init__({"feat": connection.graph.ndata["feat"]})
        self.left = dies_at if connection.rank == 1 else -1

    def fetch(self, input_nodes: Any) -> tuple[Any, FetchTimes]:
        self.left -= 1
        if self.left == 0:
            raise RuntimeError("the trainer's disk caught fire")
        return super().fetch(input_nodes)


def main(arguments: dict[str, Any]) -> dict[str, Any]:
    return worker.run(arguments, lambda connection, _, per_epoch: Dying(connection, 2 * per_epoch + 2))
