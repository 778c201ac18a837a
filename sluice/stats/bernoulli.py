"""Anytime-valid tests and confidence sequences for rates of yes/no outcomes.

A test here is an e-process: a non-negative statistic whose expected value, at any time one
chooses to look, is at most 1 while the null hypothesis holds. By Ville's inequality it
reaches 1/alpha with probability at most alpha over the whole run, so it may be looked at
after every request, and stopped at will.

References:
    Turner, Ly, Grünwald: Generic E-variables for exact sequential k-sample tests that allow
        for optional stopping (arXiv 2106.02693, 2021).
    Turner, Grünwald: Anytime-valid confidence intervals for contingency tables and beyond
        (Statistics & Probability Letters 198, 2023): convex nulls, such as a margin.
    Lindon, Malek: Anytime-valid inference for multinomial count data (NeurIPS 2022).
    Robbins: Statistical methods related to the law of the iterated logarithm (1970): the
        beta-binomial mixture.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sluice.stats.special import Floats, log_beta, xlogy

_EDGE = 1e-9


def project(a1: ArrayLike, b1: ArrayLike, n_a: ArrayLike, n_b: ArrayLike, margin: ArrayLike) -> tuple[Floats, Floats]:
    """The pair of rates on the line ``b - a = margin`` nearest to ``(a1, b1)`` in Kullback-Leibler divergence.

    Minimises ``n_a KL(a1 || a) + n_b KL(b1 || a + margin)``; all arguments broadcast. It is the reverse
    information projection onto either half plane the line bounds, from the other side.

    Args:
        a1, b1: rates strictly inside (0, 1).
        n_a, n_b: how many outcomes each arm weighs.
        margin: the line, in (-1, 1).

    Returns:
        ``(a, b)`` with ``b = a + margin``, both inside [0, 1].
    """
    a1, b1, n_a, n_b, m = (np.asarray(x, dtype=np.float64) for x in (a1, b1, n_a, n_b, margin))
    c, total = b1 - m, n_a + n_b
    lo = np.minimum(np.maximum(np.minimum(a1, c), np.maximum(0.0, -m)), np.minimum(1.0, 1.0 - m))
    hi = np.minimum(np.maximum(np.maximum(a1, c), np.maximum(0.0, -m)), np.minimum(1.0, 1.0 - m))
    x = np.minimum(np.maximum((n_a * a1 + n_b * c) / np.where(total > 0, total, 1.0), lo), hi)
    # The derivative, times its denominators, is a cubic that falls through zero once in [lo, hi]: by its coefficients,
    # Newton's step where it stays inside the bracket, else the middle.
    d, e, i = 1 - 2 * m, m - m * m, n_a * a1
    c3, c2, c1, c0 = total, -(i + n_a * d + n_b * (1 + c)), i * d + n_b * c - n_a * e, i * e
    with np.errstate(divide="ignore", invalid="ignore"):
        for _ in range(60):
            g = ((c3 * x + c2) * x + c1) * x + c0
            up = g > 0
            lo, hi = np.where(up, x, lo), np.where(up, hi, x)
            new = x - g / ((3 * c3 * x + 2 * c2) * x + c1)
            new = np.where((new >= lo) & (new <= hi), new, 0.5 * (lo + hi))
            moved = np.abs(new - x).max(initial=0.0)
            x = new
            if moved <= 1e-11:
                break
    return x, x + m


def difference_log_e(
    n_a: ArrayLike, k_a: ArrayLike, n_b: ArrayLike, k_b: ArrayLike, a1: ArrayLike, b1: ArrayLike, margin: ArrayLike
) -> Floats:
    """log e-value of one block of outcomes against the null on the far side of ``b - a = margin``.

    If ``b1 - a1 > margin`` the null is "the rates of the arms in this block differ by at most
    `margin`"; if it is smaller, "by at least `margin`". The e-value is the likelihood ratio of
    ``(a1, b1)`` to its projection on the null (Turner & Grünwald 2023). It is valid for any
    rates inside the null, which may change from block to block and, as long as the arms'
    averages over the block keep to the null, from request to request: the expectation is
    ``f(a)^n_a g(b)^n_b`` with f, g linear, whose logarithm is concave with its maximum 0 over
    the null at the projection.

    Args:
        n_a, k_a: outcomes and successes of arm A in the block. n_b, k_b: of arm B.
        a1, b1: the alternative bet on, chosen before the block was seen, strictly inside (0, 1).
        margin: the boundary.
    """
    a0, b0 = (np.minimum(np.maximum(x, 0.0), 1.0) for x in project(a1, b1, n_a, n_b, margin))
    n_a, k_a, n_b, k_b, a1, b1 = (np.asarray(x, dtype=np.float64) for x in (n_a, k_a, n_b, k_b, a1, b1))
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = ((k_a, a1 / a0), (n_a - k_a, (1 - a1) / (1 - a0)), (k_b, b1 / b0), (n_b - k_b, (1 - b1) / (1 - b0)))
        ratio = sum(np.where(k == 0, 0.0, k * np.log(r)) for k, r in parts)
    # A null that calls the block impossible is refuted for good; 700 keeps exp() finite.
    return np.minimum(ratio, 700.0)


def ratio_log_e(n_a: ArrayLike, k_a: ArrayLike, n_b: ArrayLike, k_b: ArrayLike, ratio: ArrayLike) -> Floats:
    """log e-value of one block against "arm B's rate is at most arm A's", betting on `ratio` times as much.

    Given the block's successes in both arms together, under equal rates each falls into arm B
    with the share of B's outcomes; the bet is on the share that `ratio` implies (Lindon & Malek
    2022). No baseline has to be known, and one that both arms share may change at will. Sampling
    without replacement makes the count of B hypergeometric, whose exponential moments are below
    the binomial's (Hoeffding 1963), so the e-value is exact for Bernoulli outcomes too.

    Args:
        n_a, k_a, n_b, k_b: outcomes and successes of the arms.
        ratio: above 1.
    """
    n_a, k_a, n_b, k_b, r = (np.asarray(x, dtype=np.float64) for x in (n_a, k_a, n_b, k_b, ratio))
    inside = (n_a > 0) & (n_b > 0)
    n_a, n_b = np.where(inside, n_a, 1.0), np.where(inside, n_b, 1.0)
    # The share bet on, over B's share of the outcomes; and the same of arm A.
    with_b = (n_a + n_b) / (n_a + r * n_b)
    return np.where(inside, k_b * np.log(r * with_b) + k_a * np.log(with_b), 0.0)


def hedge(log_e: ArrayLike, fraction: ArrayLike) -> Floats:
    """log of ``1 - f + f e``: bet only a fraction of the wealth, so that no single block can cost more than log(1 - f)."""
    f = np.asarray(fraction, dtype=np.float64)
    with np.errstate(divide="ignore"):
        return np.logaddexp(np.log1p(-np.minimum(f, 1 - 1e-12)), np.log(f) + np.asarray(log_e, dtype=np.float64))


def rate_log_e(n: ArrayLike, k: ArrayLike, limit: ArrayLike, rate: ArrayLike) -> Floats:
    """log e-value of one arm's outcomes against "the rate is at most `limit`", betting on `rate` > limit."""
    n, k, p0, p1 = (np.asarray(x, dtype=np.float64) for x in (n, k, limit, rate))
    p1 = np.clip(p1, _EDGE, 1 - _EDGE)
    return xlogy(k, p1) - xlogy(k, p0) + xlogy(n - k, 1 - p1) - xlogy(n - k, 1 - p0)


