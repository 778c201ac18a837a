"""Outcomes that come in clusters (of one user, of one process): how many independent ones they are worth.

Clusters are independent of each other; within one, outcomes may depend on each other in any way. Sums over whole clusters are again
independent, so users may be put together into a few dozen groups and counted by group.

References:
    McCullagh, Nelder: Generalized Linear Models (2nd edition, 1989), sections 4.5 and 9.2: Pearson's statistic over its degrees of
        freedom as the dispersion, by which a quasi-likelihood ratio is divided.
    Kish: Survey Sampling (1965), section 8.2: the design effect.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

#: Groups with outcomes below which nothing is said of how they differ.
FEWEST = 8


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
    whole = n.sum(axis=1, keepdims=True)
    safe = np.where(whole > 0, whole, 1.0)
    rate = k.sum(axis=1, keepdims=True) / safe
    seen = int(np.count_nonzero(n)) - int(np.count_nonzero(whole))
    # A group's own outcomes are part of the rate it is compared with: under independence E (k - rate n)^2 = rate (1 - rate) n (1 - n / whole).
    expected: Any = (rate * (1 - rate) * n * (1 - n / safe)).sum()
    if seen < fewest - 1 or expected <= 0:
        return 1.0
    return max(1.0, float(((k - rate * n) ** 2).sum() / expected))
