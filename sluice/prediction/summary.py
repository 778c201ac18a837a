"""What was done to a file of rows."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Summary:
    """What was done.

    Attributes:
        rows: rows of the file; `skipped` of them could not be used and are left out.
        columns: the columns that were added.
        labels: how often each label was answered; empty for a regression.
        skipped_rows: the first of those, each with its reason.
        notes: what was found out of the file and not declared.
    """

    rows: int
    skipped: int
    columns: list[str]
    labels: dict[str, int]
    skipped_rows: list[str]
    notes: list[str]
