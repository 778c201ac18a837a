"""Answers that are arrays of numbers: several quantities at once, a forecast's horizon, scores of items, an image.

A problem of such answers derives from `Arrays` and brings its metrics; an answer's parts have the names that the package's ``labels`` give.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from sluice.core.errors import DataError, SluiceError
from sluice.problems.metric import Metric
from sluice.problems.problem import Problem

if TYPE_CHECKING:
    import pyarrow as pa

    from sluice.problems.answers import Answers
    from sluice.problems.decision import Rule
    from sluice.problems.units import Units


class Arrays(Problem):
    """Several numbers an answer: FP32 [rows, parts] unless `width` says otherwise. The truth is a list of numbers a row."""

    name: ClassVar[str] = "arrays"
    served: ClassVar[str] = "arrays"
    label: ClassVar[str] = "vector"
    classes: ClassVar[bool] = False
    output: ClassVar[str] = "values"
    linear: ClassVar[str] = ""
    #: Of the targets' deviation.
    answer_change: ClassVar[float] = 0.1

    def labels(self, column: pa.ChunkedArray) -> list[str]:
        """``0``, ``1``, ...: as many as the longest list of a row has numbers."""
        import pyarrow.compute as pc

        return [str(i) for i in range(pc.max(pc.list_value_length(column)).as_py() or 0)]

    def check_labels(self, labels: Sequence[str]) -> None:
        if not labels:
            raise ValueError(f"name no part of an answer, and {self.name} needs one at least")
        if len(set(labels)) != len(labels):
            raise ValueError("name a part of an answer twice")

    def described(self, labels: Sequence[str]) -> str:
        return f"an answer is {len(labels)} numbers"

    def targets(self, column: pa.ChunkedArray, labels: Sequence[str]) -> np.ndarray:
        """float64 [rows, parts].

        Raises:
            DataError: a row has fewer or more numbers than another.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        lengths = pc.unique(pc.list_value_length(column)).to_pylist()
        if len(lengths) > 1:
            raise DataError("has rows of different lengths", field="label", value=sorted(n or 0 for n in lengths)[:5])
        flat = pc.list_flatten(column).cast(pa.float64()).to_numpy(zero_copy_only=False)
        return np.asarray(flat).reshape(len(column), -1)

    def heard(self, answer: Any, labels: Sequence[str], reference: Mapping[str, Any]) -> str:
        """A finite number for each part, where the truth is a list of numbers."""
        from sluice.problems import told

        return (
            told.numbers(told.back(answer) if isinstance(answer, str) else answer, len(labels))
            if self.label == Arrays.label
            else told.plain(answer)
        )

    def width(self, labels: Sequence[str]) -> tuple[int, ...]:
        return (len(labels),)

    @functools.cached_property
    def _metrics(self) -> dict[str, Metric]:
        from sluice.problems.of_parts import MeanError

        return {m.name: m for m in (MeanError("mean_rmse", self.name, "lower"), MeanError("mean_mae", self.name, "lower"))}

    def metrics(self) -> Mapping[str, Metric]:
        """Mean errors over the parts, each in its own deviation."""
        return self._metrics

    def answers(
        self,
        outputs: np.ndarray,
        targets: np.ndarray,
        labels: Sequence[str],
        *,
        rule: Rule | None = None,
        positive: str | None = None,
        units: Units | None = None,
    ) -> Answers:
        """Checked: one answer of `width` for each target, and finite.

        Raises:
            DataError: no rows, or shapes that do not match.
            SluiceError: an output is not finite.
        """
        from sluice.problems.answers import Answers

        outputs, targets = np.asarray(outputs, dtype=np.float64), np.asarray(targets)
        if not len(targets):
            raise DataError("has no rows to judge a model on", field="test split", fix="raise data.split.test, or name a data.test file")
        shape = (len(targets), *self.width(labels))
        if outputs.shape != shape:
            raise DataError(f"have shape {list(outputs.shape)}, the held-out rows need {list(shape)}", field="the model's outputs")
        bad = ~np.isfinite(outputs).reshape(len(outputs), -1).all(axis=1)
        if bad.any():
            raise SluiceError(
                f"are not finite on {int(bad.sum())} of {len(bad)} rows",
                field="the model's outputs",
                fix="train with a smaller learning_rate or a gradient_clip",
            )
        return Answers(outputs, targets, np.empty(0, dtype=np.int64), None, units)

    def pair(
        self, ours: Answers, labels: Sequence[str], outputs: np.ndarray, their_labels: Sequence[str], rule: Rule | None
    ) -> tuple[Answers, Answers, np.ndarray]:
        """All rows. Raises `ValueError` where the other's answers have other parts."""
        if list(labels) != list(their_labels):
            raise ValueError("answers have other parts")
        theirs = self.answers(outputs, ours.targets, their_labels, units=ours.units)
        return ours, theirs, np.ones(len(ours.targets), dtype=bool)

    def told_apart(self, ours: Answers, theirs: Answers) -> dict[str, float]:
        differ = (ours.outputs != theirs.outputs).reshape(len(ours.outputs), -1).any(axis=1)
        return {"n_discordant": int(differ.sum())}

    def constant(self, targets: np.ndarray, labels: Sequence[str], metric: str, positive: str | None) -> tuple[str, np.ndarray]:
        """The mean of each part."""
        return "the means of the training rows", targets.mean(axis=0)

    def missed(self, answer: np.ndarray, targets: np.ndarray) -> np.ndarray:
        return np.ones(len(targets), dtype=bool)

    def details(self, a: Answers, labels: Sequence[str], rule: Rule | None, config: Any) -> dict[str, Any]:
        """Nothing; a problem of its own puts here what its `section` draws."""
        return {}

    def columns(self, outputs: np.ndarray, labels: Sequence[str], rule: Rule | None) -> dict[str, pa.Array]:
        """What `told` gives; where that is nothing, a column for each part."""
        import pyarrow as pa

        told = self.told(outputs, labels)
        if told:
            return {name: pa.array(list(values)) if values.ndim > 1 else pa.array(values) for name, values in told.items()}
        flat = outputs.reshape(len(outputs), -1)
        return {f"{self.output}_{label}": pa.array(flat[:, i], pa.float32()) for i, label in enumerate(labels)}
