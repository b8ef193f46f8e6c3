"""DistDGL's pull: a request to every owner back-to-back, a queue at each server, responses scattered one by one.

These are callbacks and not SimPy processes because a run has several of them for every minibatch of every trainer.
"""

from __future__ import annotations

from functools import partial

import simpy
from numpy.typing import NDArray

from sim.cost import ID_BYTES, CostModel
from sim.network import Network


class Server:
    """The feature servers of a host: requests are served in the order of their arrival, by whichever is free first."""

    def __init__(self, env: simpy.Environment, servers: int, cost: CostModel) -> None:
        self._env, self._cost = env, cost
        self._free_at = [0.0] * servers

    def serve(self, rows: int) -> simpy.Event:
        """Happens when a request for `rows` rows that arrives now has been served."""
        one = min(range(len(self._free_at)), key=self._free_at.__getitem__)
        self._free_at[one] = max(self._free_at[one], self._env.now) + rows * self._cost.server_s_per_row
        return self._env.timeout(self._free_at[one] - self._env.now)


class Store:
    """The node features of all hosts, as the trainers of one host pull them."""

    def __init__(
        self,
        env: simpy.Environment,
        network: Network,
        servers: list[Server],
        host: int,
        feature_bytes: int,
        cost: CostModel,
    ) -> None:
        self._env, self._network, self._servers, self._host = env, network, servers, host
        self._feature_bytes, self._cost = feature_bytes, cost

    def fetch(self, rows_by_owner: NDArray, gather_s: float) -> simpy.Event:
        """Happens when all rows are in place. `rows_by_owner` has a count a host; the local gather takes `gather_s`."""
        asked = [(owner, rows) for owner, rows in enumerate(rows_by_owner.tolist()) if rows]
        if not asked:
            return self._env.timeout(gather_s)
        done, arrivals = self._env.event(), []
        sent = self._env.timeout(self._cost.request_s)
        gathered_at = self._env.now + self._cost.request_s + gather_s

        def arrived(rows: int) -> None:
            arrivals.append((self._env.now, rows))
            if len(arrivals) < len(asked):
                return
            free_at = gathered_at
            for arrival, count in arrivals:
                free_at = max(free_at, arrival) + count * self._cost.scatter_s_per_row
            self._env.timeout(free_at - self._env.now).callbacks.append(lambda _: done.succeed())

        def send(_: simpy.Event) -> None:
            for owner, rows in asked:
                self._pull(owner, rows, partial(arrived, rows))

        sent.callbacks.append(send)
        return done

    def _pull(self, owner: int, rows: int, arrived: partial[None]) -> None:
        network, host, server = self._network, self._host, self._servers[owner]

        def requested() -> None:
            server.serve(rows).callbacks.append(served)

        def served(_: simpy.Event) -> None:
            network.transfer(owner, host, rows * self._feature_bytes, arrived)

        network.transfer(host, owner, rows * ID_BYTES, requested)
