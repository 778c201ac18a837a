"""Confidence intervals: closed forms where there are good ones, a vectorised BCa bootstrap for what is counted elsewhere.

All functions are deterministic: resampling is seeded.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from statistics import NormalDist

import numpy as np

from sluice.stats.student import student, t_quantile

SEED = 17
_CHUNK = 1 << 20  # random numbers drawn at a time
_CELLS = 1024  # left out at a time
_NORMAL = NormalDist()

Interval = tuple[float, float]
#: Resampled values of a statistic, its leave-one-out values, and how many rows each of those stands for.
Resampled = tuple[np.ndarray, np.ndarray, np.ndarray]


def wilson(successes: float, rows: float, confidence: float) -> Interval:
    """Wilson's score interval of a proportion (JASA 22, 1927). Never empty at 0 or at all."""
    z = _NORMAL.inv_cdf(0.5 + confidence / 2)
    p, n = successes / rows, rows
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return (0.0 if successes == 0 else max(0.0, middle - half)), (1.0 if successes == rows else min(1.0, middle + half))


def mean_of_proportions(successes: np.ndarray, rows: np.ndarray, confidence: float) -> Interval:
    """The unweighted mean of independent proportions: Wilson's limits combined by MOVER (Zou and Donner, Stat. Med. 27, 2008)."""
    limits = np.array([wilson(s, n, confidence) for s, n in zip(successes, rows, strict=True)])
    p = successes / rows
    low = p.mean() - math.sqrt(float(((p - limits[:, 0]) ** 2).sum())) / len(p)
    high = p.mean() + math.sqrt(float(((limits[:, 1] - p) ** 2).sum())) / len(p)
    return max(0.0, float(low)), min(1.0, float(high))


def newcombe_paired(both: float, first: float, second: float, neither: float, confidence: float) -> Interval:
    """The difference of two proportions on the same rows: Newcombe's method 10 (Stat. Med. 17, 1998, 2635-2650).

    Args:
        both, first, second, neither: rows on which both, only the first, only the second, or neither succeeded.
    """
    n = both + first + second + neither
    p1, p2 = (both + first) / n, (both + second) / n
    (l1, u1), (l2, u2) = wilson(both + first, n, confidence), wilson(both + second, n, confidence)
    product = float(both + first) * (second + neither) * (both + second) * (first + neither)
    cross = float(both) * neither - float(first) * second
    if cross > 0:
        cross = max(cross - n / 2, 0.0)
    phi = cross / math.sqrt(product) if product > 0 else 0.0
    a, b, c, d = p1 - l1, u2 - p2, p2 - l2, u1 - p1
    low = p1 - p2 - math.sqrt(max(a * a - 2 * phi * a * b + b * b, 0.0))
    high = p1 - p2 + math.sqrt(max(c * c - 2 * phi * c * d + d * d, 0.0))
    return max(-1.0, low), min(1.0, high)


def mcnemar_exact(first: int, second: int) -> float:
    """Two-sided p-value that discordant rows fall either way alike: the exact binomial test at 1/2; 1 where there are none."""
    n, k = first + second, min(first, second)
    if n == 0:
        return 1.0
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])
    tail = log_factorial[n] - log_factorial[: k + 1] - log_factorial[n - k :][::-1] - n * math.log(2)
    return min(1.0, 2.0 * float(np.exp(tail).sum()))


def bca(value: float, resampled: Resampled, confidence: float) -> Interval | None:
    """Bias-corrected and accelerated percentiles (Efron, JASA 82, 1987; Efron and Tibshirani 1993, ch. 14).

    Args:
        value: on all rows.
        resampled: of resamples, and without each row or cell in turn.
        confidence: of the interval.

    Returns:
        Limits, or None where more than one resample in twenty has no value.
    """
    replicates, left_out, weights = resampled
    finite = replicates[np.isfinite(replicates)]
    if len(finite) < 0.95 * len(replicates) or not math.isfinite(value):
        return None
    tolerance = 1e-12 * max(1.0, abs(value))
    if np.ptp(finite) <= tolerance:
        return value, value
    below = (np.sum(finite < value - tolerance) + 0.5 * np.sum(np.abs(finite - value) <= tolerance)) / len(finite)
    z0 = _NORMAL.inv_cdf(min(max(float(below), 0.5 / len(finite)), 1 - 0.5 / len(finite)))
    kept = np.isfinite(left_out)
    deviation = np.average(left_out[kept], weights=weights[kept]) - left_out[kept]
    spread = float(np.sum(weights[kept] * deviation**2))
    acceleration = float(np.sum(weights[kept] * deviation**3)) / (6 * spread**1.5) if spread > 0 else 0.0
    levels = []
    for z in (_NORMAL.inv_cdf(0.5 - confidence / 2), _NORMAL.inv_cdf(0.5 + confidence / 2)):
        shrink = 1 - acceleration * (z0 + z)
        levels.append(_NORMAL.cdf(z0 + (z0 + z) / shrink) if shrink > 0 else float(z > 0))
    low, high = np.quantile(finite, levels)
    return float(low), float(high)


