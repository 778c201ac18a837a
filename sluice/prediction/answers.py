"""What a package says of rows, as columns; rows it cannot use set apart."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from sluice.errors import InputError
from sluice.packaging.predictor import Predictor
from sluice.packaging.processors import Processor


@dataclasses.dataclass(frozen=True)
class Answered:
    """Rows that were put to a package.

    Attributes:
        good: indices of the rows that were answered.
        answers: theirs: probabilities [good, labels], or values [good].
        errors: for every row null, or why it cannot be used.
    """

    good: list[int]
    answers: np.ndarray
    errors: list[str | None]

    @property
    def bad(self) -> int:
        return len(self.errors) - len(self.good)


def answer(predictor: Predictor, rows: Sequence[Any], batch_size: int = 64, *, tolerate: bool = False) -> Answered:
    """Put rows to a package.

    Args:
        tolerate: leave out the rows that cannot be used and say why; otherwise the first is an error.

    Raises:
        InputError: as `Predictor.predict`, unless `tolerate`.
    """
    try:
        return Answered(list(range(len(rows))), predictor.predict(rows, batch_size), [None] * len(rows))
    except InputError:
        if not tolerate:
            raise
    errors = [problem(predictor.processor, row) for row in rows]
    good = [i for i, error in enumerate(errors) if error is None]
    return Answered(good, predictor.predict([rows[i] for i in good], batch_size), errors)


def problem(processor: Processor, row: Any) -> str | None:
    """Why a row cannot be used: ``column: reason``, or the reason alone; null where it can."""
    try:
        processor.encode([row])
    except InputError as e:
        column = (e.field or "").removeprefix("rows[0]").lstrip(".")
        return f"{column}: {e.message}" if column else e.message
    return None


def columns_of(predictor: Predictor, answers: np.ndarray) -> dict[str, pa.Array]:
    """Answers as columns: ``prediction`` (the label, by the package's decision) and its ``probability``; or ``value``."""
    labels = predictor.package.labels
    if not labels:
        return {"value": pa.array(answers, pa.float32())}
    best = predictor.codes(answers)
    return {"prediction": pa.array(labels, pa.string()).take(pa.array(best)), "probability": pa.array(answers[np.arange(len(best)), best], pa.float32())}


class Tally:
    """Counts over a file's windows: `rows`, `bad`, how often each label was answered, and the first row that cannot be used."""

    def __init__(self) -> None:
        self.rows = self.bad = 0
        self.labels: Counter[str] = Counter()
        self.first_bad: str | None = None

    def add(self, rows: int, bad: int, first_bad: str | None, predictions: pa.Array | None) -> None:
        """Add a window, in the rows' order. `predictions` may have nulls; None for a regression."""
        self.rows += rows
        self.bad += bad
        self.first_bad = self.first_bad or first_bad
        if predictions is not None:
            self.labels.update({c["values"].as_py(): c["counts"].as_py() for c in predictions.drop_null().value_counts()})
