"""Where a mean is worst: the subgroups of rows, told by one to three comparisons, whose mean stands out most.

Every comparison alone and every pair of them is scored, as SliceLine does with matrix products (Sagadeeva, Boehm: SliceLine: fast, linear-algebra-based slice
finding for ML model debugging, SIGMOD 2021); a tree of that depth splits greedily and overlooks what shows only in pairs (Chung et al.: Slice Finder, ICDE 2019,
compare both). The best is made sharper (its cuts are moved, a third comparison is tried), then its rows are taken out of the sum and the next one is looked
for. What is found so is as likely a fluke as not: it has to be confirmed on rows that had no part in the search.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sluice.core.predicate import All, Column, Compared, Missing, Predicate

Mask = NDArray[np.bool_]
#: Cuts of a column of numbers, and values of one of names, that are tried; comparisons of which pairs are.
_CUTS, _VALUES, _PAIRED = 9, 20, 200
#: What a further comparison has to add to the score, in standard errors; and the least score that is worth a confirmation.
_WORTH, _LEAST = 0.5, 1.5
#: Rows that a search looks at.
MOST_ROWS = 50_000


@dataclasses.dataclass(frozen=True, eq=False)
class Numbers:
    """Values with an order: float64 [rows], NaN where missing."""

    column: Column
    values: NDArray[np.float64]

    def some(self, rows: NDArray[np.int64]) -> Numbers:
        """Of some rows, by their indices."""
        return Numbers(self.column, self.values[rows])


@dataclasses.dataclass(frozen=True, eq=False)
class Names:
    """One of several values: its index in `names` [rows], -1 where missing."""

    column: Column
    codes: NDArray[np.int64]
    names: Sequence[str]

    def some(self, rows: NDArray[np.int64]) -> Names:
        """Of some rows, by their indices."""
        return Names(self.column, self.codes[rows], self.names)


@dataclasses.dataclass(frozen=True, eq=False)
class Subgroup:
    """What was found: which rows, and by how many standard errors their mean is above 0."""

    which: Predicate
    score: float


@dataclasses.dataclass(frozen=True, eq=False)
class Comparison:
    """One comparison, the rows on which it holds, and the values that are compared where they have an order."""

    which: Compared | Missing
    rows: Mask
    values: NDArray[np.float64] | None = None


def search(features: Sequence[Numbers | Names], excess: NDArray[np.float64], support: int, most: int = 3) -> list[Subgroup]:
    """The subgroups with the largest means, the surest first.

    Args:
        features: of the rows.
        excess: what stands out where it is large: float64 [rows], about 0 or below on the whole.
        support: rows that a subgroup has at least.
        most: how many are looked for.
    """
    tests = [t for f in features for t in comparisons(f, support)]
    left, found = excess.astype(np.float64).copy(), []
    spread = float(np.std(left)) if len(left) else 0.0
    if not tests or not spread > 0:
        return []
    for _ in range(most):
        chosen = _best(tests, left, spread, support)
        if chosen is None:
            break
        chosen = _sharpened(chosen, tests, left, spread, support)
        rows = _together(chosen)
        score = _score(left, rows, spread, support)
        if score < _LEAST:
            break
        parts = tuple(t.which for t in chosen)
        found.append(Subgroup(parts[0] if len(parts) == 1 else All(parts), score))
        left[rows] = 0.0
    return found


def comparisons(f: Numbers | Names, support: int, cuts: int = _CUTS) -> list[Comparison]:
    """Of one column: at most so many cuts of numbers, the commonest values of names, and where it is missing; those that have the rows."""
    out: list[Comparison] = []
    if isinstance(f, Numbers):
        missing = np.isnan(f.values)
        for cut in _cuts(f.values[~missing], cuts):
            out += [_at(f.column, order, cut, f.values) for order in (">=", "<")]
    else:
        missing = f.codes < 0
        counts = np.bincount(f.codes[~missing], minlength=len(f.names))
        for k in np.argsort(-counts, kind="stable")[:_VALUES].tolist():
            out.append(Comparison(Compared(f.column, "==", f.names[k]), f.codes == k))
    if not f.column.part:
        out.append(Comparison(Missing(f.column), missing))
    return [t for t in out if support <= t.rows.sum() < len(t.rows)]


def _at(column: Column, order: str, cut: float, values: NDArray[np.float64]) -> Comparison:
    rows = values >= cut if order == ">=" else values < cut
    return Comparison(Compared(column, order, cut), rows, values)  # type: ignore[arg-type]


def _cuts(values: NDArray[np.float64], most: int) -> list[float]:
    """Numbers between the values, at most so many, evenly by rank; each as short as it can be written."""
    distinct = np.unique(values)
    if len(distinct) > most + 1:
        ranked = np.sort(values)
        at = np.unique(np.searchsorted(distinct, ranked[(np.arange(1, most + 1) * len(ranked)) // (most + 1)]))
        at = at[at > 0]
    else:
        at = np.arange(1, len(distinct))
    return [_between(float(distinct[i - 1]), float(distinct[i])) for i in at]


def _between(low: float, high: float) -> float:
    """A short number above `low` and at most `high`, near their middle."""
    middle = low + (high - low) / 2
    for digits in range(1, 17):
        short = float(f"{middle:.{digits}g}")
        if low < short <= high:
            return short
    return high


def _best(tests: Sequence[Comparison], excess: NDArray[np.float64], spread: float, support: int) -> list[Comparison] | None:
    """The comparison, or the pair of them, with the best score; a pair has to be worth it."""
    x = np.stack([t.rows for t in tests], axis=1).astype(np.float32)
    single = _scores(x.sum(axis=0), x.T @ excess.astype(np.float32), x.T @ np.square(excess).astype(np.float32), spread, support)
    order = np.argsort(-single, kind="stable")[:_PAIRED]
    x, kept = x[:, order], [tests[i] for i in order]
    by, squared = excess.astype(np.float32)[:, None], np.square(excess).astype(np.float32)[:, None]
    pairs = _scores(x.T @ x, x.T @ (x * by), x.T @ (x * squared), spread, support)
    np.fill_diagonal(pairs, -math.inf)
    alone, two = float(single[order[0]]), float(pairs.max())
    if max(alone, two) == -math.inf:
        return None
    if two - _WORTH <= alone:
        return [kept[0]]
    i, j = np.unravel_index(int(pairs.argmax()), pairs.shape)
    return [kept[min(i, j)], kept[max(i, j)]]


def _scores(
    n: NDArray[np.float32], sums: NDArray[np.float32], squares: NDArray[np.float32], spread: float, support: int
) -> NDArray[np.float64]:
    """The means over their standard errors, as these are where the mean is 0 (a score test, which does not take a small group in which all is wrong for
    surer than a large one in which nearly all is), and never less than all rows'; -inf below the support."""
    rows = np.maximum(n.astype(np.float64), 1.0)
    mean = sums / rows
    deviation = np.sqrt(np.maximum(squares / rows, spread**2))
    return np.where(n >= support, mean * np.sqrt(rows) / deviation, -math.inf)


