"""How good the answers were: the problem's own metric on the labelled rows of each window, with its interval, against a floor.

A window is under the floor where its whole interval is: chance alone puts no window there more than once in forty. One that has too few labelled
rows has no verdict, which is no good news.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sluice.core.errors import DataError
from sluice.core.spelling import Spelling
from sluice.monitor.config import Quality, Window
from sluice.monitor.windows import Open, cut
from sluice.problems.problem import Problem, problem

if TYPE_CHECKING:
    import pyarrow as pa

    from sluice.problems.answers import Answers
    from sluice.problems.decision import Rule
    from sluice.problems.metric import Metric

Floats = NDArray[np.float64]
_RESAMPLES = 400
_CONFIDENCE = 0.95


class Answering(Protocol):
    """What is asked of a package: `sluice.package.package.Package` is one."""

    @property
    def objective(self) -> str: ...
    @property
    def labels(self) -> Sequence[str]: ...
    @property
    def rule(self) -> Rule | None: ...
    @property
    def metrics(self) -> Mapping[str, Any]: ...
    def profile(self) -> Mapping[str, Any] | None: ...


@dataclasses.dataclass(frozen=True, eq=False)
class Judge:
    """By what a model is judged while it serves.

    Attributes:
        problem, labels, rule: of the package. metric: the deciding one. every: all by name.
        positive: the label that metrics of one label are of: always the same one, whatever a window holds.
        held_out: what the package says of `metric`; None where it says nothing.
    """

    problem: Problem
    labels: tuple[str, ...]
    rule: Rule | None
    metric: Metric
    every: dict[str, Metric]
    positive: str | None = None
    held_out: float | None = None

    @classmethod
    def of(cls, package: Answering, metric: str | None = None, positive: str | None = None) -> Judge:
        """Of a package.

        Args:
            metric: None: the one that such problems are judged by. positive: None: the rule's label, or of two the rarer one in training.

        Raises:
            DataError: its answers are arrays, of which the prediction log keeps one number a row: no metric can be measured on them.
            ProjectError: there is no such metric, or label.
        """
        from sluice.problems.metrics import metric_of, need_positive

        asked = problem(package.objective)
        if not (asked.classes or asked.scalar):
            raise DataError(
                "gives arrays, of which the prediction log keeps one number a row",
                field="model",
                value=package.objective,
                fix="judge it by outcomes told with feedback, or on a labelled file with sluice predict",
            )
        labels = tuple(package.labels)
        counts = ((package.profile() or {}).get("label") or {}).get("counts") or []
        if positive is None and asked.classes and len(labels) == 2:
            positive = package.rule.label if package.rule else labels[0] if len(counts) >= 2 and counts[0] < counts[1] else labels[1]
        every = dict(asked.metrics())
        name = metric_of(metric, asked.name, "monitor.quality.metric")
        need_positive(every[name], 0 if positive is not None else None, len(labels))
        held = package.metrics.get(name)
        return cls(asked, labels, package.rule, every[name], every, positive, float(held) if isinstance(held, int | float) else None)

    def answers(self, outputs: Floats, targets: NDArray[Any]) -> Answers:
        """Checked; the same positive label on any rows."""
        return self.problem.answers(outputs, targets, self.labels, rule=self.rule, positive=self.positive)

    def targets(self, texts: Sequence[str]) -> NDArray[Any]:
        """Labels as feedback tells them -> as metrics take them; -1 for one that the model does not know.

        Raises:
            ValueError: one of them is no answer of such a problem.
        """
        import pyarrow as pa

        told = [self._spelled(t) for t in texts] if self.problem.classes else texts
        return self.problem.targets(pa.chunked_array([pa.array(self.problem.read_back(told))]), self.labels)

    def rows(self, batch: pa.RecordBatch) -> tuple[NDArray[np.bool_], Floats, NDArray[Any]]:
        """Labelled rows -> which can be judged [rows], and these rows' outputs and targets; the others have no output, or a label that is none."""
        texts, outputs = batch.column("label").to_pylist(), self.outputs(batch)
        fine = np.asarray(np.isfinite(outputs).reshape(len(outputs), -1).all(axis=1))
        try:
            targets = self.targets(texts)
        except (ValueError, TypeError, KeyError):
            fine &= np.array([self._readable(t) for t in texts], bool)
            return fine, outputs[fine], self.targets([t for t, f in zip(texts, fine.tolist(), strict=True) if f])
        if targets.dtype.kind == "f":
            fine &= np.isfinite(targets).reshape(len(targets), -1).all(axis=1)
        return fine, outputs[fine], targets[fine]

    def _readable(self, text: str) -> bool:
        try:
            found = self.targets([text])
        except (ValueError, TypeError, KeyError):
            return False
        return found.dtype.kind != "f" or bool(np.isfinite(found).all())

    def _spelled(self, text: str) -> str:
        """The label that a text names: 1, 1.0 and true are one where the model's are written so."""
        try:
            return self._spelling.text(text)
        except ValueError:
            return text

    @functools.cached_property
    def _spelling(self) -> Spelling:
        return Spelling.kept(self.labels)

    def outputs(self, batch: pa.RecordBatch) -> Floats:
        """Of logged rows: probabilities [rows, labels], or values [rows]; NaN where the log has none."""
        if not self.problem.classes:
            if "value" not in batch.schema.names:
                return np.full(batch.num_rows, np.nan)
            return np.asarray(batch.column("value").to_numpy(zero_copy_only=False), dtype=np.float64)
        k = len(self.labels)
        out = np.full((batch.num_rows, k), np.nan)
        if "probabilities" not in batch.schema.names:
            return out
        column = batch.column("probabilities")
        lengths = np.asarray(column.value_lengths().fill_null(0))
        fine = lengths == k
        flat = np.asarray(column.flatten(), dtype=np.float64)
        if fine.all():
            return flat.reshape(-1, k)
        starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
        for i in np.flatnonzero(fine):
            out[i] = flat[starts[i] : starts[i] + k]
        return out

    def wrong(self, a: Answers) -> NDArray[np.bool_]:
        """Of labels: which answers are wrong."""
        return np.asarray(a.predicted != a.targets)


