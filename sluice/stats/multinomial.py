"""Anytime-valid tests on counts over labels.

References:
    Lindon, Malek: Anytime-valid inference for multinomial count data (NeurIPS 2022): the
        Dirichlet mixture against known shares (sample-ratio mismatch).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sluice.stats.special import Floats, log_gamma, xlogy


def shares_log_e(counts: ArrayLike, shares: ArrayLike, concentration: float = 100.0) -> Any:
    """log e-value of counts against known shares: has traffic been split as it was told to?

    The marginal likelihood under a Dirichlet prior centred on `shares`, over the likelihood
    under `shares` (Lindon & Malek 2022, equation 6). Cumulative: give all counts so far.

    Args:
        counts: shape [..., labels].
        shares: shape [labels] (or broadcasting to counts), positive, summing to 1.
        concentration: the prior's weight in observations; larger bets on smaller departures.
    """
    x, theta = np.broadcast_arrays(np.asarray(counts, dtype=np.float64), np.asarray(shares, dtype=np.float64))
    prior = concentration * theta
    after = prior + x
    marginal = log_gamma(after).sum(-1) - log_gamma(after.sum(-1)) - log_gamma(prior).sum(-1) + log_gamma(prior.sum(-1))
    return marginal - xlogy(x, theta).sum(-1)


def two_sample_log_e(a: ArrayLike, b: ArrayLike, prior: float = 0.5) -> Any:
    """log Bayes factor of "the arms answer with different shares" against "the same", both shares unknown.

    Gunel and Dickey's (1974) statistic with independent Dirichlet(prior) shares. A measure of
    evidence to show beside a distance; it takes the shares as constant, so it decides nothing here.

    Args:
        a, b: counts, shape [..., labels].
        prior: Dirichlet weight of each label.
    """
    x, y = np.broadcast_arrays(np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64))

    def evidence(c: Floats) -> Any:
        labels = c.shape[-1]
        return log_gamma(prior + c).sum(-1) - log_gamma(prior * labels + c.sum(-1)) - labels * log_gamma(prior) + log_gamma(prior * labels)

    return evidence(x) + evidence(y) - evidence(x + y)
