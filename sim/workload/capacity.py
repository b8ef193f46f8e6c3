"""Parsing of sizes (a share of the halo, rows, or bytes), and the memory of sampled blocks."""

from __future__ import annotations

import math
import re

from sim.workload.stream import Universe
from traces.errors import InputError

UNITS = {"kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}

EDGE_BYTES, NODE_BYTES = 40, 8
"""Of a sampled block in memory, int64 each: the id of an edge, its ends, and its source and number once more where DGL
also keeps edges by target; the id of a node, and as much for where a target's edges begin."""

INPUT_BYTES = 12
"""What a buffer keeps of an input node until it is fetched: its dense id, int32, and its place, int64."""


def capacity_rows(text: str, universe: Universe, feature_bytes: int) -> int:
    """Rows that one trainer's buffer holds, from `25%` (of its partition's halo), `5000` (rows), `64MB` or `64MiB`.

    A share refers to the halo in both universes, so that the same share is the same memory. Raises `InputError` for
    anything that is not a size, for one of no row, and for one of more rows than there are cacheable nodes.
    """
    number, unit = _number_and_unit(text)
    if not math.isfinite(number):
        raise InputError(f"--buffer {text!r} is not a size; write a share (25%), rows (5000) or bytes (64MB)")
    if unit == "%":
        rows = math.floor(number / 100 * universe.halo_rows + 1e-9)
    elif unit:
        rows = math.floor(number * UNITS[unit] / feature_bytes)
    elif number == int(number):
        rows = int(number)
    else:
        raise InputError(f"--buffer {text!r}: rows are whole; did you mean {number * 100:g}%?")
    if rows < 1:
        raise InputError(f"--buffer {text!r} holds {max(rows, 0)} rows; for no buffer at all use --agent pipeline")
    if rows > universe.rows:
        raise InputError(
            f"--buffer {text!r} is {rows} rows, but only {universe.rows} nodes are cacheable ({universe.kind} universe)"
        )
    return rows


def parse_bytes(text: str, option: str) -> int:
    """Bytes, from `64MB` or `64MiB`. Raises `InputError`, in the name of `option`, for anything else."""
    number, unit = _number_and_unit(text)
    if not math.isfinite(number) or unit not in UNITS or number < 0:
        raise InputError(f"{option}={text!r} is no number of bytes; write for example 64MB")
    return math.floor(number * UNITS[unit])


def _number_and_unit(text: str) -> tuple[float, str]:
    """The number in front, NaN where there is none, and the unit in lower case."""
    match = re.fullmatch(r"\s*([-+.\w]+?)\s*(%|[kmg]i?b)?\s*", text, re.IGNORECASE)
    try:
        return (float(match[1]), (match[2] or "").lower()) if match else (math.nan, "")
    except ValueError:
        return math.nan, ""


def largest_block_bytes(batch_size: int, fanout: tuple[int, ...]) -> int | None:
    """The largest memory of one minibatch until it is fetched, in bytes: its sampled blocks, and the ids of its input
    nodes. None for a fanout of all neighbours.

    `fanout` is in DGL's order: the last entry is the hop of the seeds.
    """
    if min(fanout) < 0:
        return None
    targets, size = batch_size, 0
    for neighbours in reversed(fanout):
        edges = targets * neighbours
        size += EDGE_BYTES * edges + NODE_BYTES * (3 * targets + edges + 1)  # a block's targets are among its sources
        targets += edges
    return size + INPUT_BYTES * targets
