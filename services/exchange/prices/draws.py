"""Seeded randomness: every number is a pure function of its key, so order of use never matters.

Paths draw from a numpy generator keyed by (seed, symbol, date). Per-contract and per-minute draws
(open interest, sizes, liquidity) come from a counter-based hash instead: a contract keeps its
numbers whatever else is listed beside it.
"""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import ArrayLike, NDArray

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_A = np.uint64(0xBF58476D1CE4E5B9)
_MIX_B = np.uint64(0x94D049BB133111EB)
_TWO_53 = float(1 << 53)
_MASK_64 = (1 << 64) - 1


def key_of(*parts: int | str) -> int:
    """A 64-bit key of its parts, the same in every process (unlike `hash`)."""
    text = "|".join(map(str, parts)).encode()
    return zlib.crc32(text) << 32 | zlib.adler32(text)


def generator(*parts: int | str) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(key_of(*parts)))


def uniform(key: int, counters: ArrayLike) -> NDArray[np.float64]:
    """One number in [0, 1) per counter, by SplitMix64 (Steele, Lea, Flood, OOPSLA 2014)."""
    with np.errstate(over="ignore"):
        z = np.asarray(counters, dtype=np.uint64) * _GOLDEN + np.uint64(key & _MASK_64)
        z = (z ^ (z >> np.uint64(30))) * _MIX_A
        z = (z ^ (z >> np.uint64(27))) * _MIX_B
        z = z ^ (z >> np.uint64(31))
    return np.asarray((z >> np.uint64(11)).astype(np.float64) / _TWO_53)
