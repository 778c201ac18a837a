"""The step `preprocess`: the rows as a dataset with a digest, split."""

from __future__ import annotations

from html import escape
from typing import ClassVar

from sluice.steps.step import Evidence, Step


class Preprocess(Step):
    """The rows as a dataset with a digest, split."""

    name, title, after = "preprocess", "Dataset", "validate_data"
    component = "components.preprocess.component:preprocess"
    gives: ClassVar = {"dataset": "dataset", "prepared": "gate", "project": "handed"}

    def section(self, e: Evidence) -> str:
        """Rows of each split, and the data version."""
        from sluice.report.tables import table

        rows = e["rows"]
        total = sum(rows.values()) or 1
        shares = [[split, n, f"{100 * n / total:.1f} %", e["shards"][split]] for split, n in rows.items() if n]
        by = e.get("split") or {}
        how = {"time": "the newest rows of {!r} are held out", "group": "groups of {!r} are on one side"}.get(
            by.get("by", ""), "rows with equal features are on one side"
        )
        note = f'<p class="note">{escape(how.format(by.get("column")))}</p>' if by else ""
        return (
            table(["split", "rows", "share", "shards"], shares, (1, 2, 3))
            + note
            + f'<p class="note">data version <code>{escape(str(e["digest"]))}</code></p>'
        )
