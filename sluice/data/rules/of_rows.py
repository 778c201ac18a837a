"""Rules that a row keeps or breaks alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sluice.data.rules.cells import Rows
from sluice.data.rules.expressions import Expression
from sluice.data.rules.rule import Finding, RowRule

if TYPE_CHECKING:
    from pandera.pandas import Check


class OfType(RowRule):
    """Every value is of the declared type."""

    def breaks(self, rows: Rows) -> NDArray[np.bool_]:
        """Where something stands that cannot be read as the type."""
        return self.cells(rows).wrong


class Missing(RowRule):
    """At most a fraction of the rows have no value: the tolerance."""

    def breaks(self, rows: Rows) -> NDArray[np.bool_]:
        """Where nothing stands."""
        return self.cells(rows).missing

    def asked(self, rows: Rows) -> int:
        """All rows."""
        return rows.n

    def finding(self) -> Finding:
        """Without the value, of which there is none."""
        for e in self.examples:
            e.pop("value", None)
        return super().finding()


class Present(RowRule):
    """All, or all but a fraction, of the rows have no value."""

    def breaks(self, rows: Rows) -> NDArray[np.bool_]:
        """Where something stands."""
        return ~self.cells(rows).missing

    def asked(self, rows: Rows) -> int:
        """All rows."""
        return rows.n


class Checked(RowRule):
    """A check of Pandera's on the values of one column, which stay in Arrow's memory. What is missing, or not of the type, is none of its business.

    Args:
        check: of `pandera.pandas.Check`, built at the first batch: nothing heavy is imported to read a file of rules.
    """

    def __init__(self, check: Any, *args: Any, **more: Any):
        super().__init__(*args, **more)
        self._make = check
        self._check: Check | None = None

    def breaks(self, rows: Rows) -> NDArray[np.bool_]:
        """Where the check says no."""
        if self._check is None:
            self._check = self._make()
        cells = self.cells(rows)
        if pa.types.is_null(cells.values.type):
            return np.zeros(rows.n, bool)
        return failing(self._check, cells.series)


def failing(check: Check, series: Any) -> NDArray[np.bool_]:
    """Where a check of Pandera's says no: bool [rows]; nulls never do."""
    output = check(series).check_output
    if isinstance(output, bool | np.bool_):
        return np.full(len(series), not output)
    bad = np.zeros(len(series), bool)  # of the nulls, which Pandera leaves out, the index tells
    bad[output.index[~output.fillna(True).to_numpy(dtype=bool)]] = True
    return bad


class Holds(RowRule):
    """An expression over columns is true; where it cannot be told, because something is missing, the row keeps it."""

    def __init__(self, expression: Expression, *args: Any, **more: Any):
        super().__init__(*args, **more)
        self._expression = expression

    def asked(self, rows: Rows) -> int:
        """All rows."""
        return rows.n

    def breaks(self, rows: Rows) -> NDArray[np.bool_]:
        """Where the expression is false."""
        return self._expression.false(lambda name: self.cells(rows, name).values, rows.n)
