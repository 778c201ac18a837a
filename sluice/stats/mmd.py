"""Maximum mean discrepancy between a reference's vectors and a window's: do two clouds of points have the same shape?

The Gaussian kernel's mean is kept as random Fourier features, so that a reference is one mean of a few numbers, windows add up, and the distance of two
means is the discrepancy. What chance makes of it is known from the features' covariance: a weighted sum of chi-squared variables, of which mean and
variance are kept.

References:
    Gretton, Borgwardt, Rasch, Schölkopf, Smola: A kernel two-sample test (JMLR 13, 2012); the width is the median distance, as there.
    Rahimi, Recht: Random features for large-scale kernel machines (NeurIPS 2007).
    Box: Some theorems on quadratic forms (Annals of Mathematical Statistics 25, 1954): the moments of such a sum.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sluice.stats.noise import Null
from sluice.stats.special import Floats

#: Random frequencies (each gives a cosine and a sine), rows the width is found with, and the fewest a reference takes.
_FREQUENCIES, _PAIRS, LEAST = 64, 400, 50


def reference(vectors: Floats) -> dict[str, Any] | None:
    """What is kept of vectors [rows, dimensions]: ``rows``, ``dimensions``, ``width``, ``mean`` [128], ``trace`` and ``square`` of their features' covariance.

    Rows with a NaN are left out; None where fewer than 50 are left.
    """
    x = vectors[np.isfinite(vectors).all(axis=1)]
    if len(x) < LEAST:
        return None
    some = x[np.linspace(0, len(x) - 1, min(len(x), _PAIRS)).astype(np.int64)]
    apart = np.sqrt(np.maximum(((some[:, None] - some[None]) ** 2).sum(axis=-1), 0.0))[np.triu_indices(len(some), 1)]
    width = float(np.median(apart[apart > 0])) if (apart > 0).any() else 1.0
    told = {"dimensions": x.shape[1], "width": float(f"{width:.6g}")}
    found = features(told, x)
    spread = np.cov(found, rowvar=False)
    return {
        "rows": len(x),
        **told,
        "mean": [float(f"{v:.7g}") for v in found.mean(axis=0)],
        "trace": float(f"{np.trace(spread):.7g}"),
        "square": float(f"{(spread**2).sum():.7g}"),
    }


def features(told: Mapping[str, Any], vectors: Floats) -> Floats:
    """Vectors' random Fourier features [rows, 128]; NaN where a vector has one."""
    rng = np.random.default_rng(20_262)
    frequencies = rng.normal(size=(int(told["dimensions"]), _FREQUENCIES)) / float(told["width"])
    angles = vectors @ frequencies
    return np.asarray(np.concatenate([np.cos(angles), np.sin(angles)], axis=1) / np.sqrt(_FREQUENCIES))


def summed(told: Mapping[str, Any], vectors: Floats, bounds: list[int]) -> NDArray[np.float64]:
    """Of pieces of rows: how many could be read, and the sum of their features, [pieces, 129]."""
    found = features(told, vectors)
    fine = np.asarray(np.isfinite(found).all(axis=1))
    whole = np.concatenate([fine[:, None].astype(np.float64), np.where(fine[:, None], found, 0.0)], axis=1)
    return np.stack([whole[a:b].sum(axis=0) for a, b in zip(bounds, bounds[1:], strict=False)])


def distance(told: Mapping[str, Any], sums: NDArray[np.float64]) -> float | None:
    """The discrepancy of a window's sums [129] from the reference, from 0 to 1.4; None without rows."""
    if sums[0] <= 0:
        return None
    return float(np.sqrt(((sums[1:] / sums[0] - np.asarray(told["mean"])) ** 2).sum()))


def null(told: Mapping[str, Any], rows: int) -> Null:
    """The squared discrepancy of `rows` rows where nothing moved."""
    trace, square, known = float(told["trace"]), float(told["square"]), int(told["rows"])
    mean, sd = trace / rows, (2 * square) ** 0.5 / rows
    return Null(mean, sd, 2 * sd / mean if mean > 0 else 0.0, trace / known, (2 * square) ** 0.5 / known, square**0.5 / rows)
