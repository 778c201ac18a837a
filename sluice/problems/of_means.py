"""Metrics that are functions of means over rows: losses and errors."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import ClassVar

import numpy as np

from sluice.problems import clustered, intervals
from sluice.problems.answers import Answers
from sluice.problems.intervals import Interval
from sluice.problems.metric import Metric
from sluice.problems.units import Units

#: From this share of a sum in its largest hundredth on, few rows decide, and a person is told.
_CARRIED = 0.3
#: Fewer rows than this show nothing of rare large errors: by the rule of three what fewer than 3 in n rows have may have been missed.
_ENOUGH = 100

_EPSILON = float(np.finfo(np.float64).eps)


class OfMeans(Metric):
    """A function of means over rows."""

    #: Whether its first moment is the loss of a row.
    per_row: ClassVar[bool] = False

    def losses(self, a: Answers) -> np.ndarray | None:
        return -self.sign * self.moments(a)[:, 0] if self.per_row else None

    def moments(self, a: Answers) -> np.ndarray:
        """What the metric is a function of the mean of: float64 [N, k]."""
        raise NotImplementedError

    def combine(self, means: np.ndarray) -> np.ndarray:
        """The metric from mean moments [..., k]."""
        return np.asarray(means[..., 0])

    def value(self, a: Answers) -> float:
        return float(self.combine(self.moments(a).mean(axis=0)))

    def interval(self, a: Answers, confidence: float, resamples: int) -> Interval | None:
        method = intervals.two_sided if a.units else intervals.skewed
        return self._inside(self._limits(method, self.moments(a), a.units, self.combine, confidence))

    def difference(self, ours: Answers, theirs: Answers, confidence: float, resamples: int) -> Interval | None:
        rows = np.concatenate([self.moments(ours), self.moments(theirs)], axis=1)
        k = rows.shape[1] // 2

        def by_means(means: np.ndarray) -> np.ndarray:
            return np.asarray(self.sign * (self.combine(means[..., :k]) - self.combine(means[..., k:])))

        return self._limits(intervals.two_sided, rows, ours.units, by_means, confidence)

    def method(self, units: Units | None = None) -> str:
        return "paired t, unskewed, over units" if units else "paired t, unskewed"

    def too_narrow(self, a: Answers) -> str | None:
        losses = _by_unit(self.moments(a)[:, 0], a.units)
        share = intervals.largest_share(losses)
        if share >= _CARRIED:
            one, many = _called(a)
            part = f"{one} carries" if len(losses) <= 100 else f"1% of the {many} ({math.ceil(len(losses) / 100):,}) carry"
            return (
                f"the interval of {self.name} may be too narrow: the largest {part} {share:.0%} of the sum, and {many} like these are few"
            )
        return None

    def difference_too_narrow(self, a: Answers) -> str | None:
        n = a.units.count if a.units else len(a.targets)
        return f"of {n} {_called(a)[1]}, fewer than {_ENOUGH}, the interval may be too narrow" if n < _ENOUGH else None

    @staticmethod
    def _limits(
        method: Callable[[float, np.ndarray, float, float | None], Interval | None],
        rows: np.ndarray,
        units: Units | None,
        statistic: Callable[[np.ndarray], np.ndarray],
        confidence: float,
    ) -> Interval | None:
        if len(rows) < 2 or (units and units.count < 2):
            return None
        df = units.effective - 1 if units else None
        return method(float(statistic(rows.mean(axis=0))), clustered.left_out(rows, units, statistic), confidence, df)

    def _inside(self, found: Interval | None) -> Interval | None:
        return (max(self.least, found[0]), min(self.most, found[1])) if found else None


def _by_unit(losses: np.ndarray, units: Units | None) -> np.ndarray:
    """What each unit adds to the mean of the rows' losses: [units], of the same mean."""
    return losses if units is None else units.sums(losses) * (units.count / len(losses))


def _called(a: Answers) -> tuple[str, str]:
    """What is counted, one and many."""
    return (f"unit ({a.units.of})", f"units ({a.units.of})") if a.units else ("row", "rows")


class LogLoss(OfMeans):
    """-log of the true label's probability in nats; clipped at machine epsilon, as scikit-learn does."""

    per_row = True

    def moments(self, a: Answers) -> np.ndarray:
        own = np.where(a.targets < 0, 0.0, np.take_along_axis(a.outputs, np.maximum(a.targets, 0)[:, None], axis=1)[:, 0])
        return np.asarray(-np.log(np.clip(own, _EPSILON, 1 - _EPSILON)))[:, None]


class Brier(OfMeans):
    """The squared distance of probabilities and truth, summed over the labels (Brier 1950); of two labels that of the positive one, half the sum."""

    per_row = True

    def moments(self, a: Answers) -> np.ndarray:
        p = np.maximum(a.outputs, 0.0)  # a label that the model does not know stands as -1
        whole = np.square(p - (a.targets[:, None] == np.arange(a.labels))).sum(axis=1) + (a.targets < 0)
        if a.labels != 2:
            return whole[:, None]
        return np.where(a.targets < 0, whole / 2, np.square(p[:, a.positive or 0] - (a.targets == a.positive)))[:, None]


class Error(OfMeans):
    """rmse, mae."""

    per_row = True

    def moments(self, a: Answers) -> np.ndarray:
        error = a.outputs - a.targets
        return np.asarray(error * error if self.name == "rmse" else np.abs(error))[:, None]

    def combine(self, means: np.ndarray) -> np.ndarray:
        return np.asarray(np.sqrt(means[..., 0]) if self.name == "rmse" else means[..., 0])

    def interval(self, a: Answers, confidence: float, resamples: int) -> Interval | None:
        """Of the mean (of squares), whose limits' roots are those of the rmse; errors have no bound, so what may lie beyond the largest counts too."""
        losses = self.moments(a)
        found = self._limits(intervals.two_sided if a.units else intervals.skewed, losses, a.units, lambda means: means[..., 0], confidence)
        if found is None:
            return None
        low, high = max(0.0, found[0]), found[1] + (0.0 if a.units else intervals.unseen(losses[:, 0], confidence))
        return (math.sqrt(low), math.sqrt(high)) if self.name == "rmse" else (low, high)

    def too_narrow(self, a: Answers) -> str | None:
        n, (one, many) = a.units.count if a.units else len(a.targets), _called(a)
        if n < _ENOUGH:
            return f"the interval of {self.name} may be too narrow: {n} {many} show no large error that fewer than one {one} in {max(1, n // 3)} has"
        return super().too_narrow(a)


class Determination(OfMeans):
    """r2. The targets are centred first, so that the difference of squares keeps its digits."""

    by_rows = "rmse"

    def moments(self, a: Answers) -> np.ndarray:
        error, centred = a.outputs - a.targets, a.targets - a.targets.mean()
        return np.stack([error * error, centred, centred * centred], axis=1)

    def combine(self, means: np.ndarray) -> np.ndarray:
        variance = means[..., 2] - means[..., 1] ** 2
        floor = 1e-12 * np.maximum(means[..., 2], 1e-300)
        return np.where(variance > floor, 1 - means[..., 0] / np.where(variance > floor, variance, 1), np.nan)

    def interval(self, a: Answers, confidence: float, resamples: int) -> Interval | None:
        return self._inside(self._limits(intervals.two_sided, self.moments(a), a.units, self.combine, confidence))
