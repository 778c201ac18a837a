"""Rules that only all rows together keep or break: how many there are, what repeats, how old the newest is, what they come to."""

from __future__ import annotations

import datetime
import difflib
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sluice.data.report import EXAMPLES, counted
from sluice.data.rules.cells import Rows
from sluice.data.rules.hashing import Seen
from sluice.data.rules.rule import Finding, Rule


class RowCount(Rule):
    """There are so many rows."""

    of_every_source = False

    def __init__(self, least: int | None, most: int | None, setting: str, **more: Any):
        super().__init__((), between("rows", least, most), setting, **more)
        self._least, self._most = least, most

    def see(self, rows: Rows) -> None:
        """Count."""
        self.rows += rows.n

    def finding(self) -> Finding:
        """Refused outside the bounds."""
        fine = (self._least is None or self.rows >= self._least) and (self._most is None or self.rows <= self._most)
        if fine:
            return self.found("pass", 0, f"{counted(self.rows, 'row')}: {self.says}")
        more = self._least is not None and self.rows < self._least
        fix = "look for what is missing" if more else "look for what stands there twice"
        return self.found("refuse", self.rows, f"{counted(self.rows, 'row')}, declared are {self.says}; {fix}, or change {self.setting}")


class Unique(Rule):
    """No two rows have the same values in the columns. Rows in which one of them is missing are left out, as SQL's UNIQUE does."""

    def __init__(self, columns: tuple[str, ...], says: str, setting: str, **more: Any):
        super().__init__(columns, says, setting, **more)
        self._seen = Seen()
        self._places: list[tuple[int, Any]] = []

    def see(self, rows: Rows) -> None:
        """Keep a hash of each row."""
        cells = [self.cells(rows, n) for n in self.columns]
        use = ~np.any([c.missing for c in cells], axis=0)
        self._seen.add([c.raw if pa.types.is_null(c.values.type) else c.values for c in cells], rows.first, use)
        self._places.append((rows.first, rows.place))
        self.rows += int(use.sum())

    def finding(self) -> Finding:
        """Refused where more rows repeat an earlier one than may."""
        broken, first, _ = self._seen.repeats(EXAMPLES)
        examples = [{"row": row + 1, "where": f"{self._place(row)} repeats {self._place(of)}"} for row, of in first]
        return self.judged(broken, examples, "remove the repeats")

    def close(self) -> None:
        """Let go of the hashes."""
        self._seen.close()

    def _place(self, row: int) -> str:
        first, place = next((f, p) for f, p in reversed(self._places) if f <= row)
        return str(place(row - first))


class Fresh(Rule):
    """The newest time of a column is not older than so much, against the clock when the rules are judged.

    What lies more than a day ahead of it is a mistake in writing, and makes no source fresh.
    """

    of_every_source = False

    def __init__(self, column: str, most: datetime.timedelta, says: str, setting: str, *, now: datetime.datetime | None = None):
        super().__init__((column,), says, setting)
        self._most, self._ahead = most, 0
        self._newest: datetime.datetime | None = None
        self._now = now or datetime.datetime.now(datetime.UTC).replace(tzinfo=None)

    def see(self, rows: Rows) -> None:
        """Look for the newest."""
        values = self.cells(rows).values
        self.rows += rows.n
        if not pa.types.is_timestamp(values.type):
            return
        ahead = pc.fill_null(pc.greater(values, pa.scalar(self._now + datetime.timedelta(days=1), values.type)), False)
        self._ahead += int(pc.sum(ahead).as_py() or 0)
        newest = pc.max(values.filter(pc.invert(ahead))).as_py()
        if newest is not None and (self._newest is None or newest > self._newest):
            self._newest = newest

    def finding(self) -> Finding:
        """Refused where the newest is too old, or there is none."""
        name = self.columns[0]
        ahead = f" ({counted(self._ahead, 'row')} more than a day ahead of the clock left out)" if self._ahead else ""
        if self._newest is None:
            return self.found("refuse", self.rows, f"{name}: holds no time{ahead}; correct it, or give its form under columns.{name}.form")
        age = self._now - self._newest
        said = f"{name}: the newest is {self._newest.isoformat(sep=' ', timespec='minutes')}, {_age(age)} old{ahead}"
        if age <= self._most:
            return self.found("pass", 0, f"{said}: {self.says}")
        return self.found("refuse", self.rows, f"{said}, declared is {self.says}; bring newer rows, or change {self.setting}")


class HasColumns(Rule):
    """The source has the columns; in their order, and no others, where that is asked."""

    def __init__(self, required: Sequence[str], setting: str, *, known: Sequence[str] | None = None, ordered: bool = False, **more: Any):
        names = required if known is None else known
        says = ("no columns but " if known is not None else "has the columns ") + ", ".join(names)
        super().__init__((), says if len(says) <= 200 else says[:197] + "...", setting, **more)
        self._required, self._known, self._ordered = list(required), known, ordered
        self._found: list[str] | None = None

    def see(self, rows: Rows) -> None:
        """Look at the names."""
        self.rows += rows.n
        self._found = self._found or list(rows.table.schema.names)

    def finding(self) -> Finding:
        """Refused where a column is missing, unknown, or not in its place."""
        found = self._found or []
        missing = [n for n in self._required if n not in found]
        extra = [n for n in found if self._known is not None and n not in self._known]
        faults = [f"misses {', '.join(map(repr, missing))}"] if missing else []
        if missing and (near := difflib.get_close_matches(missing[0], found, 1, 0.6)):
            faults[0] += f" (it has {near[0]!r})"
        faults += [f"has {', '.join(map(repr, extra))}, which is not declared"] if extra else []
        if not faults and self._ordered and [n for n in found if n in self._required] != self._required:
            faults = [f"has its columns in another order: {', '.join(found)}"]
        if not faults:
            return self.found("pass", 0, f"{counted(len(self._required), 'column')} as declared")
        return self.found("refuse", self.rows, f"the source {' and '.join(faults)}; correct it, or change {self.setting}")


