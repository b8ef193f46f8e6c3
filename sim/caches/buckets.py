"""Rows in buckets by the time of their next use, and the furthest bucket that holds one in a few steps.

Which buckets hold a row is a tree of bits: bit b of level 0 stands for bucket b, bit b of level k + 1 for word b of
level k. `tree` holds all levels behind each other, `levels[k]` where level k begins (and where the last one ends).
`first[b]` is a row of bucket b or -1, `link[row]` the next row of its bucket or -1.
"""

from __future__ import annotations

import numpy as np
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from sim.compiled import COMPILES, kernel, part


def empty_tree(buckets: int) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """The `tree` and `levels` of so many empty buckets."""
    sizes = [-(-buckets // 64)]
    while sizes[-1] > 1:
        sizes.append(-(-sizes[-1] // 64))
    levels = np.concatenate(([0], np.cumsum(sizes)))
    return np.zeros(levels[-1], np.uint64), levels


@intrinsic
def _top_bit(typing, word):  # type: ignore[no-untyped-def]
    """Position of the highest bit of a word that is not 0: one machine instruction."""

    def build(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        zeros = builder.ctlz(arguments[0], context.get_constant(types.boolean, True))
        return builder.sub(context.get_constant(types.int64, 63), zeros)

    return types.int64(types.uint64), build


def _top_bit_in_python(word: int) -> int:
    return int(word).bit_length() - 1


top_bit = _top_bit if COMPILES else _top_bit_in_python


@part
def push(row, bucket, first, link, tree, levels):  # type: ignore[no-untyped-def]
    """Put a row into a bucket."""
    push_if(True, row, bucket, first, link, tree, levels)


@part
def push_if(put, row, bucket, first, link, tree, levels):  # type: ignore[no-untyped-def]
    """Put a row that is in no bucket into one, or don't: without a branch, as the choice can't be predicted."""
    head = first[bucket]
    link[row] = head
    first[bucket] = row if put else head
    if put & (head < 0):
        place = bucket
        for level in range(len(levels) - 1):
            word = levels[level] + (place >> 6)
            before = tree[word]
            tree[word] = before | (np.uint64(1) << np.uint64(place & 63))
            if before != 0:
                break
            place >>= 6


@kernel
def clear(bucket, first, tree, levels):  # type: ignore[no-untyped-def]
    """Take all rows out of a bucket that holds some."""
    first[bucket] = -1
    place = bucket
    for level in range(len(levels) - 1):
        word = levels[level] + (place >> 6)
        tree[word] &= ~(np.uint64(1) << np.uint64(place & 63))
        if tree[word] != 0:
            break
        place >>= 6


@kernel
def pop(bucket, first, link, tree, levels):  # type: ignore[no-untyped-def]
    """Take the row that was put last out of a bucket that holds some. Returns it."""
    row = first[bucket]
    if link[row] < 0:
        clear(bucket, first, tree, levels)
    else:
        first[bucket] = link[row]
    return row


@part
def furthest(tree, levels):  # type: ignore[no-untyped-def]
    """The highest bucket that holds a row; one of them must."""
    place = 0
    for level in range(len(levels) - 2, -1, -1):
        place = (place << 6) + top_bit(tree[levels[level] + place])
    return place
