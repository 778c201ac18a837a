"""What a package says of rows, as columns; rows it cannot use set apart."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from sluice.core.errors import InputError
from sluice.engines.predictor import Predictor
from sluice.fields import Processor
from sluice.problems import problem as problems

#: Why a row that says nothing was not answered.
EMPTY = "is empty"


@dataclasses.dataclass(frozen=True)
class Answered:
    """Rows that were put to a package.

    Attributes:
        good: indices of the rows that were answered.
        answers: theirs: probabilities [good, labels], or values [good].
        errors: for every row null, or why it was not answered.
        empty: rows that say nothing, as training leaves them out too.
    """

    good: list[int]
    answers: np.ndarray
    errors: list[str | None]
    empty: int = 0

    @property
    def bad(self) -> int:
        """Rows that cannot be used."""
        return len(self.errors) - len(self.good) - self.empty


def answer(predictor: Predictor, rows: Sequence[Any], batch_size: int = 64, *, tolerate: bool = False) -> Answered:
    """Put rows to a package.

    Args:
        tolerate: leave out all rows that cannot be used and say why; otherwise those alone that say nothing (a text that is
            null or blank), and the first of the others is an error.

    Raises:
        InputError: as `Predictor.predict`, unless `tolerate`.
    """
    try:
        return Answered(list(range(len(rows))), predictor.predict(rows, batch_size), [None] * len(rows))
    except InputError:
        if not tolerate:
            there = [i for i, row in enumerate(rows) if not _says_nothing(row)]
            if len(there) == len(rows):
                raise
            errors = [EMPTY if _says_nothing(row) else None for row in rows]
            return Answered(there, _predicted(predictor, rows, there, batch_size), errors, len(rows) - len(there))
    errors = [problem(predictor.processor, row) for row in rows]
    good = [i for i, error in enumerate(errors) if error is None]
    return Answered(good, predictor.predict([rows[i] for i in good], batch_size), errors)


def _predicted(predictor: Predictor, rows: Sequence[Any], use: list[int], batch_size: int) -> np.ndarray:
    try:
        return predictor.predict([rows[i] for i in use], batch_size)
    except InputError as e:  # its place counts the rows that were left out too
        at = re.match(r"rows\[(\d+)\]", e.field or "")
        if at is None:
            raise
        raise InputError(e.message, field=f"rows[{use[int(at[1])]}]{(e.field or '')[at.end() :]}", fix=e.fix, value=e.value) from e


def _says_nothing(row: Any) -> bool:
    return row is None or (isinstance(row, str | bytes) and not row.strip())


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
    package = predictor.package
    return problems.problem(package.objective).columns(answers, package.labels, package.rule)


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
