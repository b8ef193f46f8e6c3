"""The contract between a prefetching policy and what runs it: the simulator or a live cluster.

A policy sees an `Observation` after every window of minibatches and answers with a `Decision`. The same object
decides in both worlds. It knows no clock: its caller says how long things took, and applies a decision only when
the time that deciding took (`Decision.latency_s`) has passed: simulated time in `sim/`, wall time in `replay/`.

Rows are rows of node features. "Remote" means owned by another machine's partition; "halo" means remote and one hop
from a node of this partition. `agents.check.check_policy` tells whether a class of yours keeps this contract.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

Ranking = Literal["misses", "recent", "degree"]
"""How candidates for insertion are ranked: by cumulative misses, by their latest miss, by degree in the graph."""

Outcome = Literal["valid", "truncated", "thinking", "refused", "invalid", "late", "failed"]
"""What became of a question. Only "valid" is an answer; after all others a fallback decides.

valid       an answer that says what to do
truncated   an answer that was cut off by the limit of its tokens
thinking    thoughts, and no answer after them
refused     the model or its server declined to answer
invalid     words that are no answer
late        nothing in time
failed      an error instead: no server, or one that does not speak its API
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """What is known of a run before it starts, from the point of view of one trainer.

    `minibatches` counts the whole run; `feature_bytes` is the size of one node's row; `window` is the number of
    minibatches between two observations. `row_s` is what fetching a row takes by the cost model when the trainer has
    its links to itself; 0 where no cost model is known.
    """

    graph: str
    synthetic: bool
    nodes: int
    edges: int
    feature_bytes: int
    partitions: int
    trainers: int
    rank: int
    local_nodes: int
    halo_nodes: int
    batch_size: int
    fanout: tuple[int, ...]
    epochs: int
    minibatches: int
    cache: str
    universe: Literal["halo", "remote"]
    capacity_rows: int
    window: int
    row_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Replace or skip.

    `share` in (0, 1] is the part of the stale rows to replace, `ranking` says by which candidates. `reason` and
    `expected_impact` are a model's words and `answer` the whole text that they are from, kept for the log. `outcome`,
    `latency_s` and `answered_by` (model, server, and the way in which it was asked) say how the answer came about;
    heuristics leave them alone.
    """

    replace: bool
    share: float = 1.0
    ranking: Ranking = "misses"
    reason: str = ""
    expected_impact: str = ""
    answer: str = ""
    outcome: Outcome = "valid"
    latency_s: float = 0.0
    answered_by: str = ""

    def __post_init__(self) -> None:
        if not 0.0 < self.share <= 1.0:
            raise ValueError(f"Decision.share is {self.share!r}; it must be in (0, 1]")
        if not 0.0 <= self.latency_s < float("inf"):
            raise ValueError(f"Decision.latency_s is {self.latency_s!r}; it must be finite and at least 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowCounts:
    """What a trainer counted over a window of minibatches. Rows and bytes are sums over the window.

    `remote_rows` is what the minibatches asked for, `halo_rows` the part of it inside the halo, `hit_rows` what the
    buffer had, `replacement_rows` what was fetched into the buffer beside the misses. `stall_s` is the time that the
    trainer waited for features and samples, `step_s` the length of all steps.
    """

    minibatches: int
    remote_rows: int
    halo_rows: int
    hit_rows: int
    replacement_rows: int
    stall_s: float
    step_s: float

    @property
    def hit_rate_remote(self) -> float:
        """Hits over all remote rows; 0 where nothing was asked for."""
        return self.hit_rows / self.remote_rows if self.remote_rows else 0.0

    @property
    def hit_rate_halo(self) -> float:
        """Hits over remote rows inside the halo (the %-Hits of Rudder, with a `halo` universe)."""
        return self.hit_rows / self.halo_rows if self.halo_rows else 0.0

    @property
    def fetched_rows(self) -> int:
        """Rows that crossed the network: misses and replacements."""
        return self.remote_rows - self.hit_rows + self.replacement_rows


@dataclass(frozen=True, slots=True, kw_only=True)
class PastDecision:
    """A decision that was applied at `minibatch`, the window before it and the first whole window after it.

    `after` is None as long as that window has not filled.
    """

    minibatch: int
    decision: Decision
    before: WindowCounts
    after: WindowCounts | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What one trainer knows after a window of minibatches.

    `minibatch` is the run-wide index, from 0, of the last minibatch of the window. `occupied_rows` slots of the
    buffer hold a row, `stale_rows` of them could go, `candidate_rows` nodes could come in.
    """

    run: RunFacts
    epoch: int
    minibatch: int
    window: WindowCounts
    occupied_rows: int
    stale_rows: int
    candidate_rows: int
    history: tuple[PastDecision, ...] = field(default=())

    @property
    def hit_rate(self) -> float:
        """The window's hits over the rows that the buffer may hold: `hit_rate_halo` (Rudder's %-Hits) where only the
        halo is cacheable, `hit_rate_remote` where every remote node is."""
        return self.window.hit_rate_halo if self.run.universe == "halo" else self.window.hit_rate_remote

    @property
    def minibatches_left(self) -> int:
        """Minibatches of the run that are still to come."""
        return self.run.minibatches - 1 - self.minibatch

    @property
    def fetched_bytes(self) -> int:
        """Bytes of features that the window moved over the network."""
        return self.window.fetched_rows * self.run.feature_bytes


@runtime_checkable
class Policy(Protocol):
    """Decides for one trainer whether its buffer replaces rows.

    `name` is the spec string that makes the policy again (`every:16`). `reset` starts a run; all randomness of the
    policy comes from `seed`. `decide` must neither keep nor change what it is given, and must be a pure function of
    (run, seed, the observations so far), except for a model's latency.
    """

    name: str

    def reset(self, run: RunFacts, seed: int) -> None:
        """Start a run. Raises `traces.errors.InputError` where the policy's options don't fit the run."""

    def decide(self, observation: Observation) -> Decision:
        """Answer for the minibatches to come. Never raises for a valid observation."""