def rate_interval(n: ArrayLike, k: ArrayLike, alpha: ArrayLike = 0.05, prior: tuple[float, float] = (0.5, 0.5)) -> tuple[Any, Any]:
    """Confidence sequence for a rate: holds at all times at once with probability 1 - alpha.

    The beta-binomial mixture (Robbins 1970): the rates whose likelihood is not below alpha
    times the mixture's. All arguments broadcast.

    Args:
        n, k: outcomes and successes so far.
        alpha: the probability that the interval ever misses.
        prior: Beta(a, b) of the mixture; narrowest near its mean.

    Returns:
        ``(low, high)``; (0, 1) where n = 0.
    """
    n, k, alpha = np.broadcast_arrays(*(np.asarray(x, dtype=np.float64) for x in (n, k, alpha)))
    a, b = prior
    level = log_beta(a + k, b + n - k) - log_beta(a, b) + np.log(alpha)

    def outside(p: Any) -> Any:
        return xlogy(k, p) + xlogy(n - k, 1 - p) < level

    best = np.where(n > 0, k / np.where(n > 0, n, 1.0), 0.5)
    low_out, low_in = np.zeros_like(best), best.copy()
    high_in, high_out = best.copy(), np.ones_like(best)
    for _ in range(50):
        mid = 0.5 * (low_out + low_in)
        out = outside(mid)
        low_out, low_in = np.where(out, mid, low_out), np.where(out, low_in, mid)
        mid = 0.5 * (high_in + high_out)
        out = outside(mid)
        high_in, high_out = np.where(out, high_in, mid), np.where(out, mid, high_out)
    low = np.where((k == 0) | (n == 0), 0.0, low_out)
    high = np.where((k == n) | (n == 0), 1.0, high_out)
    return low[()], high[()]


def rate_exceeds(n: float, k: float, limit: float, alpha: float = 0.05) -> bool:
    """Whether the whole of `rate_interval` lies above `limit`, without looking for its ends."""
    if n <= 0 or k <= limit * n:
        return False
    mixture = float(log_beta(0.5 + k, 0.5 + n - k) - log_beta(0.5, 0.5))
    return k * math.log(max(limit, 1e-300)) + (n - k) * math.log1p(-min(limit, 1 - _EDGE)) < mixture + math.log(alpha)


def difference_interval(n_a: ArrayLike, k_a: ArrayLike, n_b: ArrayLike, k_b: ArrayLike, alpha: float = 0.05) -> tuple[Any, Any]:
    """Confidence sequence for ``b - a``: the arms' own sequences at alpha/2 each, by the union bound.

    Wider than the tests of this module, which look at both arms at once; meant for showing.
    """
    low_a, high_a = rate_interval(n_a, k_a, alpha / 2)
    low_b, high_b = rate_interval(n_b, k_b, alpha / 2)
    return low_b - high_a, high_b - low_a
