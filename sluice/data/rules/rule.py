"""A rule about a source: sees its rows batch by batch, and tells in the end how many break it, and which first."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sluice.data.report import EXAMPLES, counted, percent
from sluice.data.rules.cells import Cells, Reading, Rows

Status = Literal["pass", "warn", "refuse"]
#: Characters of a value that are shown.
_SHOWN = 80


@dataclasses.dataclass(frozen=True)
class Finding:
    """What a rule found.

    Attributes:
        column: what it is about; null: the rows as a whole.
        rule: as a person reads it (``max 100``).
        setting: where it stands in its file.
        status: ``refuse`` stops the run.
        broken: rows that break it. rows: rows it was asked of.
        message: what was found and what to do.
        examples: the first of these rows: ``row`` (of the source, from 1), ``where``, ``value`` (not of a sensitive column).
    """

    column: str | None
    rule: str
    setting: str
    status: Status
    broken: int
    rows: int
    message: str
    examples: tuple[dict[str, Any], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**dataclasses.asdict(self), "examples": list(self.examples)}


class Rule(ABC):
    """The base of rules.

    Args:
        columns: what it looks at.
        says: itself, for a person.
        setting: where it stands in its file.
        tolerance: the fraction of rows that may break it.
        secret: whether values may not be shown.
        reading: how it reads its columns; null: as the file declares them.
        mild: whether what breaks it is a warning.
    """

    #: Whether it is asked of held-out rows that come from elsewhere, too.
    of_every_source = True

    def __init__(
        self,
        columns: tuple[str, ...],
        says: str,
        setting: str,
        *,
        tolerance: float = 0.0,
        secret: bool = False,
        reading: Reading | None = None,
        mild: bool = False,
    ):
        self.columns, self.says, self.setting, self.tolerance, self.secret = columns, says, setting, tolerance, secret
        self._reading, self.mild, self.rows = reading, mild, 0

    def cells(self, rows: Rows, name: str | None = None) -> Cells:
        """A column of a batch as the rule reads it; null: its first."""
        return rows.cells(name or self.columns[0], self._reading)

    @property
    def column(self) -> str | None:
        """The column it is about."""
        return ", ".join(self.columns) or None

    @abstractmethod
    def see(self, rows: Rows) -> None:
        """Take the next rows; every column of the rule is there."""

    @abstractmethod
    def finding(self) -> Finding:
        """What was found, once all rows were seen."""

    def close(self) -> None:
        """Let go of what it keeps."""

    def found(self, status: Status, broken: int, message: str, examples: tuple[dict[str, Any], ...] = ()) -> Finding:
        """A finding of this rule."""
        status = "warn" if self.mild and status == "refuse" else status
        return Finding(self.column, self.says, self.setting, status, broken, self.rows, message, examples)

    def judged(self, broken: int, examples: list[dict[str, Any]], fix: str | None = None) -> Finding:
        """The finding where so many rows break the rule: refused beyond the tolerance."""
        about = f"{self.column}: " if self.column else ""
        if not broken:
            return self.found("pass", 0, f"{about}{self.says}: holds for {counted(self.rows, 'row')}")
        share = broken / max(self.rows, 1)
        said = f"{about}{counted(broken, 'row')} ({percent(share)}) {'breaks' if broken == 1 else 'break'} `{self.says}`{_listed(examples)}"
        if share <= self.tolerance:
            return self.found("pass", broken, f"{said}; allowed are {percent(self.tolerance)}", tuple(examples))
        fix = fix or ("correct it" if broken == 1 else "correct them")
        allowed = f", allowed are {percent(self.tolerance)}" if self.tolerance else ""
        return self.found("refuse", broken, f"{said}{allowed}; {fix}, or change {self.setting}", tuple(examples))


class RowRule(Rule):
    """A rule that a row keeps or breaks alone. What is missing keeps it, unless the rule says otherwise."""

    def __init__(self, *args: Any, **more: Any):
        super().__init__(*args, **more)
        self.broken, self.examples = 0, list[dict[str, Any]]()

    @abstractmethod
    def breaks(self, rows: Rows) -> NDArray[np.bool_]:
        """For each row whether it breaks the rule: bool [rows]."""

    def asked(self, rows: Rows) -> int:
        """Rows of a batch that it is asked of: those with a value."""
        return rows.n - int(self.cells(rows).missing.sum())

    def see(self, rows: Rows) -> None:
        """Count the rows that break the rule, and keep the first."""
        bad = self.breaks(rows)
        self.rows += self.asked(rows)
        self.broken += int(bad.sum())
        if len(self.examples) < EXAMPLES and bad.any():
            for at in np.flatnonzero(bad)[: EXAMPLES - len(self.examples)].tolist():
                self.examples.append(example(rows, at, self.columns, self.secret))

    def finding(self) -> Finding:
        """Refused where more rows break the rule than may."""
        return self.judged(self.broken, self.examples)


def example(rows: Rows, at: int, columns: tuple[str, ...], secret: bool) -> dict[str, Any]:
    """A row for a person: its number in the source, where it stands, and its value."""
    made: dict[str, Any] = {"row": rows.first + at + 1, "where": rows.place(at)}
    if not secret and columns:
        values = [shown_cell(rows.cells(name, None), at) for name in columns]
        made["value"] = values[0] if len(values) == 1 else dict(zip(columns, values, strict=True))
    return made


def shown_cell(cells: Cells, at: int) -> Any:
    """A cell as plain JSON, cut."""
    value = cells.raw[at].as_py()
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if np.isfinite(value) else str(value)
    text = value if isinstance(value, str) else str(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


def told(e: Mapping[str, Any]) -> str:
    """An example in words: ``rows.csv row 5: 130``."""
    if "value" not in e:
        return str(e["where"])
    value = e["value"]
    shown = ", ".join(f"{k} {v!r}" for k, v in value.items()) if isinstance(value, Mapping) else repr(value)
    return f"{e['where']}: {shown}"


def _listed(examples: list[dict[str, Any]]) -> str:
    if not examples:
        return ""
    shown = [told(e) for e in examples[:3]]
    return f" ({'; '.join(shown)}{'; ...' if len(examples) > 3 else ''})"
