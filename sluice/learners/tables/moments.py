"""Count, mean, spread and quantiles of numbers that come in parts."""

from __future__ import annotations

from typing import Any

import numpy as np

#: Quantiles of a number that are kept, and values they are taken from.
_EDGES, _SAMPLE = 12, 16_384


class Moments:
    """Count, mean, variance, ends and quantiles in one pass over chunks (Chan, Golub, LeVeque 1983), NaN left out; quantiles of an even choice of values."""

    def __init__(self) -> None:
        self.rows = self.missing = 0
        self.mean = self.squares = 0.0
        self.low, self.high = float("inf"), float("-inf")
        self.sample, self.every = np.zeros(0, dtype=np.float64), 1

    def add(self, values: np.ndarray) -> None:
        """Take in more values, [rows] of any float type."""
        x = np.asarray(values, dtype=np.float64)
        seen = x[~np.isnan(x)]
        self.missing += len(x) - len(seen)
        if not len(seen):
            return
        self.low, self.high = min(self.low, float(seen.min())), max(self.high, float(seen.max()))
        self.sample = np.concatenate([self.sample, seen[-self.rows % self.every :: self.every]])
        while len(self.sample) > _SAMPLE:
            self.sample, self.every = self.sample[::2], 2 * self.every
        mean = float(seen.mean())
        squares = float(((seen - mean) ** 2).sum())
        total = self.rows + len(seen)
        self.squares += squares + (mean - self.mean) ** 2 * self.rows * len(seen) / total
        self.mean += (mean - self.mean) * len(seen) / total
        self.rows = total

    def summary(self) -> dict[str, Any]:
        """mean, std, missing, low, high and edges: its distinct values if they are few, else its quantiles."""
        std = (self.squares / self.rows) ** 0.5 if self.rows else 0.0
        distinct = np.unique(self.sample)
        edges = distinct if len(distinct) <= _EDGES + 1 else np.unique(np.quantile(self.sample, np.linspace(0, 1, _EDGES + 1)))
        ends = (self.low, self.high) if self.rows else (0.0, 0.0)
        return {
            "mean": self.mean,
            "std": std if std > 1e-12 * max(abs(self.mean), 1e-300) else 1.0,
            "missing": self.missing,
            "low": ends[0],
            "high": ends[1],
            "edges": [float(e) for e in edges],
        }
