"""How far a distribution has moved: distances over bins that the reference fixes.

A significance test is of no use at production volumes (every p-value is tiny), so these are
effect sizes to compare with a threshold.

References:
    Population stability index: Siddiqi, Credit Risk Scorecards (2006); 0.1 is small, 0.25 large.
    Jensen-Shannon distance: Endres, Schindelin: A new metric for probability distributions
        (IEEE Trans. Information Theory 49, 2003); base 2, so it lies in [0, 1].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sluice.stats.special import Floats

#: The bin for what the reference never saw, and for missing values.
OTHER, MISSING = "__other__", "__missing__"


def shares(counts: ArrayLike, prior: float = 0.5) -> Floats:
    """Counts over bins -> shares, with `prior` added to each so that an empty bin is rare, not impossible."""
    c = np.asarray(counts, dtype=np.float64) + prior
    return np.asarray(c / c.sum(axis=-1, keepdims=True))


def psi(reference: ArrayLike, current: ArrayLike, prior: float = 0.5) -> float:
    """Population stability index between counts over the same bins (shape [bins] each)."""
    p, q = shares(reference, prior), shares(current, prior)
    return float(((q - p) * np.log(q / p)).sum())


def js(reference: ArrayLike, current: ArrayLike, prior: float = 0.5) -> float:
    """Jensen-Shannon distance (the square root of the divergence, base 2, in [0, 1]) between counts over the same bins."""
    p, q = shares(reference, prior), shares(current, prior)
    m = 0.5 * (p + q)
    divergence = 0.5 * ((p * np.log2(p / m)).sum() + (q * np.log2(q / m)).sum())
    return float(np.sqrt(max(divergence, 0.0)))


def total_variation(reference: ArrayLike, current: ArrayLike) -> float:
    """Half the sum of absolute differences of shares: the part of answers that would have to change."""
    p, q = shares(reference, 0.0), shares(current, 0.0)
    return float(0.5 * np.abs(p - q).sum())


def quantile_edges(values: ArrayLike, bins: int = 10) -> Floats:
    """Inner bin edges at the reference's quantiles, ties merged; missing values are left out.

    Args:
        values: shape [n], NaN where missing.
        bins: how many bins to aim for.

    Returns:
        Rising edges; k edges make k + 1 bins. Empty when the values are all one or all missing.
    """
    x = np.asarray(values, dtype=np.float64)
    x = x[np.isfinite(x)]
    if x.size == 0:
        return np.empty(0)
    edges = np.unique(np.quantile(x, np.linspace(0, 1, bins + 1)[1:-1], method="nearest"))
    return edges[edges > x.min()] if edges.size and edges[0] == x.min() else edges


def numeric_counts(values: ArrayLike, edges: ArrayLike) -> NDArray[np.int64]:
    """Counts per bin of `edges` (bin i holds edges[i-1] <= x < edges[i]), then one last bin for missing and infinite values."""
    x, e = np.asarray(values, dtype=np.float64), np.asarray(edges, dtype=np.float64)
    fine = np.isfinite(x)
    inside = np.bincount(np.searchsorted(e, x[fine], side="right"), minlength=e.size + 1)
    return np.concatenate([inside, [int((~fine).sum())]]).astype(np.int64)


def category_counts(values: Sequence[Any] | Mapping[str, int], categories: Sequence[str]) -> NDArray[np.int64]:
    """Counts per category, then one bin for what the reference did not know and one for missing (None or "").

    Args:
        values: the values themselves, or counts by value.
        categories: the reference's, in its order.
    """
    place = {c: i for i, c in enumerate(categories)}
    out = np.zeros(len(categories) + 2, dtype=np.int64)
    items = values.items() if isinstance(values, Mapping) else ((v, 1) for v in values)
    for value, n in items:
        missing = value is None or value in ("", MISSING)
        out[len(categories) + 1 if missing else place.get(str(value), len(categories))] += n
    return out
