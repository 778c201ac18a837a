"""Metrics of the order that probabilities put rows in: areas under curves."""

from __future__ import annotations

import math

import numpy as np

from sluice.problems import clustered, ranks
from sluice.problems.answers import Answers
from sluice.problems.intervals import Interval
from sluice.problems.metric import Metric
from sluice.problems.units import Units


class OfRanks(Metric):
    """Of the order that probabilities put rows in: of two labels the positive one's, of more the mean of each against the rest."""

    by_rows = "brier"

    def method(self, units: Units | None = None) -> str:
        return "paired influence, over units" if units else "paired influence"

    def alike(self, ours: Answers, theirs: Answers) -> bool:
        def order(a: Answers, k: int) -> np.ndarray:
            return np.unique(a.outputs[:, k], return_inverse=True)[1]

        return all(np.array_equal(order(ours, k), order(theirs, k)) for k in range(ours.labels))

    def areas(self, a: Answers) -> list[float | None]:
        """Each label's own area; null where there are no rows of it, or no others."""
        return self._scored(a)[0]

    def _scored(self, a: Answers) -> tuple[list[float | None], np.ndarray | None]:
        """Each label's area, and the influence of the value: the positive label's, or the labels' mean. Found once for some answers."""
        if self.name not in a.memo:
            area = ranks.roc_auc if self.name == "roc_auc" else ranks.average_precision
            a.memo[self.name] = ranks.each(area, a.outputs, a.targets, a.positive if a.labels == 2 else None)
        return a.memo[self.name]  # type: ignore[no-any-return]

    def value(self, a: Answers) -> float:
        areas, _ = self._scored(a)
        known = [v for v in ([areas[a.positive or 0]] if a.labels == 2 else areas) if v is not None]
        return float(np.mean(known)) if known else math.nan

    def interval(self, a: Answers, confidence: float, resamples: int) -> Interval | None:
        influence, value = self._scored(a)[1], self.value(a)
        if influence is None:
            return None
        return ranks.logit_interval(value, _reach(influence, a, confidence)) or self._sure(a, value, confidence)

    def difference(self, ours: Answers, theirs: Answers, confidence: float, resamples: int) -> Interval | None:
        first, second = self._scored(ours)[1], self._scored(theirs)[1]
        if first is None or second is None:
            return None
        left, right = self.value(ours), self.value(theirs)
        reach = _reach(first - second, ours, confidence)
        low, high = left - right - reach, left - right + reach
        if not reach > 0:  # no row tells the variance: the limits of both, as if they were apart
            (l1, u1), (l2, u2) = self._sure(ours, left, confidence), self._sure(theirs, right, confidence)
            low, high = left - right - math.hypot(left - l1, u2 - right), left - right + math.hypot(u1 - left, right - l2)
        return max(-1.0, low), min(1.0, high)

    def _sure(self, a: Answers, value: float, confidence: float) -> Interval:
        of = [a.positive or 0] if a.labels == 2 else range(a.labels)
        inside = [k for k in of if 0 < int((a.targets == k).sum()) < len(a.targets)]
        sizes = [(_worth(a, a.targets == k), _worth(a, a.targets != k)) for k in inside]
        return ranks.sure_interval(self.name, [value] * len(inside), sizes, confidence)


def _reach(influence: np.ndarray, a: Answers, confidence: float) -> float:
    return clustered.reach(influence, a.units, confidence) if a.units else ranks.reach_of(influence, a.targets, confidence)


def _worth(a: Answers, rows: np.ndarray) -> float:
    """Of some rows (a mask), how many there are; how many units alike inside are worth where rows belong together."""
    units = a.units.rows(rows) if a.units else None
    return units.effective if units else int(rows.sum())
