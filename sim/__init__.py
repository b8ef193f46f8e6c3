"""The simulator: exact caches, and a SimPy model of the time around them."""

from traces.other_agents import refuse_other_agents

refuse_other_agents()
