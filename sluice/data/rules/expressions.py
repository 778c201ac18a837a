"""What columns of a row have to do with each other, written as people write it: ``end >= start``, ``abs(total - net - tax) < 0.01``.

The language is that of slices (`sluice.core.predicate`). What compares with a missing value is not known, and what is not known is not false.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from sluice.core import predicate
from sluice.core.errors import ProjectError
from sluice.data.truth import Truth


class Expression:
    """An expression over columns, checked when it is made.

    Args:
        text: as it was written.
        field: where, for errors.

    Attributes:
        columns: those it names.

    Raises:
        ProjectError: it is none.
    """

    def __init__(self, text: str, field: str):
        self.text, self._field = text, field
        try:
            self._which = predicate.parse(text)
        except ValueError as e:
            fix = "docs/evaluation.md, Slices, has the language: end >= start, abs(total - net) < 0.01, status in ['done', 'late']"
            raise ProjectError(f"is no expression: it {e}", field=field, value=text, fix=fix) from e
        self.columns = tuple(dict.fromkeys(c.name for c in predicate.columns(self._which)))

    def check_names(self, known: Collection[str]) -> None:
        """Raises `ProjectError` for a column that is not among `known`."""
        for name in self.columns:
            if name not in known:
                near = difflib.get_close_matches(name, known, 1, 0.5)
                parts = name.split("-")
                fix = f"did you mean {near[0]!r}?" if near else "declare it under columns, with its type"
                fix = f"a difference has blanks: {' - '.join(parts)}" if len(parts) > 1 and set(parts) <= {*known} else fix
                raise ProjectError(f"names a column {name!r} that is not declared", field=self._field, value=self.text, fix=fix)

    def false(self, column: Callable[[str], pa.ChunkedArray], rows: int) -> NDArray[np.bool_]:
        """Where the expression is false: bool [rows].

        Args:
            column: a column's values by its name.
            rows: how many there are.

        Raises:
            ProjectError: types that have nothing to do with each other.
        """
        return ~np.asarray(pc.fill_null(Truth(self._which, column, rows, self._field).known(), True))
