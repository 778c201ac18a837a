"""The metrics that models are judged by: one table, an object a metric, by their standard definitions.

A metric gives its value, its interval on N rows, and the interval of the paired difference of two models on the same
rows. What is not defined on the rows has no value, and says why.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Callable, Sequence

import numpy as np

from sluice.errors import ProjectError
from sluice.evaluation import counts, intervals, ranks
from sluice.evaluation.answers import Answers
from sluice.evaluation.intervals import Interval

#: Differences of metrics are compared up to this: 0.93 - 0.95 is not -0.02 in binary.
ROUNDING = 1e-12

_EPSILON = float(np.finfo(np.float64).eps)


@dataclasses.dataclass(frozen=True)
class Metric:
    """One metric.

    Attributes:
        name: in project files and reports.
        objective: ``classification`` or ``regression``.
        better: ``higher`` or ``lower``.
        least, most: where its values lie.
        relative: it has the target's own unit, so a margin on it is a fraction of a value.
        by_label: it looks at the label that is answered alone, not at probabilities.
        of_positive: it is of the positive label, so there has to be one.
    """

    name: str
    objective: str
    better: str
    least: float = 0.0
    most: float = 1.0
    relative: bool = False
    by_label: bool = False
    of_positive: bool = False

    @property
    def sign(self) -> int:
        """-1 where smaller is better, so that `sign * value` is always better when larger."""
        return 1 if self.better == "higher" else -1

    def value(self, a: Answers) -> float:
        """The value on these rows; NaN where it is not defined."""
        raise NotImplementedError

    def interval(self, a: Answers, confidence: float, resamples: int) -> Interval | None:
        """The value's interval; None where there is none."""
        raise NotImplementedError

    def difference(self, ours: Answers, theirs: Answers, confidence: float, resamples: int) -> Interval | None:
        """The interval of the difference on the same rows, turned so that more is better for ours."""
        raise NotImplementedError

    def method(self) -> str:
        """How `difference` finds its interval."""
        return "paired bootstrap"

    def why(self, a: Answers) -> str:
        """Why there is no value."""
        if self.objective == "regression":
            return "the targets do not vary"
        if self.name == "precision":
            return "the positive label is never predicted"
        if self.of_positive:
            return "no row has the positive label"
        return "all rows have one label"


class OfCounts(Metric):
    """Of what was answered: resampled by cells of (target, answer), equal rows together."""

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
        if self.name == "f1":
            table = np.bincount(2 * (a.targets == a.positive) + (a.predicted == a.positive), minlength=4)
            return intervals.bca(value, intervals.resample_table(table, _f1, resamples), confidence)
        cells = np.stack([a.targets, a.predicted], axis=1)
        return intervals.bca(value, intervals.resample_cells(cells, self._on(a, 1), resamples), confidence)

    def difference(self, ours: Answers, theirs: Answers, confidence: float, resamples: int) -> Interval | None:
        if self.name == "accuracy":
            return self._newcombe(ours, theirs, np.ones(len(ours.targets), dtype=bool), confidence)
        if self.name == "recall":  # an accuracy on the rows of the label
            return self._newcombe(ours, theirs, ours.targets == ours.positive, confidence)
        value = self.value(ours) - self.value(theirs)
        first, second = self._on(ours, 1), self._on(ours, 2)
        cells = np.stack([ours.targets, ours.predicted, theirs.predicted], axis=1)
        resampled = intervals.resample_cells(cells, lambda c, w: first(c, w) - second(c, w), resamples)
        return intervals.bca(value, resampled, confidence)

    def method(self) -> str:
        return "newcombe" if self.name in ("accuracy", "recall") else "paired bootstrap"

    def _on(self, a: Answers, column: int) -> Callable[[np.ndarray, np.ndarray], float]:
        return lambda cells, weights: counts.from_codes(self.name, cells[:, 0], cells[:, column], a.labels, weights, of=a.positive or 0)

    def _newcombe(self, ours: Answers, theirs: Answers, rows: np.ndarray, confidence: float) -> Interval | None:
        if not rows.any():
            return None
        right, too = (ours.predicted == ours.targets)[rows], (theirs.predicted == theirs.targets)[rows]
        return intervals.newcombe_paired(int((right & too).sum()), int((right & ~too).sum()), int((~right & too).sum()), int((~right & ~too).sum()),
                                         confidence)  # fmt: skip

    def _closed(self, a: Answers, value: float, confidence: float) -> Interval | None:
        """A closed form where there is one, or where no resample could change the value."""
        true, named, hit = counts.class_counts(a.targets, a.predicted, a.labels)
        of, right = a.positive or 0, a.targets == a.predicted
        if self.name == "accuracy":
            return intervals.wilson(float(right.sum()), len(right), confidence)
        if self.name == "precision":
            return intervals.wilson(float(hit[of]), float(named[of]), confidence)
        if self.name == "recall" or (self.name == "f1" and value in (0, 1)):
            return intervals.wilson(float(hit[of]), float(true[of]), confidence) if true[of] else (0.0, 1.0)
        if self.name == "balanced_accuracy" or right.all():
            rows_of = np.bincount(a.targets + 1, minlength=a.labels + 1)
            hits = np.bincount(a.targets[right] + 1, minlength=a.labels + 1)
            low, high = intervals.mean_of_proportions(hits[rows_of > 0], rows_of[rows_of > 0], confidence)
            return (max(-1.0, 2 * low - 1), 1.0) if self.name == "mcc" else (low, high)
        return None


