"""Repeats the decisions of an earlier run from its log: exactly, and without the model that made them."""

from __future__ import annotations

import io

import polars as pl

from agents.files import read_file
from agents.policy import Decision, Observation, RunFacts
from traces.errors import InputError

FACTS = ("graph", "epochs", "batch_size", "cache", "universe", "capacity_rows", "window")
"""Columns of a log that must agree with the run that it is replayed in."""

DECISION = ("replace", "share", "ranking", "reason", "expected_impact", "answer", "outcome", "latency_s")
LATER = ("answered_by",)
"""Columns that logs of earlier versions lack."""


class Recorded:
    """Gives, after the same minibatch of the same trainer, the decision that `decisions.parquet` holds.

    Latencies are recorded too, so decisions apply when they did, and the whole run is the same. If the policy is asked
    at a minibatch that the log lacks, this run differs from the recorded one; the answer is "skip", counted as failed.
    """

    def __init__(self, path: str) -> None:
        self.name = f"recorded:{path}"
        try:
            log = pl.read_parquet(io.BytesIO(read_file("recorded", path)))
            self._columns = [*DECISION, *(name for name in LATER if name in log.columns)]
            self._log = log.select("rank", "asked_minibatch", *FACTS, *self._columns)
        except pl.exceptions.PolarsError as error:
            line = str(error).splitlines()[0]
            raise InputError(f"{path} is no log of decisions ({line}); give the decisions.parquet of a run") from None

    def reset(self, run: RunFacts, seed: int) -> None:
        """Raises `InputError` where the log is not of this trainer in such a run."""
        log = self._log.filter(pl.col("rank") == run.rank)
        if log.is_empty():
            raise InputError(f"{self.name}: the log has no decision of trainer {run.rank}")
        for fact in FACTS:
            if log[fact][0] != getattr(run, fact):
                recorded, expected = log[fact][0], getattr(run, fact)
                raise InputError(f"{self.name}: recorded with {fact} {recorded}, but this run has {expected}")
        try:
            self._decisions = {
                row["asked_minibatch"]: Decision(**{name: row[name] for name in self._columns})
                for row in log.to_dicts()
            }
        except (TypeError, ValueError) as error:
            raise InputError(f"{self.name}: {error}") from None

    def decide(self, observation: Observation) -> Decision:
        """Look it up."""
        unknown = Decision(replace=False, outcome="failed", reason="this question was not asked in the recorded run")
        return self._decisions.get(observation.minibatch, unknown)
