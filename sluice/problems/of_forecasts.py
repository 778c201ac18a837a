"""Metrics of forecasts: means over the values to come, each row scaled by its own series, then over rows.

References:
    Hyndman, Koehler: Another look at measures of forecast accuracy (International Journal of Forecasting 22, 2006, 679-688): MASE.
    Makridakis, Spiliotis, Assimakopoulos: The M4 competition (International Journal of Forecasting 36, 2020, 54-74): sMAPE, MASE.
    Gneiting, Raftery: Strictly proper scoring rules, prediction, and estimation (JASA 102, 2007, 359-378): the pinball loss.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from sluice.problems.answers import Answers
from sluice.problems.forecast import QUANTILES, Truth
from sluice.problems.of_means import OfMeans

#: Of the answers the one that is the forecast, and how many of the values the outer two should hold.
MIDDLE, NOMINAL = QUANTILES.index(0.5), QUANTILES[-1] - QUANTILES[0]


def truth(a: Answers) -> Truth:
    """What is true of the rows."""
    return Truth.of(a.targets, a.outputs.shape[1])


def known_mean(each: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The mean over a row's values that are known: [rows, 1]; 0 where none is."""
    known = ~np.isnan(values)
    return np.asarray(np.where(known, each, 0.0).sum(axis=1) / np.maximum(1, known.sum(axis=1)))[:, None]


@dataclasses.dataclass(frozen=True)
class Mase(OfMeans):
    """The mean absolute error of the middle quantile, in the series' own error of seasonal naive forecasts before what is held out."""

    most: float = math.inf

    def moments(self, a: Answers) -> np.ndarray:
        t = truth(a)
        return known_mean(np.abs(t.values - a.outputs[:, :, MIDDLE]) / t.scale, t.values)


@dataclasses.dataclass(frozen=True)
class Pinball(OfMeans):
    """The pinball loss, mean over steps and quantiles, in the same error."""

    most: float = math.inf

    def moments(self, a: Answers) -> np.ndarray:
        t = truth(a)
        error = t.values[:, :, None] - a.outputs
        q = np.array(QUANTILES)
        return known_mean(np.maximum(q * error, (q - 1) * error).mean(axis=2) / t.scale, t.values)


@dataclasses.dataclass(frozen=True)
class Smape(OfMeans):
    """The absolute error over the mean size of value and forecast, 0 to 2; 0 where both are 0."""

    def moments(self, a: Answers) -> np.ndarray:
        t = truth(a)
        forecast = a.outputs[:, :, MIDDLE]
        size = np.abs(t.values) + np.abs(forecast)
        return known_mean(2 * np.abs(t.values - forecast) / np.where(size > 0, size, 1.0), t.values)


class Coverage(OfMeans):
    """How many of the values lie between the outer quantiles."""

    def moments(self, a: Answers) -> np.ndarray:
        t = truth(a)
        inside = (t.values >= a.outputs[:, :, 0]) & (t.values <= a.outputs[:, :, -1])
        return known_mean(inside.astype(np.float64), t.values)


class CoverageGap(Coverage):
    """How far that is from what it should be."""

    def combine(self, means: np.ndarray) -> np.ndarray:
        return np.asarray(np.abs(means[..., 0] - NOMINAL))