def _f1(table: np.ndarray) -> np.ndarray:
    """F1 of rows neither of the class nor named so, named so alone, of it alone, and both [..., 4]."""
    wrong, hit = table[..., 1] + table[..., 2], 2.0 * table[..., 3]
    return np.divide(hit, wrong + hit, out=np.full(hit.shape, np.nan), where=wrong + hit > 0)


class OfMeans(Metric):
    """A function of means over rows."""

    def moments(self, a: Answers) -> np.ndarray:
        """What the metric is a function of the mean of: float64 [N, k]."""
        raise NotImplementedError

    def combine(self, means: np.ndarray) -> np.ndarray:
        """The metric from mean moments [..., k]."""
        return np.asarray(means[..., 0])

    def value(self, a: Answers) -> float:
        return float(self.combine(self.moments(a).mean(axis=0)))

    def interval(self, a: Answers, confidence: float, resamples: int) -> Interval | None:
        rows = self.moments(a)
        return intervals.bca(float(self.combine(rows.mean(axis=0))), intervals.resample_means(rows, self.combine, resamples), confidence)

    def difference(self, ours: Answers, theirs: Answers, confidence: float, resamples: int) -> Interval | None:
        rows = np.concatenate([self.moments(ours), self.moments(theirs)], axis=1)
        k = rows.shape[1] // 2

        def by_means(means: np.ndarray) -> np.ndarray:
            return np.asarray(self.sign * (self.combine(means[..., :k]) - self.combine(means[..., k:])))

        return intervals.bca(float(by_means(rows.mean(axis=0))), intervals.resample_means(rows, by_means, resamples), confidence)


class LogLoss(OfMeans):
    """-log of the true label's probability in nats; clipped at machine epsilon, as scikit-learn does."""

    def moments(self, a: Answers) -> np.ndarray:
        own = np.where(a.targets < 0, 0.0, np.take_along_axis(a.outputs, np.maximum(a.targets, 0)[:, None], axis=1)[:, 0])
        return np.asarray(-np.log(np.clip(own, _EPSILON, 1 - _EPSILON)))[:, None]


class Brier(OfMeans):
    """The squared distance of probabilities and truth, summed over the labels (Brier 1950); of two labels that of the positive one, half the sum."""

    def moments(self, a: Answers) -> np.ndarray:
        p = np.maximum(a.outputs, 0.0)  # a label that the model does not know stands as -1
        whole = np.square(p - (a.targets[:, None] == np.arange(a.labels))).sum(axis=1) + (a.targets < 0)
        if a.labels != 2:
            return whole[:, None]
        return np.where(a.targets < 0, whole / 2, np.square(p[:, a.positive or 0] - (a.targets == a.positive)))[:, None]


class Error(OfMeans):
    """rmse, mae."""

    def moments(self, a: Answers) -> np.ndarray:
        error = a.outputs - a.targets
        return np.asarray(error * error if self.name == "rmse" else np.abs(error))[:, None]

    def combine(self, means: np.ndarray) -> np.ndarray:
        return np.asarray(np.sqrt(means[..., 0]) if self.name == "rmse" else means[..., 0])


class Determination(OfMeans):
    """r2. The targets are centred first, so that the difference of squares keeps its digits."""

    def moments(self, a: Answers) -> np.ndarray:
        error, centred = a.outputs - a.targets, a.targets - a.targets.mean()
        return np.stack([error * error, centred, centred * centred], axis=1)

    def combine(self, means: np.ndarray) -> np.ndarray:
        variance = means[..., 2] - means[..., 1] ** 2
        floor = 1e-12 * np.maximum(means[..., 2], 1e-300)
        return np.where(variance > floor, 1 - means[..., 0] / np.where(variance > floor, variance, 1), np.nan)


