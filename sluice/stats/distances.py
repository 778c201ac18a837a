"""Distances between one set of counts and many over the same bins, all at once; `sluice.stats.drift` has the layout of the bins.

References:
    Population stability index, Jensen-Shannon distance: see `sluice.stats.drift`.
    Kolmogorov: Sulla determinazione empirica di una legge di distribuzione (1933); Smirnov: Table for estimating the goodness of fit of
        empirical distributions (Annals of Mathematical Statistics 19, 1948).
    Wasserstein-1 on a line is the area between the two distribution functions: Vallender (Theory of Probability 18, 1974).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sluice.stats.drift import shares
from sluice.stats.special import Floats

Counts = NDArray[np.int64]


def psi(reference: Counts, current: Counts) -> Floats:
    """Population stability index of each row of `current` ([windows, bins]) from `reference` ([bins]); NaN of a row without counts."""
    p, q = shares(reference), shares(current)
    return _where_any(current, ((q - p) * np.log(q / p)).sum(axis=-1))


def js(reference: Counts, current: Counts) -> Floats:
    """Jensen-Shannon distance (base 2, in [0, 1]) of each row of `current` from `reference`; NaN of a row without counts."""
    p, q = shares(reference), shares(current)
    m = 0.5 * (p + q)
    divergence = 0.5 * ((p * np.log2(p / m)).sum(axis=-1) + (q * np.log2(q / m)).sum(axis=-1))
    return _where_any(current, np.sqrt(np.maximum(divergence, 0.0)))


def ks(reference: Counts, current: Counts) -> Floats:
    """Kolmogorov-Smirnov statistic over bins in order, without missing values: the largest distance of the distribution functions at the edges."""
    return _where_any(current, np.abs(_cumulated(current) - _cumulated(reference)).max(axis=-1, initial=0.0))


def wasserstein(reference: Counts, current: Counts, ends: Sequence[float], scale: float) -> Floats:
    """Wasserstein-1 distance over bins in order, values spread evenly inside a bin, in units of `scale`.

    Args:
        reference: [bins], without missing values. current: [windows, bins].
        ends: of the bins, bins + 1 of them, finite.
        scale: the reference's standard deviation, say.
    """
    apart = np.concatenate([np.zeros((len(current), 1)), _cumulated(current) - _cumulated(reference)], axis=-1)
    widths = np.diff(np.asarray(ends, dtype=np.float64))
    left, right = apart[:, :-1], apart[:, 1:]
    # The area under |straight line|: of one that crosses zero, two triangles.
    both = np.abs(left) + np.abs(right)
    crossed = np.where(both > 0, (left**2 + right**2) / (2 * np.where(both > 0, both, 1.0)), 0.0)
    area = np.where(left * right >= 0, both / 2, crossed)
    return _where_any(current, (area * widths).sum(axis=-1) / scale)


def ks_p(statistic: float, n: float, m: float) -> float:
    """How seldom two samples of n and m of one distribution are as far apart (asymptotic; Stephens' correction, JRSS B 32, 1970)."""
    if n <= 0 or m <= 0 or not statistic > 0:
        return 1.0
    root = math.sqrt(n * m / (n + m))
    x = (root + 0.12 + 0.11 / root) * statistic
    if x < 0.2:
        return 1.0
    total = 0.0
    for k in range(1, 101):
        term = math.exp(-2 * k * k * x * x)
        total += -term if k % 2 == 0 else term
        if term < 1e-12:
            break
    return float(min(1.0, max(0.0, 2 * total)))


def _cumulated(counts: Counts) -> Floats:
    total = counts.sum(axis=-1, keepdims=True)
    return np.asarray(np.cumsum(counts, axis=-1) / np.maximum(total, 1))


def _where_any(current: Counts, found: Floats) -> Floats:
    return np.where(current.sum(axis=-1) > 0, found, np.nan)