class Distinct(Rule):
    """So many different values, or so large a share of the rows' values."""

    def __init__(self, column: str, least: float | None, most: float | None, setting: str, *, share: bool = False, **more: Any):
        super().__init__((column,), between("share of different values" if share else "different values", least, most), setting, **more)
        self._least, self._most, self._share, self._seen = least, most, share, Seen()

    def see(self, rows: Rows) -> None:
        """Keep a hash of each value."""
        cells = self.cells(rows)
        self._seen.add([cells.raw if pa.types.is_null(cells.values.type) else cells.values], rows.first, ~cells.missing)
        self.rows += int((~cells.missing).sum())

    def finding(self) -> Finding:
        """Refused outside the bounds."""
        distinct = float(self._seen.repeats(0)[2])
        return _within(self, distinct / max(self.rows, 1) if self._share else distinct, self._least, self._most)

    def close(self) -> None:
        """Let go of the hashes."""
        self._seen.close()


class Moment(Rule):
    """The mean, sum, standard deviation, smallest or largest of a column of numbers lies within bounds.

    Variance over batches: Chan, Golub, LeVeque: Updating formulae and a pairwise algorithm for computing sample variances (1979).
    """

    def __init__(self, what: str, column: str, least: float | None, most: float | None, setting: str, **more: Any):
        super().__init__((column,), between(what, least, most), setting, **more)
        self._what, self._least, self._most = what, least, most
        self._n, self._mean, self._squares, self._min, self._max = 0, 0.0, 0.0, math.inf, -math.inf

    def see(self, rows: Rows) -> None:
        """Add to the sums."""
        values = self.cells(rows).values
        self.rows += rows.n
        if pa.types.is_null(values.type) or pa.types.is_string(values.type):
            return
        x = np.asarray(values.drop_null().cast(pa.float64()))
        if not len(x):
            return
        n, mean = len(x), float(x.mean())
        step, total = mean - self._mean, self._n + n
        self._squares += float(((x - mean) ** 2).sum()) + step * step * self._n * n / total
        self._mean += step * n / total
        self._n, self._min, self._max = total, min(self._min, float(x.min())), max(self._max, float(x.max()))

    def finding(self) -> Finding:
        """Refused outside the bounds, or where there is no number."""
        if not self._n:
            return self.found("refuse", self.rows, f"{self.column}: holds no number; correct it, or change {self.setting}")
        spread = math.sqrt(self._squares / (self._n - 1)) if self._n > 1 else 0.0
        value = {"mean": self._mean, "sum": self._mean * self._n, "standard deviation": spread, "minimum": self._min, "maximum": self._max}
        return _within(self, value[self._what], self._least, self._most)


class Covers(Rule):
    """The different values of a column are all of, or none but, a set. The values that are not allowed are found row by row (`of_rows.Checked`)."""

    def __init__(self, column: str, values: Sequence[Any], setting: str, **more: Any):
        super().__init__((column,), f"each of {', '.join(map(str, values))[:150]} stands in a row", setting, **more)
        self._left = list(dict.fromkeys(values))

    def see(self, rows: Rows) -> None:
        """Strike out the values that are there."""
        self.rows += rows.n
        if self._left:
            cells = self.cells(rows)
            there = set(cells.values.unique().to_pylist())
            self._left = [v for v in self._left if v not in there]  # 1 and 1.0 are one value here as everywhere in Python

    def finding(self) -> Finding:
        """Refused where one of the values stands nowhere."""
        if not self._left:
            return self.found("pass", 0, f"{self.column}: {self.says}")
        which = counted(len(self._left), "value") if self.secret else ", ".join(repr(v) for v in self._left[:5])
        return self.found("refuse", self.rows, f"{self.column}: no row has {which}; look for what is missing, or change {self.setting}")


def between(what: str, least: float | None, most: float | None) -> str:
    """``rows 10 to 20``, ``rows at least 10``."""
    if least is not None and least == most:
        return f"{what} {least:,}"
    if least is not None and most is not None:
        return f"{what} {least:,} to {most:,}"
    return f"{what} at least {least:,}" if least is not None else f"{what} at most {most:,}"


def _within(rule: Rule, value: float, least: float | None, most: float | None) -> Finding:
    said = f"{rule.column}: {value:,.6g}, declared is {rule.says}"
    if (least is None or value >= least) and (most is None or value <= most):
        return rule.found("pass", 0, said)
    return rule.found("refuse", rule.rows, f"{said}; look at the source, or change {rule.setting}")


def _age(age: datetime.timedelta) -> str:
    days = age.total_seconds() / 86400
    return f"{days:,.1f} days" if days >= 2 else f"{days * 24:,.1f} hours"
