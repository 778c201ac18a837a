"""Seeds made of numbers, and permutations made of seeds: chance that is the same on every machine."""

from __future__ import annotations

import numpy as np

_ROUNDS = 6


def mix(x: np.ndarray) -> np.ndarray:
    """The finaliser of splitmix64 (Steele, Lea, Flood 2014): uint64 in, well-mixed uint64 out."""
    with np.errstate(over="ignore"):
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(x ^ (x >> np.uint64(31)), dtype=np.uint64)


def seed_of(*parts: int) -> int:
    """One 63-bit seed from several numbers, e.g. seed, step and rank."""
    state = np.array([0x9E3779B97F4A7C15], dtype=np.uint64)
    for part in parts:
        state = mix(state ^ np.uint64(part & 0xFFFFFFFFFFFFFFFF)) + np.uint64(0x9E3779B97F4A7C15)
    return int(mix(state)[0] >> np.uint64(1))


def permuted(positions: np.ndarray, rows: int, key: int) -> np.ndarray:
    """Where each position goes in a keyed permutation of ``range(rows)``, without holding the permutation.

    A Feistel network over the next even number of bits; values outside the range walk on until
    they fall inside (Black, Rogaway 2002).

    Args:
        positions: int64, each in 0..rows-1.
        rows: size of the permutation.
        key: which permutation.
    """
    half = np.uint64(max(1, ((rows - 1).bit_length() + 1) // 2))
    low = np.uint64((1 << int(half)) - 1)
    keys = [np.uint64(seed_of(key, r)) for r in range(_ROUNDS)]
    x = positions.astype(np.uint64)
    walking = np.arange(len(x))
    while len(walking):
        left, right = x[walking] >> half, x[walking] & low
        for k in keys:
            left, right = right, left ^ (mix(right ^ k) & low)
        x[walking] = (left << half) | right
        walking = walking[x[walking] >= np.uint64(rows)]
    return x.astype(np.int64)
