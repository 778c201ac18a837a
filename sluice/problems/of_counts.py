"""Metrics of what was answered: accuracy, F1 and their like, from counts by class."""

from __future__ import annotations

import math

import numpy as np

from sluice.problems import clustered, counts, intervals
from sluice.problems.answers import Answers
from sluice.problems.intervals import Interval
from sluice.problems.metric import Metric
from sluice.problems.units import Units


class OfCounts(Metric):
    """Of what was answered: resampled by cells of (target, answer), equal rows together."""

    by_label = True
    by_rows = "accuracy"

    def losses(self, a: Answers) -> np.ndarray | None:
        return (a.predicted != a.targets).astype(np.float64)

    def value(self, a: Answers) -> float:
        return counts.from_codes(self.name, a.targets, a.predicted, a.labels, of=a.positive or 0)

    def interval(self, a: Answers, confidence: float, resamples: int) -> Interval | None:
        value = self.value(a)
        constant = self.name == "mcc" and len(np.unique(a.predicted)) == 1  # 0 by convention, on any rows
        if constant or not math.isfinite(value):
            return None
        closed = self._closed(a, value, confidence)
        if closed is not None:
            return closed
        if self.of_positive:  # of all others it matters only that they are others
            a = _two(a)
        if a.units:

            def whole(rows: np.ndarray) -> np.ndarray:
                return counts.totals(a.targets[rows], a.predicted[rows], a.labels)

            found = clustered.of_sums(whole, a.units, lambda t: self._from(t, a), confidence)
            return (max(self.least, found[0]), min(self.most, found[1])) if found else None
        cells = np.stack([a.targets, a.predicted], axis=1)
        resampled = intervals.resample_cells(
            cells, lambda c, w: counts.totals(c[:, 0], c[:, 1], a.labels, w), lambda t: self._from(t, a), resamples
        )
        return intervals.bca(value, resampled, confidence)

    def difference(self, ours: Answers, theirs: Answers, confidence: float, resamples: int) -> Interval | None:
        if self.name == "accuracy":
            return self._newcombe(ours, theirs, np.ones(len(ours.targets), dtype=bool), confidence)
        if self.name == "recall":  # an accuracy on the rows of the label
            return self._newcombe(ours, theirs, ours.targets == ours.positive, confidence)
        value = self.value(ours) - self.value(theirs)
        if self.of_positive:
            ours, theirs = _two(ours), _two(theirs)
        m, units = 3 * ours.labels + 1, ours.units

        def gap(t: np.ndarray) -> np.ndarray:
            return self._from(t[..., :m], ours) - self._from(t[..., m:], theirs)

        if units:

            def whole(rows: np.ndarray) -> np.ndarray:
                return np.concatenate([counts.totals(x.targets[rows], x.predicted[rows], x.labels) for x in (ours, theirs)])

            return clustered.of_sums(whole, units, gap, confidence)

        def both(cells: np.ndarray, weights: np.ndarray) -> np.ndarray:
            return np.concatenate([counts.totals(cells[:, 0], cells[:, column], ours.labels, weights) for column in (1, 2)])

        cells = np.stack([ours.targets, ours.predicted, theirs.predicted], axis=1)
        return intervals.bca(value, intervals.resample_cells(cells, both, gap, resamples), confidence)

    def alike(self, ours: Answers, theirs: Answers) -> bool:
        return np.array_equal(ours.predicted, theirs.predicted)

    def method(self, units: Units | None = None) -> str:
        if self.name in ("accuracy", "recall"):
            return "newcombe, over units" if units else "newcombe"
        return "paired t, unskewed, over units" if units else "paired bootstrap"

    def _from(self, found: np.ndarray, a: Answers) -> np.ndarray:
        return counts.from_totals(self.name, found, a.positive or 0)

    def _newcombe(self, ours: Answers, theirs: Answers, rows: np.ndarray, confidence: float) -> Interval | None:
        if not rows.any():
            return None
        right, too = (ours.predicted == ours.targets)[rows], (theirs.predicted == theirs.targets)[rows]
        return clustered.paired_proportions(right, too, ours.units.rows(rows) if ours.units else None, confidence)

    def _closed(self, a: Answers, value: float, confidence: float) -> Interval | None:
        """A closed form where there is one, or where no resample could change the value."""
        of, right = a.positive or 0, a.targets == a.predicted
        if self.name == "accuracy":
            return _share(a, right, np.ones(len(right), dtype=bool), confidence)
        if self.name == "precision":
            return _share(a, right, a.predicted == of, confidence)
        if self.name == "recall" or (self.name == "f1" and value in (0, 1)):
            return _share(a, right, a.targets == of, confidence) if (a.targets == of).any() else (0.0, 1.0)
        if right.all() or (self.name == "balanced_accuracy" and not a.units):
            low, high = _mean_share(a, right, confidence)
            return (max(-1.0, 2 * low - 1), 1.0) if self.name == "mcc" else (low, high)
        return None


def _share(a: Answers, right: np.ndarray, rows: np.ndarray, confidence: float) -> Interval:
    """Of some rows (a mask), the share that is right."""
    return clustered.proportion(right[rows], a.units.rows(rows) if a.units else None, confidence)


def _mean_share(a: Answers, right: np.ndarray, confidence: float) -> Interval:
    """The mean over the classes of the share that is right. Where rows belong together classes are not independent: the mean of their limits."""
    rows_of = np.bincount(a.targets + 1, minlength=a.labels + 1)
    hits = np.bincount(a.targets[right] + 1, minlength=a.labels + 1)
    if not a.units:
        return intervals.mean_of_proportions(hits[rows_of > 0], rows_of[rows_of > 0], confidence)
    limits = [_share(a, right, a.targets == k, confidence) for k in np.unique(a.targets)]
    low, high = np.mean(limits, axis=0)
    return float(low), float(high)


def _two(a: Answers) -> Answers:
    """The positive label and the others."""
    return Answers(a.outputs[:, :2], (a.targets == a.positive).astype(np.int64), (a.predicted == a.positive).astype(np.int64), 1, a.units)
