"""A project that `sluice init --data` is writing."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sluice.data.prepare import value_of
from sluice.tasks import TASKS

if TYPE_CHECKING:
    from sluice.data.look import Look
    from sluice.data.report import Report
    from sluice.fields import Field


def assumed() -> list[str]:
    """The tasks that may be taken by what the rows hold."""
    return [task for task in TASKS.names() if TASKS.get(task).assumed]


def task_of_rows(fit: Callable[[Field | None], bool]) -> str:
    """The first of them whose rows are such a field alone, or records."""
    return next(task for task in assumed() if fit(value_of(TASKS.get(task))))


@dataclasses.dataclass
class Draft:
    """A project that is being written.

    Attributes:
        raw: the project file as a mapping.
        left_out: column -> why it is no feature.
        categorical: column -> why it is one of categories.
        texts: columns of free text that its task reads.
        report: the checks that the data passes with it.
        notes: what a person should know, in sentences.
        proposal: what is said of the model.
        unlabelled: whether the file has no column of labels.
        look: the file.
        test: where rows lie that the folder's own names hold out.
        divided: whether a way to hold out rows has been looked for.
        given: the file's name, as a person wrote it.
    """

    raw: dict[str, Any]
    look: Look | None = None
    left_out: dict[str, str] = dataclasses.field(default_factory=dict)
    categorical: dict[str, str] = dataclasses.field(default_factory=dict)
    texts: list[str] = dataclasses.field(default_factory=list)
    report: Report | None = None
    notes: list[str] = dataclasses.field(default_factory=list)
    proposal: str = ""
    unlabelled: bool = False
    test: Path | None = None
    divided: bool = False
    given: str = ""

    @property
    def value(self) -> Field | None:
        """The field that a row is alone; None: rows are records."""
        task = self.raw["task"]
        return value_of(TASKS.get(task)) if task in TASKS.names() else None

    def text(self, command: str) -> str:
        """The project file, commented. `command` made it."""
        from sluice.commands.starter_text import Writer

        return Writer(self).text(command)

    def to_dict(self) -> dict[str, Any]:
        """For ``--json``: plain values."""
        columns = [dataclasses.asdict(c) for c in self.look.columns] if self.look else []
        return {
            "task": self.raw["task"],
            "label": self.raw["data"].get("columns", {}).get("label", None if self.unlabelled else "label"),
            "columns": columns,
            "left_out": self.left_out,
            "notes": self.notes,
            "whole": self.look.whole if self.look else True,
            "rows": self.report.rows["train"] if self.report else None,
        }
