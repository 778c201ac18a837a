"""The metrics that models are judged by: one table, an object a metric, by their standard definitions.

A metric gives its value, its interval on N rows, and the interval of the paired difference of two models on the same
rows. What is not defined on the rows has no value, and says why.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Callable, Sequence
from typing import ClassVar

import numpy as np

from sluice.core.errors import ProjectError
from sluice.problems import counts, intervals, ranks
from sluice.problems.answers import Answers
from sluice.problems.intervals import Interval

#: Differences of metrics are compared up to this: 0.93 - 0.95 is not -0.02 in binary.
ROUNDING = 1e-12

#: From this share of a sum in its largest hundredth on, few rows decide, and a person is told.
_CARRIED = 0.3
#: Fewer rows than this show nothing of rare large errors: by the rule of three what fewer than 3 in n rows have may have been missed.
_ENOUGH = 100

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
        of_positive: it is of the positive label, so there has to be one.
    """

    name: str
    objective: str
    better: str
    least: float = 0.0
    most: float = 1.0
    relative: bool = False
    of_positive: bool = False
    #: It looks at the label that is answered alone, not at probabilities.
    by_label: ClassVar[bool] = False

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

    def alike(self, ours: Answers, theirs: Answers) -> bool:
        """Whether nothing that the metric looks at differs on any row."""
        return np.array_equal(ours.outputs, theirs.outputs)

    def method(self) -> str:
        """How `difference` finds its interval."""
        return "paired bootstrap"

    def too_narrow(self, a: Answers) -> str | None:
        """Why the interval may miss more often than it says; null where nothing on these rows tells so."""
        return None

    def difference_too_narrow(self, rows: int) -> str | None:
        """The same of a difference's interval on so many rows."""
        return None

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

    by_label = True

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
        m = 3 * ours.labels + 1

        def both(cells: np.ndarray, weights: np.ndarray) -> np.ndarray:
            return np.concatenate([counts.totals(cells[:, 0], cells[:, column], ours.labels, weights) for column in (1, 2)])

        cells = np.stack([ours.targets, ours.predicted, theirs.predicted], axis=1)
        resampled = intervals.resample_cells(
            cells, both, lambda t: self._from(t[..., :m], ours) - self._from(t[..., m:], theirs), resamples
        )
        return intervals.bca(value, resampled, confidence)

    def alike(self, ours: Answers, theirs: Answers) -> bool:
        return np.array_equal(ours.predicted, theirs.predicted)

    def method(self) -> str:
        return "newcombe" if self.name in ("accuracy", "recall") else "paired bootstrap"

    def _from(self, found: np.ndarray, a: Answers) -> np.ndarray:
        return counts.from_totals(self.name, found, a.positive or 0)

    def _newcombe(self, ours: Answers, theirs: Answers, rows: np.ndarray, confidence: float) -> Interval | None:
        if not rows.any():
            return None
        right, too = (ours.predicted == ours.targets)[rows], (theirs.predicted == theirs.targets)[rows]
        return intervals.newcombe_paired(
            int((right & too).sum()), int((right & ~too).sum()), int((~right & too).sum()), int((~right & ~too).sum()), confidence
        )

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


def _two(a: Answers) -> Answers:
    """The positive label and the others."""
    return Answers(a.outputs[:, :2], (a.targets == a.positive).astype(np.int64), (a.predicted == a.positive).astype(np.int64), 1)


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
        return self._inside(self._limits(intervals.skewed, self.moments(a), self.combine, confidence))

    def difference(self, ours: Answers, theirs: Answers, confidence: float, resamples: int) -> Interval | None:
        rows = np.concatenate([self.moments(ours), self.moments(theirs)], axis=1)
        k = rows.shape[1] // 2

        def by_means(means: np.ndarray) -> np.ndarray:
            return np.asarray(self.sign * (self.combine(means[..., :k]) - self.combine(means[..., k:])))

        return self._limits(intervals.two_sided, rows, by_means, confidence)

    def method(self) -> str:
        return "paired t, unskewed"

    def too_narrow(self, a: Answers) -> str | None:
        losses = self.moments(a)[:, 0]
        share = intervals.largest_share(losses)
        if share >= _CARRIED:
            part = "row carries" if len(losses) <= 100 else f"1% of the rows ({math.ceil(len(losses) / 100):,}) carry"
            return f"the interval of {self.name} may be too narrow: the largest {part} {share:.0%} of the sum, and rows like these are few"
        return None

    def difference_too_narrow(self, rows: int) -> str | None:
        return f"of {rows} rows, fewer than {_ENOUGH}, the interval may be too narrow" if rows < _ENOUGH else None

    @staticmethod
    def _limits(
        method: Callable[[float, np.ndarray, float], Interval | None],
        rows: np.ndarray,
        statistic: Callable[[np.ndarray], np.ndarray],
        confidence: float,
    ) -> Interval | None:
        if len(rows) < 2:
            return None
        return method(float(statistic(rows.mean(axis=0))), intervals.leave_one_out(rows, statistic), confidence)

    def _inside(self, found: Interval | None) -> Interval | None:
        return (max(self.least, found[0]), min(self.most, found[1])) if found else None


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

    def interval(self, a: Answers, confidence: float, resamples: int) -> Interval | None:
        """Of the mean (of squares), whose limits' roots are those of the rmse; errors have no bound, so what may lie beyond the largest counts too."""
        losses = self.moments(a)
        found = self._limits(intervals.skewed, losses, lambda means: means[..., 0], confidence)
        if found is None:
            return None
        low, high = max(0.0, found[0]), found[1] + intervals.unseen(losses[:, 0], confidence)
        return (math.sqrt(low), math.sqrt(high)) if self.name == "rmse" else (low, high)

    def too_narrow(self, a: Answers) -> str | None:
        rows = len(a.targets)
        if rows < _ENOUGH:
            return f"the interval of {self.name} may be too narrow: {rows} rows show no large error that fewer than one row in {max(1, rows // 3)} has"
        return super().too_narrow(a)


