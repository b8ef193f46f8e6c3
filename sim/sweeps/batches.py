"""The work of one worker: batches of runs over traces in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from sim.config import RunConfig
from sim.runs.twin import Twin

Batch = Sequence[RunConfig]
"""Runs for one worker, one after another."""

Twins = Mapping[str, Twin]
"""Traces in memory, by checksum."""

SAMPLING = ("parts", "trainers", "batch", "fanout")
"""Columns of runs over sampled traces: machines, trainers a machine, seeds a minibatch, and neighbours a layer."""

BATCH_RUNS = 16
"""Most runs of a batch; small batches keep all workers busy to the end."""


def batches(configs: Sequence[RunConfig]) -> list[Batch]:
    """Cut a plan into batches. Runs that share their cache's counts stay together."""
    found: list[Batch] = []
    for _, group in groupby(configs, key=_shared):
        runs = list(group)
        found.extend(runs[start : start + BATCH_RUNS] for start in range(0, len(runs), BATCH_RUNS))
    return found


def _shared(config: RunConfig) -> tuple[object, ...]:
    cached = (config.trace_sha256, config.universe, config.buffer, config.cache, config.init, config.seed)
    return (*cached, config.agent, config.window)


def run_batch(batch: Batch, twins: Twins) -> Iterator[dict[str, Any]]:
    """The row of every run; a failed run has its error and no results."""
    for config in batch:
        row = {"run": config.id} | config.model_dump()
        try:
            twin = twins[config.trace_sha256]
            found = twin.simulate(config, ahead=True).row
            row |= about(twin, found) | found | {"error": None}
        except Exception as error:  # whatever goes wrong in one run must not end the others
            row |= {"error": f"{type(error).__name__}: {error}"}
        yield row


def about(twin: Twin, found: dict[str, Any]) -> dict[str, Any]:
    """What a row says of its trace: what must be known of it, and of one that was sampled offline what was asked for
    (`SAMPLING`), how far its times lie beyond what was captured, and what `found`, its result, fetched in an epoch."""
    header = twin.header
    if not header.sampled:
        return {"notice": header.notice}
    asked = {
        "parts": header.partition.parts,
        "trainers": header.cluster.trainers_per_host,
        "batch": header.training.batch_size,
        "fanout": ",".join(map(str, header.training.fanout)),
    }
    fetched = found["fetched_rows"] * header.fetched_row_bytes / header.epochs
    said = {"notice": f"{header.notice}; {twin.predicted}", "extrapolated": twin.extrapolated}
    return said | asked | {"epoch_fetched_bytes": fetched}
