"""Image classification: the encoded files' bytes and a label."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from sluice.core.errors import DataError
from sluice.core.section import Section
from sluice.problems.problem import OF_LABELS
from sluice.tasks.base import Task
from sluice.tasks.config import ImageModel
from sluice.tasks.picture_layouts import with_boxes, with_masks

if TYPE_CHECKING:
    import pyarrow as pa


class ImageTask(Task):
    """Rows are encoded images."""

    name: ClassVar[str] = "image"
    assumed: ClassVar[bool] = True
    streams: ClassVar[bool] = True
    value = "image"
    problems: ClassVar[tuple[str, ...] | None] = OF_LABELS
    Model: ClassVar[type[Section]] = ImageModel
    starter: ClassVar[str | None] = "digits"
    network: ClassVar[str] = "sluice.learners.torch.images.network:ImageNetwork"

    @classmethod
    def known_as(cls, path: Path) -> DataError | None:
        """Boxes or masks."""
        return with_boxes(path) or with_masks(path)

    def kinds(self, table: pa.Table) -> dict[str, str]:
        """The one column of ``data.columns``."""
        self._images(table)
        return {"image": "image"}

    def _images(self, table: pa.Table) -> pa.ChunkedArray:
        import pyarrow as pa
        import pyarrow.compute as pc

        from sluice.tasks import columns

        name = self.project.data.columns.image
        values = columns.column(table, name, "data.columns.image")
        if pa.types.is_struct(values.type) and values.type.get_field_index("bytes") >= 0:
            values = pc.struct_field(values, "bytes")
        if not (pa.types.is_binary(values.type) or pa.types.is_large_binary(values.type) or pa.types.is_fixed_size_binary(values.type)):
            raise DataError(
                f"is a column of {values.type}, not of image files' bytes",
                field=f"data.columns.image: {name}",
                fix="use a folder of images, or a Parquet file with the encoded bytes",
            )
        return values.cast(pa.binary())

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
        return pa.table({"image": self._images(table), "label": label})
