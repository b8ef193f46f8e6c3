"""A captured run with a configuration's what-ifs applied, ready to be simulated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import networkx as nx

from agents.registry import PolicyPlan
from sim.cluster.clusterfile import cluster_of
from sim.config import RunConfig
from sim.cost.model import CostModel
from sim.counts.cache_replay import FetchCounts
from sim.counts.counterfactual import part_of_run
from sim.runs.whatif import changed
from sim.simulation.simulate import Simulated, simulate
from sim.workload.load import TrainerInput
from traces.header import Header


@dataclass(frozen=True, slots=True, eq=False)
class Applied:
    """Trainers, header, cost model and cluster after what-ifs."""

    inputs: list[TrainerInput]
    header: Header
    cost: CostModel
    cluster: nx.DiGraph

    @classmethod
    def of(cls, inputs: list[TrainerInput], header: Header, cost: CostModel, config: RunConfig) -> Applied:
        """Apply a configuration to a captured run. Raises `InputError` for what can't be."""
        inputs, header, cost = changed(inputs, header, cost, config)
        return cls(inputs, header, cost, cluster_of(header, config))

    def simulate(
        self,
        plan: PolicyPlan,
        config: RunConfig,
        fetch_counts: list[FetchCounts] | None = None,
        on_progress: Callable[[], None] = lambda: None,
        bins: int = 0,
    ) -> Simulated:
        """Simulate time (`sim.simulation.simulate`). `config` may differ from the applied one in policy, cache and
        scenario only."""
        return simulate(
            self.inputs, self.header, plan, config, self.cost, self.cluster, on_progress, fetch_counts, bins
        )

    def part(self, first: int, minibatches: int) -> Applied:
        """The run from minibatch `first` on, as if no epoch ended in it."""
        inputs = [part_of_run(one, first, minibatches) for one in self.inputs]
        header = self.header.model_copy(update={"minibatches_per_epoch": minibatches + 1})
        return replace(self, inputs=inputs, header=header)
