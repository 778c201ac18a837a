"""What the checks found: one decision, its reasons, and the numbers a page is drawn from."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

Status = Literal["pass", "warn", "refuse"]

#: Examples shown for a check.
EXAMPLES = 5


@dataclasses.dataclass(frozen=True)
class Check:
    """One thing looked at.

    Attributes:
        name: what it is, in one word (``duplicates``).
        status: ``warn`` asks for a look, ``refuse`` stops the run.
        message: for a person: what was found and, unless it passes, what to do.
        column: the column it is about, if it is one.
        value: what was measured.
        limit: what it was measured against.
        examples: rows or values, as text.
    """

    name: str
    status: Status
    message: str
    column: str | None = None
    value: float | None = None
    limit: float | None = None
    examples: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {**dataclasses.asdict(self), "examples": list(self.examples)}


#: Checks that find columns which know the label (`sluice.data.checks.leaks`).
LEAKS = ("predictive", "derived", "computed")


@dataclasses.dataclass(frozen=True)
class Report:
    """All checks of a project's rows.

    Attributes:
        objective: the name of the problem.
        rows: ``train`` (the source) and, where held-out rows come from elsewhere, ``test``.
        checks: refusals first, then warnings.
        columns: a summary a column (`sluice.fields.summaries`), the features first, the label last.
        labels: rows of each label in the source, the commonest first; empty for regression.
        test_labels: the same for held-out rows that come from elsewhere.
        rules: of ``data.schema_file``: every rule and what it found (`sluice.data.rules.rule.Finding`); empty without such a file.
    """

    objective: str
    rows: dict[str, int]
    checks: tuple[Check, ...]
    columns: tuple[dict[str, Any], ...] = ()
    labels: dict[str, int] = dataclasses.field(default_factory=dict)
    test_labels: dict[str, int] = dataclasses.field(default_factory=dict)
    rules: tuple[dict[str, Any], ...] = ()

    @property
    def decision(self) -> Literal["pass", "refuse"]:
        """Refuse where one check does."""
        return "refuse" if self.reasons else "pass"

    @property
    def reasons(self) -> list[str]:
        """Why it is refused; empty when it passes."""
        return [c.message for c in self.checks if c.status == "refuse"]

    @property
    def warnings(self) -> list[str]:
        """What to look at, though it passes."""
        return [c.message for c in self.checks if c.status == "warn"]

    @property
    def cautions(self) -> list[str]:
        """What has to be heard beside a model's verdict too: by a column that knows the label every figure that follows is too good."""
        return [c.message for c in self.checks if c.status == "warn" and c.name in LEAKS]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "decision": self.decision,
            "reasons": self.reasons,
            "warnings": self.warnings,
            "objective": self.objective,
            "rows": self.rows,
            "checks": [c.to_dict() for c in self.checks],
            "columns": list(self.columns),
            "labels": self.labels,
            "test_labels": self.test_labels,
            **({"rules": list(self.rules)} if self.rules else {}),
            **({"cautions": self.cautions} if self.cautions else {}),
        }


#: What stands in place of words that a sensitive column's values may be in.
HIDDEN = "not shown: data.sensitive names the column"


def ordered(checks: Sequence[Check]) -> tuple[Check, ...]:
    """Refusals, warnings, then what passed; each in the order it was looked at."""
    rank = {"refuse": 0, "warn": 1, "pass": 2}
    return tuple(sorted(checks, key=lambda c: rank[c.status]))


def percent(fraction: float) -> str:
    """A fraction for a person, never rounded to nothing or to all: 0.1234 is "12.3 %"."""
    shown = f"{100 * fraction:.3g}"
    if fraction < 1 and float(shown) >= 100:
        shown = "99.9"
    return f"{shown} %"


def listed(items: Sequence[object], most: int = EXAMPLES) -> str:
    """The first few of a list: ``a, b, c and 4 more``."""
    shown = ", ".join(map(str, items[:most]))
    return shown if len(items) <= most else f"{shown} and {len(items) - most} more"


def counted(n: int, noun: str) -> str:
    """``1 row``, ``1,200 rows``."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"
