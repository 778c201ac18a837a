"""Pure statistics: sequential tests, intervals, drift distances. numpy and the standard library only."""

from sluice.stats.bernoulli import (
    difference_interval,
    difference_log_e,
    hedge,
    project,
    rate_exceeds,
    rate_interval,
    rate_log_e,
    ratio_log_e,
)
from sluice.stats.clusters import clustered_difference, dispersion
from sluice.stats.drift import category_counts, js, numeric_counts, psi, quantile_edges, total_variation
from sluice.stats.evalues import combine, p_value, rejected
from sluice.stats.intervals import bootstrap, newcombe, wilson
from sluice.stats.means import bounded_interval, mean_difference_interval, mean_interval
from sluice.stats.multinomial import shares_log_e, two_sample_log_e
from sluice.stats.special import log_beta, log_gamma, log_mean_exp, xlogy

__all__ = [
    "bootstrap",
    "bounded_interval",
    "category_counts",
    "clustered_difference",
    "combine",
    "difference_interval",
    "difference_log_e",
    "dispersion",
    "hedge",
    "js",
    "log_beta",
    "log_gamma",
    "log_mean_exp",
    "mean_difference_interval",
    "mean_interval",
    "newcombe",
    "numeric_counts",
    "p_value",
    "project",
    "psi",
    "quantile_edges",
    "rate_exceeds",
    "rate_interval",
    "rate_log_e",
    "ratio_log_e",
    "rejected",
    "shares_log_e",
    "total_variation",
    "two_sample_log_e",
    "wilson",
    "xlogy",
]
