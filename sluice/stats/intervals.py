"""Intervals for one look at finished data. For data that is looked at while it comes in, use the sequences of `bernoulli` and `means`.

References:
    Wilson: Probable inference, the law of succession, and statistical inference (JASA 22, 1927).
    Newcombe: Interval estimation for the difference between independent proportions (Statistics in Medicine 17, 1998), method 10.
    Efron: Better bootstrap confidence intervals (JASA 82, 1987); here the plain percentile interval.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sluice.stats.special import Floats


def wilson(n: ArrayLike, k: ArrayLike, alpha: float = 0.05) -> tuple[Any, Any]:
    """Wilson's interval for a rate of k in n, elementwise; (0, 1) where n = 0."""
    n, k = np.broadcast_arrays(np.asarray(n, dtype=np.float64), np.asarray(k, dtype=np.float64))
    z = NormalDist().inv_cdf(1 - alpha / 2)
    safe = np.where(n > 0, n, 1.0)
    p, z2 = k / safe, z * z / safe
    centre = (p + z2 / 2) / (1 + z2)
    half = z / (1 + z2) * np.sqrt(p * (1 - p) / safe + z2 / (4 * safe))
    low, high = np.where(n > 0, np.maximum(centre - half, 0), 0.0), np.where(n > 0, np.minimum(centre + half, 1), 1.0)
    # Exact at the ends, where rounding would leave a hair.
    return np.where(k == 0, 0.0, low)[()], np.where((k == n), 1.0, high)[()]


def newcombe(n_a: ArrayLike, k_a: ArrayLike, n_b: ArrayLike, k_b: ArrayLike, alpha: float = 0.05) -> tuple[Any, Any]:
    """Newcombe's hybrid-score interval for the difference of two rates, b - a, elementwise."""
    low_a, high_a = wilson(n_a, k_a, alpha)
    low_b, high_b = wilson(n_b, k_b, alpha)
    a = np.asarray(k_a) / np.maximum(np.asarray(n_a), 1)
    b = np.asarray(k_b) / np.maximum(np.asarray(n_b), 1)
    d = b - a
    return d - np.sqrt((b - low_b) ** 2 + (high_a - a) ** 2), d + np.sqrt((high_b - b) ** 2 + (a - low_a) ** 2)


def bootstrap(
    rows: int, statistic: Callable[[Any], float], *, draws: int = 1000, alpha: float = 0.05, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval.

    Args:
        rows: how many rows there are.
        statistic: takes an index array of shape [rows] (drawn with replacement), returns a number.
        draws: resamples. alpha: the interval leaves out alpha/2 on each side. seed: of the draws.

    Returns:
        ``(low, high)``; NaN results of the statistic are left out.
    """
    generator = np.random.default_rng(seed)
    found: Floats = np.array([statistic(generator.integers(0, rows, rows)) for _ in range(draws)], dtype=np.float64)
    found = found[np.isfinite(found)]
    if found.size == 0:
        return float("nan"), float("nan")
    return float(np.quantile(found, alpha / 2)), float(np.quantile(found, 1 - alpha / 2))
