"""Live runs on a real DistDGL cluster with the very same policies and buffers."""

from traces.other_agents import refuse_other_agents

refuse_other_agents()
