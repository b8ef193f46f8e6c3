"""The prompts: facts of the run once, then each window's measurements in words and numbers.

Small models act on "hit rate is LOW (12 %)" where they don't on "0.12", so every figure that matters carries a verdict.
The rules follow the public prompt of Rudder (arXiv 2602.23556) in content; words and layout are this project's.
"""

from __future__ import annotations

from agents.policy import Observation, PastDecision, RunFacts, WindowCounts

HISTORY = 5
"""Number of past decisions in a prompt, as in Rudder."""

_RULES = """\
You steer a buffer of remote node features on one trainer of a distributed GNN training run.
A hit costs nothing; a missed row is fetched over the network, and so is every row that a replacement brings in.
Actions after each window of minibatches:
- skip: keep the buffer.
- replace: swap share_percent of the stale rows for candidates ranked by misses (missed most often), recent (missed
  last) or degree (most connected).
Replace when the hit rate is ZERO and there are candidates.
Skip when there are no candidates, when the last replacements did not help, or when less than 5 % of the run is left.
Answer in JSON: short reason, action, share_percent, ranking, expected_impact."""


def system_prompt(run: RunFacts) -> str:
    """The part that stays the same over a run: task, actions, rules, and static facts."""
    where = "remote nodes one hop away (the halo)" if run.universe == "halo" else "all remote nodes"
    return (
        f"{_RULES}\n"
        f"Run: graph {run.graph}, {run.nodes:,} nodes, {run.edges:,} edges, {run.partitions} partitions, "
        f"{run.trainers} trainers, fanout {','.join(map(str, run.fanout))}, batch size {run.batch_size:,}, "
        f"{run.epochs} epochs.\n"
        f"This trainer: {run.local_nodes:,} local nodes, {run.halo_nodes:,} halo nodes; buffer ({run.cache}) for "
        f"{run.capacity_rows:,} rows of {run.feature_bytes:,} bytes, of {where}."
    )


def question(observation: Observation) -> str:
    """The part that is new with each window. A pure function of the observation."""
    run, window = observation.run, observation.window
    cacheable_rows, hit_rate = _hits(observation, window)
    stalled = _ratio(window.stall_s, window.step_s)
    lines = [
        f"Epoch {observation.epoch + 1} of {run.epochs}, minibatch {observation.minibatch + 1} of {run.minibatches}: "
        f"{_percent(_ratio(observation.minibatches_left, run.minibatches))} of the run is left.",
        f"In the last {window.minibatches} minibatches:",
        f"- Hit rate is {_level(hit_rate, 0.3, 0.6)} ({_percent(hit_rate)} of {cacheable_rows:,} cacheable rows; "
        f"{_percent(window.hit_rate_remote)} of {window.remote_rows:,} remote rows).",
        f"- {window.fetched_rows:,} rows ({_mib(observation.fetched_bytes)}) crossed the network, "
        f"{window.replacement_rows:,} of them replacements.",
        f"- Waiting for features is {_level(stalled, 0.05, 0.25)} ({_percent(stalled)} of the step time).",
        f"The buffer holds {observation.occupied_rows:,} of {run.capacity_rows:,} rows. "
        f"Stale rows: {_count(observation.stale_rows)}. Candidates: {_count(observation.candidate_rows)}.",
    ]
    if observation.history:
        lines.append("Your last decisions, oldest first:")
        lines += [_effect(observation, past) for past in observation.history[-HISTORY:]]
    lines.append("Replace or skip?")
    return "\n".join(lines)


def _effect(observation: Observation, past: PastDecision) -> str:
    """One past decision, and what was measured after it."""
    decision = past.decision
    if decision.outcome != "valid":
        action = "no usable answer came, nothing was replaced"
    elif decision.replace:
        action = f"you replaced {_percent(decision.share)} of the stale rows by {decision.ranking}"
    else:
        action = "you skipped"
    head = f"- After minibatch {past.minibatch + 1} {action}"
    if past.after is None:
        return f"{head}. The effect is not known yet."
    before, after = _hits(observation, past.before)[1], _hits(observation, past.after)[1]
    points = 100 * (after - before)
    verdict = "It HELPED" if points >= 1 else "It HURT" if points <= -1 else "It made NO DIFFERENCE"
    fetched = [_mib(counts.fetched_rows * observation.run.feature_bytes) for counts in (past.before, past.after)]
    return (
        f"{head}: hit rate {_percent(before)} -> {_percent(after)} ({points:+.0f} points), "
        f"fetched {fetched[0]} -> {fetched[1]} a window. {verdict}."
    )


def _hits(observation: Observation, counts: WindowCounts) -> tuple[int, float]:
    """Cacheable rows of a window, and the share of them that were hits."""
    if observation.run.universe == "halo":
        return counts.halo_rows, counts.hit_rate_halo
    return counts.remote_rows, counts.hit_rate_remote


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def _level(share: float, low: float, high: float) -> str:
    if share == 0:
        return "ZERO"
    return "LOW" if share < low else "MODERATE" if share < high else "HIGH"


def _count(rows: int) -> str:
    return f"{rows:,}" if rows else "NONE"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / 2**20:,.1f} MiB"
