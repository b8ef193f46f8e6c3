"""Words as features: the hashing trick, the same on every machine and in every run."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

FEATURE_WIDTH = 128


def hashed_words(texts: Sequence[Iterable[str]], width: int = FEATURE_WIDTH) -> NDArray[np.float32]:
    """The words of each text, added up in `width` columns: float32 (len(texts), width), rows of length 1.

    A word's column and sign are bits of its CRC-32, so words that collide cancel on average instead of adding
    up (Weinberger et al., "Feature hashing for large scale multitask learning", 2009). A text without words,
    or whose words cancel, is a row of zeros.
    """
    features = np.zeros((len(texts), width), dtype=np.float32)
    for row, words in enumerate(texts):
        for word in words:
            code = zlib.crc32(word.encode())
            features[row, code % width] += 1.0 if code >> 31 else -1.0
    length = np.sqrt((features**2).sum(axis=1, keepdims=True))
    features /= np.where(length > 0, length, 1)
    return features
