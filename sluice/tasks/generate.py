"""Generation of small pictures: of a seed and, where rows have one, a class."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from sluice.core.errors import DataError, InputError
from sluice.core.section import Section
from sluice.tasks.base import settings
from sluice.tasks.image import ImageTask

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

#: Numbers of a picture at the most.
LIMIT = 64 * 64 * 3
#: Longest side of a picture whose size nobody set.
_LONGEST = 32
#: Names of the columns that a request has.
SEED, CLASS = "seed", "class"
#: Bytes of a picture's digest that become the seed of its row.
_BYTES = 6


class GenerateModel(Section):
    """A generator of small pictures: a variational autoencoder, or a generator and its discriminator."""

    kind: Literal["vae", "gan"] = Field(
        "vae", description="vae: a variational autoencoder; gan: a generator that learns from a discriminator"
    )
    channels: Literal[1, 3] | None = Field(None, description="1: grey, 3: colour; null: what most pictures are")
    size: list[int] | None = Field(
        None, min_length=2, max_length=2, description="[height, width] in pixels; null: the commonest size, its longer side 32 at most"
    )
    noise: int = Field(16, ge=2, le=256, description="numbers that chance gives a picture")
    width: int | None = Field(None, ge=4, le=256, description="channels of the convolutions at full size; null: 24, of a gan 16")
    parts: int = Field(40, ge=1, le=500, description="vae: normal laws of the prior")
    conditional: bool | None = Field(None, description="whether a request may name a class; null: where the rows have labels")


class GenerateTask(ImageTask):
    """Rows are pictures, with a label or without; a request is a seed and, of a conditional model, the class."""

    name: ClassVar[str] = "generate"
    value = "exemplar"
    problems: ClassVar[tuple[str, ...] | None] = None
    labelled = False
    Model = GenerateModel
    starter: ClassVar[str | None] = "generate"
    network: ClassVar[str] = "sluice.learners.torch.generators.network:GeneratorNetwork"

    def objective(self, table: pa.Table) -> str:
        """That of pictures made of seeds."""
        from sluice.problems.generation.problem import Generation

        return Generation.name

    def kinds(self, table: pa.Table) -> dict[str, str]:
        """The picture, which is learnt from; the seed, by which a model is asked for one; and the class."""
        self._images(table)
        return {"image": "exemplar", SEED: "seed", **({CLASS: "categorical"} if self._conditional(table) else {})}

    def canonical(self, table: pa.Table) -> pa.Table:
        """Of each picture its file, a seed made of the file's digest, its class, and its pixels at the model's size as ``label``."""
        import pyarrow as pa

        from sluice.fields.exemplar import column_of
        from sluice.tasks import columns

        images = self._images(table)
        files = images.to_pylist()
        found: dict[str, Any] = {
            "image": images,
            SEED: pa.array([None if f is None else int.from_bytes(hashlib.sha256(f).digest()[:_BYTES]) for f in files], pa.int64()),
        }
        if self._conditional(table):
            name = self.project.data.columns.label
            found[CLASS] = columns.to_string(columns.column(table, name, "data.columns.label"), name, "label")
        return pa.table({**found, "label": column_of(self._pictures(files))})

    def _conditional(self, table: pa.Table) -> bool:
        asked, name = settings(self, GenerateModel).conditional, self.project.data.columns.label
        if asked and name not in table.column_names:
            raise DataError(
                "asks for classes, and the rows have no label",
                field="model.conditional",
                value=True,
                fix=f"name the labels' column in data.columns.label (now {name!r}), or set model.conditional: false",
            )
        return name in table.column_names if asked is None else asked

    def _pictures(self, files: list[bytes | None]) -> list[np.ndarray | None]:
        """Each file's pixels, uint8 [height, width, channels]; None where it cannot be read, which the checks of data tell of."""
        from sluice.fields.image import ImageProcessor

        channels, (height, width) = self._form(files)
        processor = ImageProcessor(channels, (height, width))
        out: list[np.ndarray | None] = []
        for file in files:
            try:
                out.append(None if file is None else processor.encode([file])[0]["image"].transpose(1, 2, 0))
            except InputError:
                out.append(None)
        return out

    def _form(self, files: list[bytes | None]) -> tuple[int, tuple[int, int]]:
        """Channels and (height, width) of the model's pictures.

        Raises:
            DataError: fewer than two pictures.
            ProjectError: ``model.size`` is out of range.
        """
        model: GenerateModel = settings(self, GenerateModel)
        there = [f for f in files if f is not None]
        if len(set(there)) < 2:
            raise DataError(
                "holds one picture only: nothing can be learnt of how pictures differ" if there else "holds no picture",
                field="data.source",
                value=self.project.data.source,
                fix="give some hundred pictures at least",
            )
        size = model.size
        if size is None or model.channels is None:
            height, width, colours = _commonest(there)
            size = size or [height, width]
        channels = model.channels or colours
        if min(size) < 4 or size[0] * size[1] * channels > LIMIT:
            from sluice.core.errors import ProjectError

            raise ProjectError(
                f"is out of range: sides of at least 4 pixels, and at most {LIMIT} numbers a picture (64x64 in colour)",
                field="model.size",
                value=size,
                fix="for example [32, 32]",
            )
        return channels, (size[0], size[1])


def _commonest(files: list[bytes]) -> tuple[int, int, int]:
    """(height, width, channels) of most pictures, the longer side made `_LONGEST` where it is more."""
    from sluice.fields.pixels import probe

    good = [p for p in probe(files) if p.error is None]
    if not good:
        return _LONGEST, _LONGEST, 1
    (height, width), _ = Counter((p.height, p.width) for p in good).most_common(1)[0]
    grey = sum(p.mode in ("1", "L", "LA", "I", "I;16", "I;16B", "I;16L") for p in good) * 2 > len(good)
    scale = min(1.0, _LONGEST / max(height, width))
    return max(4, round(height * scale)), max(4, round(width * scale)), 1 if grey else 3
