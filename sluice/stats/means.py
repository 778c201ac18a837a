"""Confidence sequences for means: bounded values exactly, any values asymptotically.

References:
    Waudby-Smith, Ramdas: Estimating means of bounded random variables by betting (JRSS B 86,
        2023), theorem 2: the predictable plug-in empirical-Bernstein sequence.
    Waudby-Smith, Arbour, Sinha, Kennedy, Ramdas: Time-uniform central limit theory and
        asymptotic confidence sequences (Annals of Statistics 52, 2024), equation (2) and
        section 2.4 for rho, section 4 for randomised experiments.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sluice.stats.special import Floats
from sluice.stats.student import student


def bounded_interval(values: ArrayLike, alpha: float = 0.05) -> tuple[Floats, Floats]:
    """Empirical-Bernstein confidence sequence for the mean of values in [0, 1], one interval per prefix.

    Valid without any other assumption than that the conditional mean stays the same.

    Args:
        values: shape [n], in [0, 1].
        alpha: the probability that any of the n intervals misses.

    Returns:
        ``(low, high)``, each of shape [n], running intersections.

    Raises:
        ValueError: a value lies outside [0, 1].
    """
    x = np.asarray(values, dtype=np.float64)
    if x.size and (x.min() < 0 or x.max() > 1 or not np.isfinite(x).all()):
        raise ValueError("bounded_interval takes values in [0, 1]")
    t = np.arange(1, x.size + 1)
    mean = (0.5 + np.cumsum(x)) / (t + 1)
    variance = (0.25 + np.cumsum((x - mean) ** 2)) / (t + 1)
    before = np.concatenate([[0.5], mean[:-1]])[: x.size]
    spread = np.concatenate([[0.25], variance[:-1]])[: x.size]
    bet = np.minimum(np.sqrt(2 * math.log(2 / alpha) / (spread * t * np.log1p(t))), 0.5)
    psi = (-np.log1p(-bet) - bet) / 4
    weight = np.cumsum(bet)
    centre = np.cumsum(bet * x) / weight
    width = (math.log(2 / alpha) + np.cumsum(4 * (x - before) ** 2 * psi)) / weight
    return np.maximum.accumulate(np.maximum(centre - width, 0.0)), np.minimum.accumulate(np.minimum(centre + width, 1.0))


def _rho(alpha: float, best_at: float) -> float:
    # The tuning of the paper's appendix: rho that makes the sequence tightest near `best_at` observations.
    u = -2 * math.log(alpha)
    return math.sqrt((u + math.log(u + 1)) / best_at)


def mean_interval(n: ArrayLike, total: ArrayLike, squares: ArrayLike, alpha: float = 0.05, best_at: float = 500) -> tuple[Any, Any]:
    """Asymptotic confidence sequence for a mean from its sums; (-inf, inf) below 2 values.

    Args:
        n, total, squares: how many values, their sum, the sum of their squares.
        alpha: the probability that it ever misses (in the limit of a late start).
        best_at: the number of values near which it is tightest.
    """
    n, total, squares = np.broadcast_arrays(*(np.asarray(v, dtype=np.float64) for v in (n, total, squares)))
    safe = np.where(n >= 2, n, 2.0)
    mean = total / safe
    variance = np.maximum(squares / safe - mean**2, 0.0)
    half = np.sqrt(variance / safe) * _boundary(safe, alpha, best_at)
    return np.where(n >= 2, mean - half, -np.inf)[()], np.where(n >= 2, mean + half, np.inf)[()]


def _boundary(n: Any, alpha: float, best_at: float) -> Any:
    """How many of its standard errors a mean of n values may ever lie off."""
    r = n * _rho(alpha, best_at) ** 2
    return np.sqrt((2 * (r + 1) / r) * np.log(np.sqrt(r + 1) / alpha))


def mean_difference_interval(
    a: tuple[float, float, float], b: tuple[float, float, float], alpha: float = 0.05, best_at: float = 1000, df: float = math.inf
) -> tuple[float, float]:
    """Asymptotic confidence sequence for ``mean(b) - mean(a)`` from each arm's (n, sum, sum of squares).

    For units assigned at random with a constant split (the paper's section 4): the difference of
    means is the mean of n = n_a + n_b influence values with variance ``n (s_a^2/n_a + s_b^2/n_b)``, or that of both arms' values
    together where it is larger: an arm that has had none of the rare values yet (a small one, of 1 % buyers) has no variance of its own.

    Args:
        a, b: per arm; (-inf, inf) while either has fewer than 2 values, or all values are the same.
        alpha: the probability that it ever misses (in the limit of a late start).
        best_at: the number of units in both arms near which it is tightest.
        df: degrees of freedom of the variance, where few groups of units give it.
    """
    (n_a, sum_a, squares_a), (n_b, sum_b, squares_b) = a, b
    if min(n_a, n_b) < 2:
        return -math.inf, math.inf
    mean_a, mean_b = sum_a / n_a, sum_b / n_b
    variance_a, variance_b = max(squares_a / n_a - mean_a**2, 0.0), max(squares_b / n_b - mean_b**2, 0.0)
    n = n_a + n_b
    together = max((squares_a + squares_b) / n - ((sum_a + sum_b) / n) ** 2, 0.0)
    variance = max(variance_a / n_a + variance_b / n_b, together * (1 / n_a + 1 / n_b))
    if variance <= 0:
        return -math.inf, math.inf
    half = math.sqrt(variance) * student(float(_boundary(n, alpha, best_at)), df)
    return mean_b - mean_a - half, mean_b - mean_a + half
