"""The model of a run in time: trainers on a cluster."""

__all__ = ["engine_state", "simulate", "trainer", "turns"]
