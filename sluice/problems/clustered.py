"""Intervals where rows belong together: the units are independent, the rows of one are not.

A metric's value stays what it is, of all rows; what changes is what the rows are worth. Proportions are taken as of so many
independent rows as the design effect leaves (Wilson's and Newcombe's limits of them), means and areas by the sums of what
a unit's rows add, everything else by leaving each unit out in turn.

References:
    Kish: Survey Sampling (1965), sections 5.4 and 8.2: the design effect; units alike inside are worth (sum n)^2 / sum n^2.
    Korn, Graubard: Confidence intervals for proportions with small expected number of positive counts estimated from survey
        data (Survey Methodology 24, 1998, 193-201): effective rows, shrunk by (z / t)^2.
    Dean, Pagano: Evaluating confidence interval methods for binomial proportions in clustered surveys (Journal of Survey
        Statistics and Methodology 3, 2015, 484-503): Wilson's limits of effective rows hold best.
    Rao, Scott: A simple method for the analysis of clustered binary data (Biometrics 48, 1992, 577-585): counts over the design effect.
    Carter, Schnepel, Steigerwald: Asymptotic behavior of a t-test robust to cluster heterogeneity (Review of Economics and
        Statistics 99, 2017, 698-709): units of unlike size leave fewer degrees of freedom.
    MacKinnon, Nielsen, Webb: Fast and reliable jackknife and bootstrap methods for cluster-robust inference (Journal of
        Applied Econometrics 38, 2023, 671-694): leaving each unit out in turn, with Student's t.
    Obuchowski: Nonparametric analysis of clustered ROC curve data (Biometrics 53, 1997, 567-578): sums of a unit's influences.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist

import numpy as np

from sluice.problems import intervals
from sluice.problems.intervals import Interval, times
from sluice.problems.units import Units

_NORMAL = NormalDist()
#: Units left out in turn, at the most: more are put together into so many groups of whole units, which are independent again.
_MOST = 1000


def worth(deviations: np.ndarray, units: Units, confidence: float) -> float:
    """How many independent rows some rows are worth for their mean.

    Args:
        deviations: of each row from the mean of all, float64 [rows].
        units: which rows belong together.
        confidence: of the interval it is for; few units are worth less, as Student's t is wider than the normal law.

    Returns:
        Between 0 and the number of rows. Where no row deviates, what units alike inside would be worth.
    """
    n = len(deviations)
    if units.count < 2:
        return 1.0
    own, among = float(np.square(deviations).sum()), float(np.square(units.sums(deviations)).sum())
    if not own > 0:
        return units.effective
    whole = n * own / (among * units.count / (units.count - 1)) if among > 0 else float(n)
    shrunk = whole * (_NORMAL.inv_cdf(0.5 + confidence / 2) / times(confidence, units.effective - 1)) ** 2
    return min(float(n), shrunk)


def proportion(right: np.ndarray, units: Units | None, confidence: float) -> Interval:
    """Wilson's limits of the share of rows that are `right` (bool [rows], at least one)."""
    if units is None:
        return intervals.wilson(float(right.sum()), len(right), confidence)
    p = float(right.mean())
    rows = worth(right - p, units, confidence)
    return intervals.wilson(p * rows, rows, confidence)


def paired_proportions(first: np.ndarray, second: np.ndarray, units: Units | None, confidence: float) -> Interval:
    """Newcombe's limits of the difference of two shares of the same rows (bool [rows] each): counts over the difference's design effect."""
    gap, share = first.astype(np.float64) - second, 1.0
    if units is not None:
        share = worth(gap - gap.mean(), units, confidence) / len(gap)
    cells = ((first, second), (first, ~second), (~first, second), (~first, ~second))
    both, one, other, neither = (share * int((a & b).sum()) for a, b in cells)
    return intervals.newcombe_paired(both, one, other, neither, confidence)


def sign_test(first: np.ndarray, second: np.ndarray, units: Units | None) -> float:
    """Two-sided exact p-value that units in which one of two models is right more often fall either way alike; of rows McNemar's."""
    if units is None:
        return intervals.mcnemar_exact(int((first & ~second).sum()), int((~first & second).sum()))
    gap = units.sums(first.astype(np.float64) - second)
    return intervals.mcnemar_exact(int((gap > 0).sum()), int((gap < 0).sum()))


def left_out(moments: np.ndarray, units: Units | None, statistic: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """A function of the rows' mean, each time without one unit.

    Args:
        moments: float64 [rows, k].
        units: at least 2; None: each row is one.
        statistic: from means [..., k] to values [...].

    Returns:
        [units].
    """
    if units is None:
        return intervals.leave_one_out(moments, statistic)
    sums, sizes = units.sums(moments), units.sizes()
    return statistic((sums.sum(axis=0) - sums) / (len(moments) - sizes)[:, None])


def reach(influence: np.ndarray, units: Units, confidence: float) -> float:
    """Half the width of the interval that an influence [rows] tells: the error of its sums by unit, times Student's t.

    The degrees of freedom are Satterthwaite's from the fourth powers of the sums: where few units hold the rare rows, those are
    what the error is known from. NaN for fewer than 2 units.
    """
    g = units.count
    if g < 2:
        return math.nan
    parts = np.square(units.sums(influence))
    total = float(parts.sum())
    if not total > 0:
        return total
    spread = float(np.square(parts).sum()) - total**2 / g
    df = min(2 * total**2 / spread, g - 1.0) if spread > 0 else g - 1.0
    return times(confidence, df) * math.sqrt(total * g / (g - 1)) / len(influence)


def of_sums(
    totals: Callable[[np.ndarray], np.ndarray], units: Units, statistic: Callable[[np.ndarray], np.ndarray], confidence: float
) -> Interval | None:
    """The interval of a smooth function of sums over rows, from its values without each unit in turn; beyond `_MOST` units without each group of them.

    Args:
        totals: from indices of rows to sums over them [m], which add up.
        units: which rows belong together.
        statistic: from sums [..., m] to values [...].
        confidence: of the interval.

    Returns:
        Limits; None where too few units, or too many without a value, tell no error.
    """
    group = units.codes % _MOST
    order = np.argsort(group, kind="stable")
    sums = np.stack([totals(rows) for rows in np.split(order, np.flatnonzero(np.diff(group[order])) + 1)])
    whole = sums.sum(axis=0)
    return intervals.two_sided(float(statistic(whole)), statistic(whole - sums), confidence, Units(units.of, group).effective - 1)