def _score(excess: NDArray[np.float64], rows: Mask, spread: float, support: int) -> float:
    d = excess[rows]
    if len(d) < support:
        return -math.inf
    return float(d.mean() * math.sqrt(len(d)) / max(math.sqrt(float(np.square(d).mean())), spread))


def _together(chosen: Sequence[Comparison]) -> Mask:
    return np.all(np.stack([t.rows for t in chosen]), axis=0)


def _sharpened(
    chosen: list[Comparison], tests: Sequence[Comparison], excess: NDArray[np.float64], spread: float, support: int
) -> list[Comparison]:
    """With its cuts moved to where the score is best, one after the other, and a third comparison if that is worth it."""
    chosen = _moved(chosen, excess, spread, support)
    score = _score(excess, _together(chosen), spread, support)
    if len(chosen) > 1:
        inside = _together(chosen)
        for t in tests:
            if _score(excess, inside & t.rows, spread, support) > score + _WORTH:
                score, best = _score(excess, inside & t.rows, spread, support), t
                chosen = [*chosen[:2], best]
    return _moved(chosen, excess, spread, support)


def _moved(chosen: list[Comparison], excess: NDArray[np.float64], spread: float, support: int) -> list[Comparison]:
    out = list(chosen)
    for i, t in enumerate(out):
        if t.values is None or not isinstance(t.which, Compared):
            continue
        others = _together([o for k, o in enumerate(out) if k != i]) if len(out) > 1 else np.ones(len(excess), dtype=bool)
        use = others & ~np.isnan(t.values)
        cut = _best_cut(t.values[use], excess[use], t.which.order == ">=", spread, support)
        if cut is not None:
            moved = _at(t.which.column, t.which.order, cut, t.values)
            if _score(excess, others & moved.rows, spread, support) > _score(excess, others & t.rows, spread, support):
                out[i] = moved
    return out


def _best_cut(values: NDArray[np.float64], excess: NDArray[np.float64], above: bool, spread: float, support: int) -> float | None:
    """Of all cuts of these rows, the one that leaves the best score on its side."""
    order = np.argsort(values, kind="stable")[:: -1 if above else 1]
    v, d = values[order], excess[order]
    ends = np.flatnonzero(v[1:] != v[:-1])  # the last row of each value, so that a cut lies behind it
    if not len(ends):
        return None
    n, sums, squares = ends + 1.0, np.cumsum(d)[ends], np.cumsum(d * d)[ends]
    scores = _scores(n, sums, squares, spread, support)  # type: ignore[arg-type]
    best = int(scores.argmax())
    if scores[best] == -math.inf:
        return None
    a, b = sorted((float(v[ends[best]]), float(v[ends[best] + 1])))
    return _between(a, b)
