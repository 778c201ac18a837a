"""Sound classification: the encoded files' bytes and a label."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, model_validator

from sluice.core.errors import DataError
from sluice.core.section import Section
from sluice.tasks.base import Task

if TYPE_CHECKING:
    import pyarrow as pa


class AudioModel(Section):
    """Recordings: a log-mel spectrogram inside the graph, and a CNN or a small transformer over it."""

    network: Literal["cnn", "transformer"] = "cnn"
    sample_rate: int | None = Field(None, ge=1000, le=384_000, description="samples a second; null: that of most training rows")
    seconds: float | None = Field(
        None, gt=0, le=600, description="what of a recording is read, from its beginning; null: the longest training row, at most 30"
    )
    bands: int | None = Field(None, ge=8, le=256, description="of the spectrogram; null: 40 up to 11,025 samples a second, else 64")
    width: int = Field(16, ge=4, le=256, description="channels of the first convolution")
    hidden: int = Field(96, ge=8, description="of the transformer, with layers and heads")
    layers: int = Field(2, ge=1)
    heads: int = Field(4, ge=1)
    dropout: float = Field(0.2, ge=0, lt=1)
    augment: bool = Field(True, description="SpecAugment, other tempo, colour, noise and pitch in training")
    warp: float = Field(
        0.2, ge=0, lt=0.5, description="most that frequencies are moved in training, as voices differ; 0: pitch is the label"
    )

    @model_validator(mode="after")
    def _heads_divide(self) -> AudioModel:
        if self.hidden % (2 * self.heads):
            raise ValueError(f"hidden {self.hidden} is not a multiple of twice the heads {self.heads}")
        return self


class AudioTask(Task):
    """Rows are encoded recordings."""

    name: ClassVar[str] = "audio"
    value = "audio"
    Model = AudioModel
    assumed: ClassVar[bool] = True
    streams: ClassVar[bool] = True
    starter: ClassVar[str | None] = "audio"
    network: ClassVar[str] = "sluice.learners.torch.sounds.network:AudioNetwork"

    def kinds(self, table: pa.Table) -> dict[str, str]:
        """The one column of ``data.columns``."""
        self._recordings(table)
        return {"audio": "audio"}

    def _recordings(self, table: pa.Table) -> pa.ChunkedArray:
        import pyarrow as pa
        import pyarrow.compute as pc

        from sluice.tasks import columns

        name = self.project.data.columns.audio
        values = columns.column(table, name, "data.columns.audio")
        if pa.types.is_struct(values.type) and values.type.get_field_index("bytes") >= 0:
            values = pc.struct_field(values, "bytes")
        if not (pa.types.is_binary(values.type) or pa.types.is_large_binary(values.type)):
            raise DataError(
                f"is a column of {values.type}, not of recordings' bytes",
                field=f"data.columns.audio: {name}",
                fix="use a folder or a list of WAV or FLAC files, or a Parquet file with their bytes",
            )
        return values.cast(pa.binary())

    def canonical(self, table: pa.Table) -> pa.Table:
        """That column and the label."""
        import pyarrow as pa

        from sluice.tasks import columns

        label = columns.label(table, self.project.data.columns.label, self.objective(table))
        return pa.table({"audio": self._recordings(table), "label": label})
