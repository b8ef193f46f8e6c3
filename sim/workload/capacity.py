"""Buffer sizes as people write them: a share of the halo, a number of rows, or bytes."""

from __future__ import annotations

import math
import re

from sim.workload.stream import Universe
from traces.errors import InputError

UNITS = {"kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}


def capacity_rows(text: str, universe: Universe, feature_bytes: int) -> int:
    """Rows that one trainer's buffer holds, from `25%` (of its partition's halo), `5000` (rows), `64MB` or `64MiB`.

    A share refers to the halo in both universes, so that the same share is the same memory. Raises `InputError` for
    anything that is not a size, for one of no row, and for one of more rows than there are cacheable nodes.
    """
    match = re.fullmatch(r"\s*([-+.\w]+?)\s*(%|[kmg]i?b)?\s*", text, re.IGNORECASE)
    try:
        number = float(match[1]) if match else math.nan
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or match is None:
        raise InputError(f"--buffer {text!r} is not a size; write a share (25%), rows (5000) or bytes (64MB)")
    unit = (match[2] or "").lower()
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
