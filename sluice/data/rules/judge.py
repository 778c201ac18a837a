"""Rules judged over a source, batch by batch."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable
from typing import Any

from sluice.data.report import Check
from sluice.data.rules.cells import Rows
from sluice.data.rules.compiled import Rules
from sluice.data.rules.rule import Finding, Rule, told
from sluice.data.stream import Batch


@dataclasses.dataclass(frozen=True)
class Judged:
    """What the rules of a file found in a source.

    Attributes:
        where: the file.
        rows: how many there are.
        findings: the refused first.
        notes: what of the file was not read.
    """

    where: str
    rows: int
    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()

    @property
    def refused(self) -> bool:
        """Whether a rule refuses the source."""
        return any(f.status == "refuse" for f in self.findings)

    def checks(self, prefix: str = "") -> list[Check]:
        """As lines of the report of a project's rows: each rule that is broken, and one for all that are kept."""
        broken = [f for f in self.findings if f.status != "pass"]
        lines = [
            Check("schema", f.status, f"{prefix}{f.message}", f.column, float(f.broken), examples=tuple(map(told, f.examples)))
            for f in broken
        ]
        kept = len(self.findings) - len(broken)
        if kept:
            lines.append(Check("schema", "pass", f"{prefix}{kept} of {len(self.findings)} rules of {self.where} hold"))
        return [*lines, *(Check("schema", "warn", f"{self.where}: {note}") for note in self.notes)]

    def to_list(self) -> list[dict[str, Any]]:
        """Every rule, plain JSON values."""
        return [f.to_dict() for f in self.findings]


def judge(rules: Rules, source: Iterable[Batch], held_out: bool = False) -> Judged:
    """Judge a source; of a column that is not there its own rules are left out, since that it is missing is said.

    Args:
        held_out: whether the rows are held-out ones from elsewhere: how many there are, and how new, is not asked of them.

    Raises:
        DataError: the source cannot be read.
        ProjectError: an expression cannot be worked out on such columns.
    """
    asked = [r for r in rules.rules if r.of_every_source or not held_out]
    absent: set[int] = set()
    rows = 0
    with contextlib.ExitStack() as closing:
        for rule in asked:
            closing.callback(rule.close)
        for batch in source:
            seen = Rows(batch, rules.readings)
            rows += seen.n
            for rule in asked:
                if set(rule.columns) <= seen.names:
                    rule.see(seen)
                else:
                    absent.add(id(rule))
        found = [r.finding() for r in asked if id(r) not in absent or _whole(r)]
    found.sort(key=lambda f: ("refuse", "warn", "pass").index(f.status))
    return Judged(rules.where, rows, tuple(found), rules.notes)


def _whole(rule: Rule) -> bool:
    return not rule.columns
