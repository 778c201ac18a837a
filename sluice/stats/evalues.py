"""Putting e-values together.

References:
    Vovk, Wang: E-values: calibration, combination and applications (Annals of Statistics 49, 2021):
        the mean of e-values is an e-value, whatever their dependence.
    Wang, Ramdas: False discovery rate control with e-values (JRSS B 84, 2022): e-BH.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sluice.stats.special import log_mean_exp


def combine(log_e: ArrayLike, axis: int = -1) -> Any:
    """log of the mean of e-values: one test of "all nulls hold", valid under any dependence."""
    return log_mean_exp(log_e, axis=axis)


def p_value(log_e: float) -> float:
    """The anytime-valid p-value of an e-process's value: min(1, 1/e)."""
    return 1.0 if log_e <= 0 else math.exp(-log_e)


def rejected(e_values: ArrayLike, alpha: float) -> NDArray[np.bool_]:
    """e-BH: which of several nulls to reject with a false discovery rate of at most `alpha`, whatever their dependence."""
    e = np.asarray(e_values, dtype=np.float64)
    order = np.argsort(-e, kind="stable")
    passed = np.nonzero(np.arange(1, e.size + 1) * e[order] >= e.size / alpha)[0]
    out = np.zeros(e.size, dtype=np.bool_)
    if passed.size:
        out[order[: passed[-1] + 1]] = True
    return out
