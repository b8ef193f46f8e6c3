"""Parsing of link rates, as in `tc`."""

from __future__ import annotations

import re

from traces.errors import InputError

BITS_PER_S = {"bit": 1, "kbit": 10**3, "mbit": 10**6, "gbit": 10**9, "tbit": 10**12}
RATE = re.compile(r"(\d+(?:\.\d+)?) ?([kmgt]?bit)(?:/s)?", re.ASCII)


def parse_link(rate: str) -> float:
    """A link rate in bytes a second: "200mbit" is 25_000_000.0.

    A rate is a number and bit, kbit, mbit, gbit or tbit (powers of 1000, as in `tc`), in capitals or not. Units of
    bytes are refused, because "bps" means bits to some and bytes to `tc`. Raises `InputError` for anything else
    and for less than one byte a second.
    """
    match = RATE.fullmatch(rate.strip().lower())
    if match is None:
        raise InputError(f'link rate {rate!r}: write a number and bit, kbit, mbit, gbit or tbit, such as "200mbit"')
    bytes_per_s = float(match[1]) * BITS_PER_S[match[2]] / 8
    if bytes_per_s < 1:
        raise InputError(f"link rate {rate!r}: must be at least 8bit; leave it out for an unshaped link")
    return bytes_per_s
