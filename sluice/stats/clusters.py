"""Outcomes that come in clusters (of one user, of one process): how many independent ones they are worth.

Clusters are independent of each other; within one, outcomes may depend on each other in any way. Sums over whole clusters are again
independent, so users may be put together into a few dozen groups and counted by group.

References:
    McCullagh, Nelder: Generalized Linear Models (2nd edition, 1989), sections 4.5 and 9.2: Pearson's statistic over its degrees of
        freedom as the dispersion, by which a quasi-likelihood ratio is divided.
    Kish: Survey Sampling (1965), section 8.2: the design effect.
    Satterthwaite: An approximate distribution of estimates of variance components (Biometrics Bulletin 2, 1946).
    Slepian: The one-sided barrier problem for Gaussian noise (Bell System Technical Journal 41, 1962).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sluice.stats.means import mean_difference_interval
from sluice.stats.special import Floats

#: Groups with outcomes below which nothing is said of how they differ.
FEWEST = 8
#: Groups with outcomes in each arm that an interval takes.
FEWEST_INTERVAL = 20


def dispersion(counts: ArrayLike, totals: ArrayLike, *, fewest: int = FEWEST) -> float:
    """How many times the variance of counts by group is that of independent yes/no outcomes; never below 1.

    The evidence of n outcomes with dispersion phi is that of n / phi independent ones: a log likelihood ratio, and so the logarithm of an
    e-value, is divided by it.

    Args:
        counts: yes-outcomes by group, shape [groups] or [strata, groups].
        totals: all outcomes by group, of the same shape. Each stratum (an arm, a while) has a rate of its own.
        fewest: groups with outcomes that it takes, each stratum left out of them once for its own rate.

    Returns:
        Pearson's statistic over its expectation under independence, the strata together; 1 where the groups are too few to tell, where
        nothing varies, and where counts vary less than independent ones would.

    Raises:
        ValueError: shapes differ, or a number is negative, not finite, or a count above its total.
    """
    k, n = np.atleast_2d(np.asarray(counts, dtype=np.float64)), np.atleast_2d(np.asarray(totals, dtype=np.float64))
    if k.shape != n.shape or not (np.isfinite(k).all() and np.isfinite(n).all()) or (k < 0).any() or (k > n).any():
        raise ValueError("dispersion takes counts between 0 and their totals, group by group")
    whole = n.sum(axis=1)
    rate = k.sum(axis=1) / np.where(whole > 0, whole, 1.0)
    seen = int(np.count_nonzero(n)) - int(np.count_nonzero(whole))
    return 1.0 if seen < fewest - 1 else _ratio(k, n, rate * (1 - rate))


def _ratio(sums: Floats, n: Floats, variance: Floats) -> float:
    """The sums' squared deviations by group over their expectation, were all outcomes independent; strata in rows, `variance` of one outcome in each."""
    whole = np.maximum(n.sum(axis=1, keepdims=True), 1e-300)
    mean = sums.sum(axis=1, keepdims=True) / whole
    # A group's own outcomes are part of the mean it is compared with: under independence E (sum - mean n)^2 = variance n (1 - n / whole).
    expected: Any = (variance[:, None] * n * (1 - n / whole)).sum()
    return max(1.0, float(((sums - mean * n) ** 2).sum() / expected)) if expected > 0 else 1.0


@dataclass(frozen=True)
class Arm:
    """Outcomes of one arm by group of whole clusters.

    Attributes:
        n, sums: outcomes and their sum by group, each of shape [groups].
        squares: the sum of the squares of all outcomes; of yes/no outcomes it is their sum.
    """

    n: Floats
    sums: Floats
    squares: float


@dataclass(frozen=True)
class Difference:
    """A confidence sequence for ``mean(b) - mean(a)`` of outcomes in clusters.

    Attributes:
        low, high: (-inf, inf) where nothing can be said yet.
        dispersion: by arm, a and b: how many outcomes are worth one independent one.
        groups: by arm, those with outcomes.
    """

    low: float
    high: float
    dispersion: tuple[float, float]
    groups: tuple[int, int]


def clustered_difference(a: Arm, b: Arm, alpha: float = 0.05, best_at: float = 1000) -> Difference:
    """Confidence sequence for the difference of two means over outcomes that come in clusters, each cluster in one arm by chance.

    The ratio estimate sum / n of each arm with the variance of its group totals, and never less than that of independent outcomes, in
    `means.mean_difference_interval`: n outcomes count as n over their dispersion. Totals have to be those since the comparison began: a
    returning user's outcomes correlate over time too, so blocks of them are not independent, while the estimate's errors at two times
    correlate at least as a mean's of independent outcomes do, which makes crossings of the boundary rarer (Slepian 1962).

    The dispersion is the arm's own or that of both, each about its own mean, where it is larger. Its degrees of freedom are Satterthwaite's
    from the fourth powers of the group deviations, so one group that holds all the variance proves nothing.

    Args:
        a, b: arms, of the same groups or others.
        alpha: the probability that it ever misses (in the limit of many clusters and groups).
        best_at: the number of independent outcomes in both arms near which it is tightest.
    """
    arms = (a, b)
    groups = (int(np.count_nonzero(a.n)), int(np.count_nonzero(b.n)))
    if min(groups) < FEWEST_INTERVAL:
        return Difference(-math.inf, math.inf, (1.0, 1.0), groups)
    n, sums = np.zeros((2, max(a.n.size, b.n.size))), np.zeros((2, max(a.n.size, b.n.size)))
    for i, arm in enumerate(arms):
        n[i, : arm.n.size], sums[i, : arm.n.size] = arm.n, arm.sums
    whole = n.sum(axis=1)
    mean = sums.sum(axis=1) / whole
    variance = np.maximum(np.array([a.squares, b.squares]) / whole - mean**2, 0.0)
    both = _ratio(sums, n, variance)
    own = [max(both, _ratio(sums[i : i + 1], n[i : i + 1], variance[i : i + 1])) for i in range(2)]
    # What each group adds to the variance of the difference.
    parts = (((sums - mean[:, None] * n) / whole[:, None]) ** 2)[n > 0]
    total = float(parts.sum())
    spread = float((parts**2).sum()) - total**2 / parts.size
    df = min(2 * total**2 / spread, parts.size - 2.0) if spread > 0 else parts.size - 2.0
    (n_a, s_a, q_a), (n_b, s_b, q_b) = [
        (whole[i] / own[i], mean[i] * whole[i] / own[i], arm.squares / own[i]) for i, arm in enumerate(arms)
    ]
    low, high = mean_difference_interval((n_a, s_a, q_a), (n_b, s_b, q_b), alpha, best_at, max(df, 1.0))
    return Difference(float(low), float(high), (own[0], own[1]), groups)
