"""What a model said of rows, and what is true of them: what metrics, curves and comparisons work on."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Sequence
from typing import Any

import numpy as np

from sluice.core.errors import DataError, ProjectError, SluiceError
from sluice.problems.decision import Rule, codes
from sluice.problems.units import Units


@dataclasses.dataclass(frozen=True, eq=False)
class Answers:
    """What a model said of rows, and what is true of them.

    Attributes:
        outputs: probabilities float64 [N, labels], or values float64 [N].
        targets: indices into the labels int64 [N], -1 for a label the model does not know; or values float64 [N].
        predicted: what is answered, indices into the labels int64 [N]; empty for a regression.
        positive: index of the positive label; None where there is none.
        units: which rows belong together; None: each stands alone.
        memo: what was found of them and may be asked for again.
    """

    outputs: np.ndarray
    targets: np.ndarray
    predicted: np.ndarray
    positive: int | None
    units: Units | None = None
    memo: dict[str, Any] = dataclasses.field(default_factory=dict, repr=False)

    @classmethod
    def of(
        cls,
        outputs: np.ndarray,
        targets: np.ndarray,
        predicted: np.ndarray | None = None,
        positive: int | None = None,
        units: Units | None = None,
    ) -> Answers:
        """Without `predicted` the most probable label is answered; of two labels the second is the positive one unless told."""
        if outputs.ndim == 1:
            return cls(outputs, targets, np.empty(0, dtype=np.int64), None, units)
        if positive is None and outputs.shape[1] == 2:
            positive = 1
        return cls(outputs, targets, outputs.argmax(axis=1) if predicted is None else predicted, positive, units)

    @property
    def labels(self) -> int:
        """How many labels the model knows."""
        return self.outputs.shape[1]

    def rows(self, chosen: np.ndarray) -> Answers:
        """The answers of some rows: a mask or indices."""
        return Answers(
            self.outputs[chosen],
            self.targets[chosen],
            self.predicted[chosen] if len(self.predicted) else self.predicted,
            self.positive,
            self.units.rows(chosen) if self.units else None,
        )


def rarer(targets: np.ndarray, labels: Sequence[str]) -> str | None:
    """The label that fewer rows have, of two; the second where both have as many. None unless there are two labels."""
    if len(labels) != 2:
        return None
    rows = np.bincount(targets[targets >= 0], minlength=2)
    return labels[0] if rows[0] < rows[1] else labels[1]


def positive_index(positive: str | None, labels: Sequence[str]) -> int | None:
    """Where the positive label stands. Raises `ProjectError` where it is no label."""
    if positive is None:
        return None
    if positive not in labels:
        near = difflib.get_close_matches(positive, labels, 1, 0.5)
        raise ProjectError(
            "is no label of the data",
            field="evaluate.positive",
            value=positive,
            fix=(f"did you mean {near[0]!r}? " if near else "") + f"labels: {', '.join(list(labels)[:20])}",
        )
    return labels.index(positive)


def answers(
    outputs: np.ndarray,
    targets: np.ndarray,
    labels: Sequence[str],
    *,
    rule: Rule | None = None,
    positive: str | None = None,
    units: Units | None = None,
) -> Answers:
    """A model's answers, checked.

    Args:
        outputs: probabilities [N, labels], or values [N].
        targets: indices into `labels`, -1 for others; or values.
        labels: class names; empty for regression.
        rule: how probabilities become a label.
        positive: the positive label; of two, the rarer one of these rows unless told.
        units: which rows belong together; None: each stands alone.

    Raises:
        DataError, SluiceError: as `checked`.
        ProjectError: `positive` is no label.
    """
    outputs, targets = checked(outputs, targets, labels)
    if not labels:
        return Answers.of(outputs, targets, units=units)
    return Answers.of(outputs, targets, codes(outputs, labels, rule), positive_index(positive or rarer(targets, labels), labels), units)


def checked(outputs: np.ndarray, targets: np.ndarray, labels: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Outputs as float64 ([N, labels] or [N]) and targets as int64 or float64 [N].

    Raises:
        DataError: no rows, or rows or labels that do not match.
        SluiceError: the model answered NaN or infinity.
    """
    outputs = np.asarray(outputs, dtype=np.float64)
    targets = np.asarray(targets, dtype=np.int64 if labels else np.float64)
    shape = (len(targets), len(labels)) if labels else (len(targets),)
    if not len(targets):
        raise DataError("has no rows to judge a model on", field="test split", fix="raise data.split.test, or name a data.test file")
    if outputs.shape != shape:
        raise DataError(f"have shape {list(outputs.shape)}, the held-out rows need {list(shape)}", field="the model's outputs")
    if labels and (targets.max() >= len(labels) or targets.min() < -1):
        raise DataError("is no index of a label", field="targets", value=int(targets[(targets >= len(labels)) | (targets < -1)][0]))
    bad = ~np.isfinite(outputs).reshape(len(outputs), -1).all(axis=1)
    if bad.any():
        raise SluiceError(
            f"are not finite on {int(bad.sum())} of {len(bad)} rows",
            field="the model's outputs",
            value=outputs[int(np.argmax(bad))].tolist(),
            fix="train with a smaller learning_rate or a gradient_clip",
        )
    if not labels and not np.isfinite(targets).all():
        raise DataError("are not finite", field="targets", value=float(targets[~np.isfinite(targets)][0]))
    return outputs, targets
