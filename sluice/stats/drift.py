"""How far a distribution has moved: distances over bins that the reference fixes.

A significance test is of no use at production volumes (every p-value is tiny), so these are
effect sizes to compare with a threshold.

References:
    Population stability index: Siddiqi, Credit Risk Scorecards (2006); 0.1 is small, 0.25 large.
    Jensen-Shannon distance: Endres, Schindelin: A new metric for probability distributions
        (IEEE Trans. Information Theory 49, 2003); base 2, so it lies in [0, 1].
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sluice.stats.special import Floats
from sluice.stats.tally import Tally

#: The bin for what the reference never saw, and for missing values.
OTHER, MISSING = "__other__", "__missing__"


def shares(counts: ArrayLike, prior: float = 0.5) -> Floats:
    """Counts over bins -> shares, with `prior` added to each so that an empty bin is rare, not impossible."""
    c = np.asarray(counts, dtype=np.float64) + prior
    return np.asarray(c / c.sum(axis=-1, keepdims=True))


def psi(reference: ArrayLike, current: ArrayLike, prior: float = 0.5) -> float | None:
    """Population stability index between counts over the same bins (shape [bins] each); None where one side has no rows."""
    if _empty(reference, current):
        return None
    p, q = shares(reference, prior), shares(current, prior)
    return float(((q - p) * np.log(q / p)).sum())


def js(reference: ArrayLike, current: ArrayLike, prior: float = 0.5) -> float | None:
    """Jensen-Shannon distance (the square root of the divergence, base 2, in [0, 1]) between counts over the same bins; None without rows."""
    if _empty(reference, current):
        return None
    p, q = shares(reference, prior), shares(current, prior)
    m = 0.5 * (p + q)
    divergence = 0.5 * ((p * np.log2(p / m)).sum() + (q * np.log2(q / m)).sum())
    return float(np.sqrt(max(divergence, 0.0)))


def noise_floor(method: str, reference: ArrayLike, current: ArrayLike, level: float = 0.01) -> float | None:
    """The distance that equal distributions exceed with probability `level`, at so many rows: below it nothing has been seen to move.

    Between two samples of n and m rows over B bins that occur, PSI / (1/n + 1/m) is about chi-squared with B - 1 degrees of freedom (Yurdakul,
    Naranjo: Statistical properties of the population stability index, Journal of Risk Model Validation 14, 2020); the Jensen-Shannon
    divergence is an eighth of it near 0. Quantile of chi-squared: Wilson, Hilferty (1931).

    Args:
        method: ``psi`` or ``js``. reference, current: counts over the same bins.

    Returns:
        In the method's own unit; None where one side has no rows.
    """
    if _empty(reference, current):
        return None
    p, q = np.asarray(reference, dtype=np.float64), np.asarray(current, dtype=np.float64)
    free = max(int(((p + q) > 0).sum()) - 1, 1)
    z = NormalDist().inv_cdf(1 - level)
    found = free * (1 - 2 / (9 * free) + z * math.sqrt(2 / (9 * free))) ** 3 * (1 / p.sum() + 1 / q.sum())
    if method == "psi":
        return float(found)
    return float(min(1.0, math.sqrt(found / (8 * math.log(2)))))


def _empty(*counts: ArrayLike) -> bool:
    return any(np.asarray(c, dtype=np.float64).sum() <= 0 for c in counts)


def total_variation(reference: ArrayLike, current: ArrayLike) -> float:
    """Half the sum of absolute differences of shares: the part of answers that would have to change."""
    p, q = shares(reference, 0.0), shares(current, 0.0)
    return float(0.5 * np.abs(p - q).sum())


def quantile_edges(values: ArrayLike | Tally, bins: int = 10) -> Floats:
    """Inner bin edges at the reference's quantiles, ties merged; missing values are left out.

    A value that makes up the share of a bin or more (zero, a flag's two) is a mass point and has a bin of its own, `[v, next float)`: between quantiles
    it would swallow its neighbours, and a column that is nine tenths its smallest value would have no bins at all. The rest share
    what bins are left, by their own quantiles.

    Args:
        values: shape [n], NaN where missing; or what was counted of them.
        bins: how many bins to aim for.

    Returns:
        Rising edges; k edges make k + 1 bins. Empty when all are missing.
    """
    x = Tally.of(np.asarray(values, dtype=np.float64) if not isinstance(values, Tally) else values)
    if not x.total:
        return np.empty(0)
    heavy = [(v[big], n[big]) for v, n in x.chunks() if (big := n * bins >= x.total).any()]
    mass = np.concatenate([np.empty(0), *(v for v, _ in heavy)])
    held = np.concatenate([np.empty(0, np.int64), *(n for _, n in heavy)])
    rest = x.total - int(held.sum())
    own = np.concatenate([mass, np.nextafter(mass, np.inf)])
    left = round(bins * rest / x.total) if mass.size else bins
    if left < 2:
        return np.unique(own)
    ranks = np.around((rest - 1) * np.linspace(0, 1, left + 1)[[0, *range(1, left)]]).astype(np.int64)  # NumPy's method "nearest"
    starts = (
        x.below(mass) - np.concatenate([[0], np.cumsum(held)[:-1]]) if mass.size else np.empty(0, np.int64)
    )  # of each mass point among the rest
    places = ranks + np.concatenate([[0], np.cumsum(held)])[np.searchsorted(starts, ranks, side="right")]
    smallest, *found = x.at(places)
    edges = np.unique(found)
    return np.unique(np.concatenate([own, edges[edges > smallest] if edges.size and edges[0] == smallest else edges]))


def numeric_counts(values: ArrayLike | Tally, edges: ArrayLike) -> NDArray[np.int64]:
    """Counts per bin of `edges` (bin i holds edges[i-1] <= x < edges[i]), then one last bin for missing and infinite values."""
    if isinstance(values, Tally):
        return values.counts(edges)
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


def drawn(counts: Sequence[int], rows: int, rng: np.random.Generator) -> list[int]:
    """Bins by their counts, [rows]; the last one where there are no counts."""
    total = sum(counts)
    if not total:
        return [len(counts) - 1] * rows
    return [int(i) for i in rng.choice(len(counts), rows, p=np.asarray(counts, dtype=np.float64) / total)]
