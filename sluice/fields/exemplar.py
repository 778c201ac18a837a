"""Pictures that are learnt from and never sent: the files as they came, and their pixels at the model's size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sluice.fields.field import Field
from sluice.fields.image import Image

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from sluice.fields.base import Processor
    from sluice.fields.parts import Rows


class Exemplar(Image):
    """An encoded picture that a request never holds: it is checked as an image is, and nothing of it can drift."""

    kind = "exemplar"
    loose = True
    setting = "image"
    checks = frozenset({"images", "sizes"})

    @classmethod
    def processor(cls) -> type[Processor] | None:
        """None: no row is one."""
        return None

    def reference(self, rows: Rows) -> dict[str, Any]:
        """No parts."""
        return Field.reference(self, rows)

    def counts(self, reference: Mapping[str, Any], values: Sequence[Any]) -> dict[str, NDArray[np.int64]]:
        """None."""
        return {}


class Pixels(Field):
    """A picture's pixels: a list of rows of places of colours, whole numbers in 0..255; all pictures of a column have one shape."""

    kind = "pixels"
    lacks = "no picture"
    column_type = "array"

    @property
    def arrow(self) -> pa.DataType:
        """Lists in lists in lists of uint8: [height][width][channels]."""
        import pyarrow as pa

        return pa.list_(pa.list_(pa.list_(pa.uint8())))

    def watched(self, column: pa.ChunkedArray) -> NDArray[np.float64]:
        """How light each picture is, in [0, 1]: float64 [rows]."""
        return pictures(column).mean(axis=(1, 2, 3)) / 255


def pictures(column: pa.ChunkedArray | pa.Array) -> NDArray[np.uint8]:
    """A column's pictures, uint8 [rows, height, width, channels]; none of them is null.

    Raises:
        ValueError: they have different shapes.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    shape, flat = [len(column)], column
    for _ in range(3):
        lengths = pc.unique(pc.list_value_length(flat)).to_pylist()
        if len(lengths) > 1:
            raise ValueError("pictures of different shapes")
        shape.append(lengths[0] if lengths else 0)
        flat = pc.list_flatten(flat)
    values = flat.combine_chunks() if isinstance(flat, pa.ChunkedArray) else flat
    return np.asarray(values.to_numpy(zero_copy_only=False), dtype=np.uint8).reshape(shape)


def column_of(found: Sequence[NDArray[np.uint8] | None]) -> pa.ChunkedArray:
    """Pictures uint8 [height, width, channels] of one shape as such a column, null where there is none."""
    import pyarrow as pa

    there = [p for p in found if p is not None]
    empty = pa.chunked_array([pa.nulls(len(found), Pixels("").arrow)])
    if not there:
        return empty
    height, width, channels = there[0].shape
    flat = pa.array(np.concatenate([p.ravel() for p in there]))
    for inner, count in ((channels, len(there) * height * width), (width, len(there) * height), (height, len(there))):
        flat = pa.ListArray.from_arrays(pa.array(np.arange(count + 1, dtype=np.int32) * inner), flat)
    places = np.cumsum([p is not None for p in found]) - 1
    return pa.chunked_array(
        [flat.take(pa.array([int(at) if p is not None else None for at, p in zip(places, found, strict=True)], pa.int64()))]
    )