class OfRanks(Metric):
    """Of the order that probabilities put rows in: of two labels the positive one's, of more the mean of each against the rest."""

    def method(self) -> str:
        return "paired influence"

    def _scored(self, a: Answers) -> ranks.Scored | None:
        area = ranks.roc_auc if self.name == "roc_auc" else ranks.average_precision
        if a.labels == 2:
            assert a.positive is not None
            return area(a.outputs[:, a.positive], a.targets == a.positive)
        return ranks.macro(area, a.outputs, a.targets)

    def value(self, a: Answers) -> float:
        found = self._scored(a)
        return math.nan if found is None else found[0]

    def interval(self, a: Answers, confidence: float, resamples: int) -> Interval | None:
        found = self._scored(a)
        if found is None:
            return None
        return ranks.logit_interval(found[0], ranks.reach_of(found[1], a.targets, confidence)) or self._sure(a, found[0], confidence)

    def difference(self, ours: Answers, theirs: Answers, confidence: float, resamples: int) -> Interval | None:
        first, second = self._scored(ours), self._scored(theirs)
        if first is None or second is None:
            return None
        value = first[0] - second[0]
        reach = ranks.reach_of(first[1] - second[1], ours.targets, confidence)
        limits = value - reach, value + reach
        if not reach > 0:  # no row tells the variance: the limits of both, as if they were apart
            (l1, u1), (l2, u2) = self._sure(ours, first[0], confidence), self._sure(theirs, second[0], confidence)
            limits = value - math.hypot(first[0] - l1, u2 - second[0]), value + math.hypot(u1 - first[0], second[0] - l2)
        return max(-1.0, limits[0]), min(1.0, limits[1])

    def _sure(self, a: Answers, value: float, confidence: float) -> Interval:
        of = [a.positive or 0] if a.labels == 2 else range(a.labels)
        inside = [p for k in of if 0 < (p := int((a.targets == k).sum())) < len(a.targets)]
        return ranks.sure_interval(self.name, [value] * len(inside), [(p, len(a.targets) - p) for p in inside], confidence)


_C, _R = "classification", "regression"
#: Every metric there is; the first of an objective is the one it is judged by unless told.
TABLE: dict[str, Metric] = {m.name: m for m in (
    OfCounts("accuracy", _C, "higher", by_label=True), OfCounts("macro_f1", _C, "higher", by_label=True), OfCounts("balanced_accuracy", _C, "higher", by_label=True),
    OfCounts("mcc", _C, "higher", least=-1.0, by_label=True), OfRanks("roc_auc", _C, "higher"), OfRanks("average_precision", _C, "higher"),
    LogLoss("log_loss", _C, "lower", most=math.inf), Brier("brier", _C, "lower", most=2.0),
    OfCounts("precision", _C, "higher", by_label=True, of_positive=True), OfCounts("recall", _C, "higher", by_label=True, of_positive=True),
    OfCounts("f1", _C, "higher", by_label=True, of_positive=True),
    Error("rmse", _R, "lower", most=math.inf, relative=True), Error("mae", _R, "lower", most=math.inf, relative=True),
    Determination("r2", _R, "higher", least=-math.inf),
)}  # fmt: skip


def names(objective: str, *, positive: bool = True) -> tuple[str, ...]:
    """The metrics of an objective; those of the positive label too unless there is none."""
    return tuple(m.name for m in TABLE.values() if m.objective == objective and (positive or not m.of_positive))


def metric_of(name: str | None, objective: str, field: str = "evaluate.metric", others: Sequence[str] = ()) -> str:
    """The metric a model is judged by: `name`, or accuracy and rmse.

    Args:
        name: as the project says it.
        objective: of the model.
        field: where the project says it.
        others: names that are none of the table's but known at that place (``loss``).

    Raises:
        ProjectError: there is no such metric, or it is of the other objective; the nearest name is told.
    """
    known = (*others, *names(objective))
    if name is None:
        return names(objective)[0]
    if name in known:
        return name
    near = difflib.get_close_matches(name.lower().replace("-", "_"), known, 1, 0.5)
    raise ProjectError(f"is no metric of {objective}", field=field, value=name,
                       fix=(f"did you mean {near[0]!r}? " if near else "") + f"one of {', '.join(known)}")  # fmt: skip


def need_positive(metric: str, positive: int | None, labels: int) -> None:
    """Raises `ProjectError` where a metric of the positive label is asked of a model that has none."""
    if positive is None and metric in TABLE and TABLE[metric].of_positive:
        raise ProjectError(f"is not set, and {metric} is of one label of {labels}", field="evaluate.positive",
                           fix="name the label, or judge by macro_f1 or balanced_accuracy")  # fmt: skip


def sign(metric: str) -> int:
    """-1 where smaller is better, also of the loss that training goes by."""
    return TABLE[metric].sign if metric in TABLE else -1


def allowance(metric: str, margin: float, reference: float) -> float:
    """`margin` in the metric's own unit: as it stands, or that fraction of `reference` for rmse and mae."""
    return margin * abs(reference) if TABLE[metric].relative else margin


def value_of(metric: str, outputs: np.ndarray, targets: np.ndarray, *, predicted: np.ndarray | None = None, positive: int | None = None) -> float:
    """A metric of probabilities [N, labels] or values [N], see `Answers.of`. NaN where it is undefined."""
    return TABLE[metric].value(Answers.of(outputs, targets, predicted, positive))
