"""Text classification: a string and a label."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from sluice.core.errors import DataError
from sluice.problems.problem import OF_LABELS
from sluice.tasks.base import Task
from sluice.tasks.config import TextModel
from sluice.tasks.layouts import labels_before_texts

if TYPE_CHECKING:
    import pyarrow as pa


class TextTask(Task):
    """Rows are strings."""

    name: ClassVar[str] = "text"
    assumed: ClassVar[bool] = True
    value = "text"
    problems: ClassVar[tuple[str, ...] | None] = OF_LABELS
    Model = TextModel
    starter: ClassVar[str | None] = "intents"
    network: ClassVar[str] = "sluice.learners.torch.texts.network:TextNetwork"

    @classmethod
    def known_as(cls, path: Path) -> DataError | None:
        """Labels before texts."""
        return labels_before_texts(path)

    def kinds(self, table: pa.Table) -> dict[str, str]:
        """The one column of ``data.columns``."""
        self._texts(table)
        return {"text": "text"}

    def _texts(self, table: pa.Table) -> pa.ChunkedArray:
        import pyarrow as pa

        from sluice.tasks import columns

        name = self.project.data.columns.text
        values = columns.column(table, name, "data.columns.text")
        if not (pa.types.is_string(values.type) or pa.types.is_null(values.type)):
            raise DataError(
                f"is a column of {values.type}, not of texts", field=f"data.columns.text: {name}", fix="name a column of strings"
            )
        return values.cast(pa.string())

    def objective(self, table: pa.Table) -> str:
        """One label a row, or a set of them (`sluice.tasks.columns.of_labels`)."""
        from sluice.tasks import columns

        return columns.of_labels(table, self.project.data.columns)

    def canonical(self, table: pa.Table) -> pa.Table:
        """That column and the label."""
        import pyarrow as pa

        from sluice.tasks import columns

        wanted = self.project.data.columns
        label = columns.label(table, wanted.label, self.objective(table), wanted.label_separator)
        return pa.table({"text": self._texts(table), "label": label})