@dataclasses.dataclass(frozen=True)
class Judged:
    """A window's quality.

    Attributes:
        number: of the window, from 0. begun, ended: of its predictions, microseconds since 1970. rows: labelled ones.
        value, low, high: of the metric; None where it is not defined. below: whether all of the interval is worse than the floor; None: no verdict.
    """

    number: int
    begun: int | None
    ended: int | None
    rows: int
    value: float | None
    low: float | None
    high: float | None
    below: bool | None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return dataclasses.asdict(self)


def measured(judge: Judge, outputs: Floats, targets: NDArray[Any]) -> tuple[float | None, float | None, float | None]:
    """The metric of some rows, and its limits; None where it has none."""
    if not len(targets):
        return None, None, None
    a = judge.answers(outputs, targets)
    value = judge.metric.value(a)
    if not np.isfinite(value):
        return None, None, None
    limits = judge.metric.interval(a, _CONFIDENCE, _RESAMPLES)
    return (float(value), None, None) if limits is None else (float(value), float(limits[0]), float(limits[1]))


def under(judge: Judge, floor: float | None, value: float | None, low: float | None, high: float | None) -> bool | None:
    """Whether the whole interval is worse than the floor."""
    if floor is None or value is None:
        return None
    best = (high if judge.metric.sign > 0 else low) if low is not None else value
    return bool(judge.metric.sign * ((best if best is not None else value) - floor) < 0)


@dataclasses.dataclass
class Labelled:
    """Labelled rows as arrays, in the order of their predictions.

    Attributes:
        times, told: of the prediction and of its label, microseconds since 1970, int64 [rows]. outputs: [rows, labels] or [rows]. targets: [rows].
    """

    times: NDArray[np.int64]
    told: NDArray[np.int64]
    outputs: Floats
    targets: NDArray[Any]

    @classmethod
    def of(cls, judge: Judge, batches: Iterable[pa.RecordBatch], most: int = 2_000_000) -> Labelled:
        """From `sluice.monitor.labels.joined`; the last `most` rows, of more."""
        parts: list[tuple[Any, ...]] = []
        held = 0
        for batch in batches:
            batch = batch.filter(batch.column("label").is_valid())
            if not batch.num_rows:
                continue
            fine, outputs, targets = judge.rows(batch)
            times = np.array(_times(batch), dtype=np.int64)
            told = np.asarray(batch.column("labelled_at").to_numpy())
            parts.append((times[fine], told[fine], outputs, targets))
            held += int(fine.sum())
            while held - len(parts[0][0]) >= most:
                held -= len(parts.pop(0)[0])
        if not parts:
            shape = (0, len(judge.labels)) if judge.problem.classes else (0,)
            return cls(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(shape), np.empty(0, np.int64))
        times, told, outputs, targets = (np.concatenate(v) for v in zip(*parts, strict=True))
        order = np.argsort(times, kind="stable")
        return cls(times[order], told[order], outputs[order], targets[order])

    def __len__(self) -> int:
        return len(self.times)


def _times(batch: pa.RecordBatch) -> list[int]:
    from sluice.monitor.labels import microseconds

    return microseconds(batch)


def by_window(judge: Judge, rows: Labelled, config: Quality, window: Window) -> list[Judged]:
    """The quality of each window of labelled rows, in the order of their predictions; the last, still open one too, where it has enough rows."""
    pieces, _ = cut(Open(), rows.times, len(rows), window) if len(rows) else ([], Open())
    found: list[Judged] = []
    start = 0
    for piece in pieces:
        if not piece.closed and piece.stop - start < window.least:
            continue
        inside = slice(start, piece.stop)
        start = piece.stop
        value, low, high = measured(judge, rows.outputs[inside], rows.targets[inside])
        below = under(judge, config.floor, value, low, high)
        times = rows.times[inside]
        found.append(Judged(len(found), int(times[0]), int(times[-1]), piece.window.rows, value, low, high, below))
    return found
