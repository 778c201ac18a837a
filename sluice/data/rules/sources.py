"""A project's sources judged by its file of rules, in bounded memory, before anything reads them whole."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from sluice.core.numerals import Numerals
from sluice.data.config import DataConfig
from sluice.data.report import Report, ordered
from sluice.data.rules.cells import Reading
from sluice.data.rules.compiled import load_rules
from sluice.data.rules.judge import Judged, judge
from sluice.data.stream import batches

if TYPE_CHECKING:
    from sluice.fields import Field


@dataclasses.dataclass(frozen=True)
class Ruled:
    """What the rules found in the training source and, where held-out rows come from elsewhere, in those."""

    train: Judged
    test: Judged | None = None

    @property
    def refused(self) -> bool:
        """Whether a rule refuses a source."""
        return self.train.refused or (self.test is not None and self.test.refused)

    def alone(self) -> Report:
        """A report of the rules alone."""
        rows = {"train": self.train.rows, **({"test": self.test.rows} if self.test else {})}
        return self.beside(Report("", rows, ()))

    def beside(self, report: Report) -> Report:
        """A report with the rules in it."""
        lines = [*self.train.checks(), *(self.test.checks("held-out rows: ") if self.test else ())]
        rules = [*self.train.to_list(), *({**r, "rule": f"held-out rows: {r['rule']}"} for r in (self.test.to_list() if self.test else ()))]
        return dataclasses.replace(report, checks=ordered([*lines, *report.checks]), rules=tuple(rules))


def _written(reading: Reading, numerals: Numerals | None) -> Reading:
    """Numbers are written as the project says, where the file of rules says nothing."""
    declared = reading.type in ("number", "integer") and reading.numerals is None and numerals is not None
    return dataclasses.replace(reading, numerals=numerals) if declared else reading


def judged_sources(data: DataConfig, base_dir: Path, value: Field | None, asked: Collection[str] = ()) -> Ruled | None:
    """Judge a project's sources by ``data.schema_file``; None where it names none.

    Args:
        data: the project's section.
        base_dir: where relative paths start.
        value: the field that a row is alone; null: rows are records.
        asked: columns that other settings name.

    Raises:
        ProjectError: the file of rules is wrong.
        DataError, MissingExtra: a source cannot be read.
    """
    if data.schema_file is None:
        return None
    path = base_dir / Path(data.schema_file).expanduser()
    found: list[Judged] = []
    for uri in (data.source, data.test):
        if uri is not None:
            rules = load_rules(path, "data.schema_file", data.sensitive)
            rules = dataclasses.replace(
                rules, readings={n: _written(r, data.numerals.get(n, data.numerals.get(""))) for n, r in rules.readings.items()}
            )
            found.append(judge(rules, batches(uri, data, base_dir, value, [*asked, *rules.readings]), held_out=bool(found)))
    return Ruled(*found)