def leave_one_out(rows: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """A function of the rows' mean, each time without one of them.

    Args:
        rows: float64 [N, k], N at least 2.
        statistic: from means [..., k] to values [...].
    """
    return statistic((len(rows) * rows.mean(axis=0) - rows) / (len(rows) - 1))


def skewed(value: float, left_out: np.ndarray, confidence: float, df: float | None = None) -> Interval | None:
    """A smooth function of means: Student's t with the jackknife's error and bias, and its skewness removed by a cubic transformation.

    The transformation is the monotone one of Hall: On the removal of skewness by transformation (JRSS B 54, 1992, 221-228); the
    error, bias and third moment are of the leave-one-out values (Efron: The jackknife, the bootstrap and other resampling plans, 1982).
    A closed form: as good as the studentised bootstrap on skewed losses, without its draws.

    Args:
        value: on all rows.
        left_out: without each of them in turn [N].
        confidence: of the interval.
        df: degrees of freedom; None: one fewer than the rows.

    Returns:
        Limits; None where too few rows, or too many without a value, tell no error.
    """
    moments = _moments(value, left_out)
    if moments is None:
        return None
    n, centre, error, influence = moments
    if not error > 0:
        return value, value
    a = float(((influence / influence.std()) ** 3).mean()) * math.sqrt(n - 1) / (n - 2)
    t = _t(confidence, n - 1) if df is None else times(confidence, df)

    def unskewed(x: float) -> float:
        return 3 / a * (float(np.cbrt(1 + a * (x - a / 6))) - 1) if abs(a) > 1e-6 else x

    return centre - unskewed(t) * error, centre - unskewed(-t) * error


def two_sided(value: float, left_out: np.ndarray, confidence: float, df: float | None = None) -> Interval | None:
    """As `skewed`, for a statistic that rare rows move either way (a difference of two models' losses, a ratio): the wider of plain and
    unskewed t on each side, since few rows may not tell which way the skewness goes; and on both what may lie beyond the rows seen (`unseen`)."""
    moments, found = _moments(value, left_out), skewed(value, left_out, confidence, df)
    if moments is None or found is None or not moments[2] > 0:
        return found
    n, _, error, influence = moments
    t = (_t(confidence, n - 1) if df is None else times(confidence, df)) * error
    more = unseen(np.abs(influence), confidence, begins=1.5, whole=4.5)
    return min(found[0], value - t) - more, max(found[1], value + t) + more


def _moments(value: float, left_out: np.ndarray) -> tuple[int, float, float, np.ndarray] | None:
    """How many rows, the value without the jackknife's bias, its standard error (0 for none), and what each row adds."""
    kept = left_out[np.isfinite(left_out)]
    n = len(kept)
    if n < 3 or n < 0.95 * len(left_out) or not math.isfinite(value):
        return None
    influence = (n - 1) * (kept.mean() - kept)
    error = math.sqrt(float(np.square(influence).sum()) / n / (n - 1))
    return n, value - (n - 1) * (float(kept.mean()) - value), error if error > 1e-12 * max(1.0, abs(value)) else 0.0, influence


@functools.cache
def _t(confidence: float, df: int) -> float:
    """Student's t; the normal law's from 1,000 degrees of freedom on."""
    return t_quantile(confidence, df) if df < 1000 else _NORMAL.inv_cdf(0.5 + confidence / 2)


def times(confidence: float, df: float) -> float:
    """Student's t for a two-sided interval, for any degrees of freedom of at least 1."""
    return student(_NORMAL.inv_cdf(0.5 + confidence / 2), max(df, 1.0))


def largest_share(losses: np.ndarray) -> float:
    """What the largest 1 % of the rows (at least one) carry of the losses' sum; 0 where there is none."""
    total = float(losses.sum())
    k = _top(len(losses))
    return float(np.partition(losses, len(losses) - k)[len(losses) - k :].sum()) / total if total > 0 else 0.0


def unseen(losses: np.ndarray, confidence: float, begins: float = 1.2, whole: float = 2.7) -> float:
    """How much of a mean of losses without a bound may lie beyond the largest one seen: added to the upper limit.

    Of n rows none fell beyond it, so at most a share 1 - (alpha/2)^(1/n) of all do (the exact binomial limit at none, Clopper and Pearson 1934), on the
    average half as large again, as beyond any point of a Pareto law whose variance is just finite (index 3). It counts in full where the largest hundredth of the rows carries `whole` times what it would of an exponential
    law's sum, and not at all below `begins` times: a rule of ours, whose coverage `make bench-intervals` measures.
    """
    n = len(losses)
    k = _top(n)
    excess = largest_share(losses) / (k / n * (1 + math.log(n / k)))
    weight = min(max((excess - begins) / (whole - begins), 0.0), 1.0)
    return weight * (1 - (0.5 - confidence / 2) ** (1 / n)) * 1.5 * float(losses.max())


def _top(n: int) -> int:
    return max(1, math.ceil(n / 100))


def resample_cells(
    codes: np.ndarray, totals: Callable[[np.ndarray, np.ndarray], np.ndarray], statistic: Callable[[np.ndarray], np.ndarray], resamples: int
) -> Resampled:
    """Resample rows of which only integer codes matter: equal rows are one cell, drawn together.

    Args:
        codes: int64 [N, k], for example target and prediction.
        totals: from cells [K, k] and rows a cell [K] to sums over the rows [m].
        statistic: from sums [..., m] to values [...].
    """
    rng = np.random.default_rng(SEED)
    cells, counts = np.unique(codes, axis=0, return_counts=True)
    parts = []
    for size in _chunks(resamples, len(cells)):
        drawn = rng.multinomial(len(codes), counts / len(codes), size=size).astype(np.float64)
        parts.append(statistic(np.stack([totals(cells, weights) for weights in drawn])))
    whole, one, left_out = totals(cells, counts.astype(np.float64)), np.ones(1), []
    for at in range(0, len(cells), _CELLS):
        left_out.append(statistic(whole - np.stack([totals(cells[i : i + 1], one) for i in range(at, min(at + _CELLS, len(cells)))])))
    known = np.concatenate(left_out) if len(codes) > 1 else np.full(len(cells), np.nan)
    return np.concatenate(parts), known, counts.astype(np.float64)


def _chunks(resamples: int, width: int) -> list[int]:
    size = max(1, _CHUNK // max(1, width))
    return [min(size, resamples - at) for at in range(0, resamples, size)]
