"""How well scores put the rows of a class before the others: areas under curves, with what each row adds to their variance.

Every function takes `scores` float64 [N] and `truth` bool [N], and gives a value with its influence float64 [N]: how the
value would move if there were more of a row. Its mean square over N is the value's variance (the infinitesimal jackknife;
for the area under the ROC curve exactly that of DeLong, DeLong, Clarke-Pearson, Biometrics 44, 1988), and differences of two models' influences
on the same rows give the variance of their difference. None where there are no rows of the class, or no others.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist

import numpy as np

from sluice.problems.intervals import Interval, wilson
from sluice.stats.student import t_quantile

_NORMAL = NormalDist()
#: From this many degrees of freedom on, Student's t is the normal law.
_NORMAL_DF = 1000

Scored = tuple[float, np.ndarray]


def roc_auc(scores: np.ndarray, truth: np.ndarray) -> Scored | None:
    """The area under the ROC curve: how often a row of the class is put before another, ties counting half."""
    inside, outside = np.sort(scores[truth]), np.sort(scores[~truth])
    p, n = len(inside), len(outside)
    if not p or not n:
        return None
    place = np.empty(len(scores))
    own, others = scores[truth], scores[~truth]
    place[truth] = (np.searchsorted(outside, own, "left") + np.searchsorted(outside, own, "right")) / (2 * n)
    place[~truth] = 1 - (np.searchsorted(inside, others, "left") + np.searchsorted(inside, others, "right")) / (2 * p)
    value = float(place[truth].mean())
    # Divided by p - 1 and n - 1 in the end, as DeLong's variances are.
    scale = np.where(truth, math.sqrt(p / (p - 1)) / p if p > 1 else math.nan, math.sqrt(n / (n - 1)) / n if n > 1 else math.nan) * len(
        scores
    )
    return value, (place - value) * scale


def average_precision(scores: np.ndarray, truth: np.ndarray) -> Scored | None:
    """The mean precision over the class's rows, each at its own score: the area under the precision-recall curve without interpolation."""
    rows, p = len(scores), int(truth.sum())
    if not p or p == rows:
        return None
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], np.cumsum(truth[order])
    last = np.searchsorted(-ranked, -ranked, "right") - 1  # equal scores are one threshold
    named = last + 1.0
    precision = hits[last] / named
    inside = truth[order]
    value = float(precision[inside].sum() / p)
    # Sums over the class's rows that score no more than a row: from the end, ties in.
    share, loss = np.where(inside, 1 / named, 0.0), np.where(inside, precision / named, 0.0)
    first = np.searchsorted(-ranked, -ranked, "left")
    below, lost = np.cumsum(share[::-1])[::-1][first], np.cumsum(loss[::-1])[::-1][first]
    influence = np.empty(rows)
    influence[order] = (inside * (precision - value + below) - lost) * rows / p
    return value, influence * (math.sqrt(p / (p - 1)) if p > 1 else math.nan)


def each(
    area: Callable[[np.ndarray, np.ndarray], Scored | None], probabilities: np.ndarray, targets: np.ndarray, of: int | None
) -> tuple[list[float | None], np.ndarray | None]:
    """Every class's area against the rest, and an influence.

    Args:
        area: `roc_auc` or `average_precision`.
        probabilities: [N, labels].
        targets: [N], -1 unknown.
        of: whose influence; None: that of the unweighted mean over the classes that occur.

    Returns:
        Areas, null where there is none; the influence [N], None where there is none.
    """
    values: list[float | None] = []
    sums, known = np.zeros(len(targets)), 0
    for k in range(probabilities.shape[1]):
        found = area(probabilities[:, k], targets == k)
        values.append(None if found is None else found[0])
        if found is not None and of in (None, k):
            sums, known = sums + found[1], known + 1
    return values, sums / known if known else None


def deviation(influence: np.ndarray) -> float:
    """The standard error that an influence tells; NaN where a class has a single row."""
    return float(np.sqrt(np.square(influence).sum())) / len(influence)


def reach_of(influence: np.ndarray, targets: np.ndarray, confidence: float) -> float:
    """Half the width of the interval that an influence tells: its error times Student's t.

    The degrees of freedom are Satterthwaite's (Biometrics 2, 1946) over the classes' parts of the variance: a rare
    class's few rows are what the error is known from.
    """
    parts = np.bincount(targets + 1, np.square(influence))
    free = np.maximum(np.bincount(targets + 1) - 1, 1)
    total = float(parts.sum())
    if not total > 0:
        return total
    df = int(total**2 / float((np.square(parts) / free).sum()))
    times = t_quantile(confidence, max(df, 1)) if df < _NORMAL_DF else _NORMAL.inv_cdf(0.5 + confidence / 2)
    return times * deviation(influence)


def logit_interval(value: float, reach: float) -> Interval | None:
    """Limits symmetric in the logit, which stay inside (0, 1); None where the reach or the value leaves none."""
    if not (reach > 0 and 0 < value < 1):
        return None
    reach = reach / (value * (1 - value))
    middle = math.log(value / (1 - value))
    return tuple(1 / (1 + math.exp(-min(max(x, -700.0), 700.0))) for x in (middle - reach, middle + reach))  # type: ignore[return-value]


def newcombe_auc(value: float, inside: float, outside: float, confidence: float) -> Interval:
    """Limits of the area under the ROC curve from its size alone: Newcombe's method 5 (Stat. Med. 25, 2006, 559-573). Not empty at 0 or 1.

    Args:
        value: the area.
        inside, outside: rows of the class, and others.
    """
    z, more = _NORMAL.inv_cdf(0.5 + confidence / 2), (inside + outside) / 2 - 1

    def beyond(area: float) -> bool:
        spread = area * (1 - area) * (1 + more * ((1 - area) / (2 - area) + area / (1 + area))) / (inside * outside)
        return abs(value - area) > z * math.sqrt(spread)

    limits = []
    for end in (0.0, 1.0):
        far, near = end, value
        if not beyond(far):
            limits.append(end)
            continue
        for _ in range(60):
            middle = (far + near) / 2
            far, near = (middle, near) if beyond(middle) else (far, middle)
        limits.append((far + near) / 2)
    return limits[0], limits[1]


def sure_interval(kind: str, values: list[float], sizes: list[tuple[float, float]], confidence: float) -> Interval:
    """Where no row varies (every class is put first, or last): limits from the rows' numbers, combined over the classes by MOVER.

    Args:
        kind: ``roc_auc`` or ``average_precision``.
        values: a class.
        sizes: rows of the class, and others.
    """
    limits = [
        newcombe_auc(v, p, n, confidence) if kind == "roc_auc" else wilson(v * p, p, confidence)
        for v, (p, n) in zip(values, sizes, strict=True)
    ]
    mean = float(np.mean(values))
    low = mean - math.sqrt(sum((v - at[0]) ** 2 for v, at in zip(values, limits, strict=True))) / len(values)
    high = mean + math.sqrt(sum((at[1] - v) ** 2 for v, at in zip(values, limits, strict=True))) / len(values)
    return max(0.0, low), min(1.0, high)