class Determination(OfMeans):
    """r2. The targets are centred first, so that the difference of squares keeps its digits."""

    def moments(self, a: Answers) -> np.ndarray:
        error, centred = a.outputs - a.targets, a.targets - a.targets.mean()
        return np.stack([error * error, centred, centred * centred], axis=1)

    def combine(self, means: np.ndarray) -> np.ndarray:
        variance = means[..., 2] - means[..., 1] ** 2
        floor = 1e-12 * np.maximum(means[..., 2], 1e-300)
        return np.where(variance > floor, 1 - means[..., 0] / np.where(variance > floor, variance, 1), np.nan)

    def interval(self, a: Answers, confidence: float, resamples: int) -> Interval | None:
        return self._inside(self._limits(intervals.two_sided, self.moments(a), self.combine, confidence))


class OfRanks(Metric):
    """Of the order that probabilities put rows in: of two labels the positive one's, of more the mean of each against the rest."""

    def method(self) -> str:
        return "paired influence"

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
        return ranks.logit_interval(value, ranks.reach_of(influence, a.targets, confidence)) or self._sure(a, value, confidence)

    def difference(self, ours: Answers, theirs: Answers, confidence: float, resamples: int) -> Interval | None:
        first, second = self._scored(ours)[1], self._scored(theirs)[1]
        if first is None or second is None:
            return None
        left, right = self.value(ours), self.value(theirs)
        reach = ranks.reach_of(first - second, ours.targets, confidence)
        low, high = left - right - reach, left - right + reach
        if not reach > 0:  # no row tells the variance: the limits of both, as if they were apart
            (l1, u1), (l2, u2) = self._sure(ours, left, confidence), self._sure(theirs, right, confidence)
            low, high = left - right - math.hypot(left - l1, u2 - right), left - right + math.hypot(u1 - left, right - l2)
        return max(-1.0, low), min(1.0, high)

    def _sure(self, a: Answers, value: float, confidence: float) -> Interval:
        of = [a.positive or 0] if a.labels == 2 else range(a.labels)
        inside = [p for k in of if 0 < (p := int((a.targets == k).sum())) < len(a.targets)]
        return ranks.sure_interval(self.name, [value] * len(inside), [(p, len(a.targets) - p) for p in inside], confidence)


_C, _R = "classification", "regression"
#: Every metric there is; the first of an objective is the one it is judged by unless told.
TABLE: dict[str, Metric] = {
    m.name: m
    for m in (
        OfCounts("accuracy", _C, "higher"),
        OfCounts("macro_f1", _C, "higher"),
        OfCounts("balanced_accuracy", _C, "higher"),
        OfCounts("mcc", _C, "higher", least=-1.0),
        OfRanks("roc_auc", _C, "higher"),
        OfRanks("average_precision", _C, "higher"),
        LogLoss("log_loss", _C, "lower", most=math.inf),
        Brier("brier", _C, "lower", most=2.0),
        OfCounts("precision", _C, "higher", of_positive=True),
        OfCounts("recall", _C, "higher", of_positive=True),
        OfCounts("f1", _C, "higher", of_positive=True),
        Error("rmse", _R, "lower", most=math.inf, relative=True),
        Error("mae", _R, "lower", most=math.inf, relative=True),
        Determination("r2", _R, "higher", least=-math.inf),
    )
}


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
    raise ProjectError(
        f"is no metric of {objective}",
        field=field,
        value=name,
        fix=(f"did you mean {near[0]!r}? " if near else "") + f"one of {', '.join(known)}",
    )


def need_positive(metric: str, positive: int | None, labels: int) -> None:
    """Raises `ProjectError` where a metric of the positive label is asked of a model that has none."""
    if positive is None and metric in TABLE and TABLE[metric].of_positive:
        raise ProjectError(
            f"is not set, and {metric} is of one label of {labels}",
            field="evaluate.positive",
            fix="name the label, or judge by macro_f1 or balanced_accuracy",
        )


def sign(metric: str) -> int:
    """-1 where smaller is better, also of the loss that training goes by."""
    return TABLE[metric].sign if metric in TABLE else -1


def allowance(metric: str, margin: float, reference: float) -> float:
    """`margin` in the metric's own unit: as it stands, or that fraction of `reference` for rmse and mae."""
    return margin * abs(reference) if TABLE[metric].relative else margin


def value_of(
    metric: str, outputs: np.ndarray, targets: np.ndarray, *, predicted: np.ndarray | None = None, positive: int | None = None
) -> float:
    """A metric of probabilities [N, labels] or values [N], see `Answers.of`. NaN where it is undefined."""
    return TABLE[metric].value(Answers.of(outputs, targets, predicted, positive))
