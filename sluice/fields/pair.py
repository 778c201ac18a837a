"""Two texts that are learnt from side by side; a client sends one, and gets its vector."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from sluice.core.errors import InputError
from sluice.fields.base import Example, Processor, SideFile, only, setting
from sluice.fields.text import Text, TextProcessor

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from sluice.fields.parts import Rows
    from sluice.fields.pieces import Pieces

#: In the mask: tokens of the first text, of the second one.
FIRST, SECOND = 1, 2


class Pair(Text):
    """A list of two texts, or one text. A row is its value alone."""

    kind = "pair"
    setting: ClassVar[str] = "text"
    plain = False
    words = False
    checks: ClassVar[frozenset[str]] = frozenset()
    column_type = "array"

    @classmethod
    def processor(cls) -> type[Processor]:
        """`PairProcessor`."""
        return PairProcessor

    @property
    def arrow(self) -> pa.DataType:
        """A list of strings."""
        import pyarrow as pa

        return pa.list_(pa.string())

    @property
    def logged(self) -> pa.DataType:
        """A client sends one text."""
        import pyarrow as pa

        return pa.string()

    def missing(self, column: pa.ChunkedArray) -> pa.ChunkedArray:
        """Whether either text is missing or blank."""
        import pyarrow as pa

        def whole(v: Any) -> bool:
            return v is not None and len(v) == 2 and all(isinstance(t, str) and t.strip() for t in v)

        return pa.chunked_array([pa.array([not whole(v) for v in column.to_pylist()], pa.bool_())])

    def summary(self, cells: Any) -> dict[str, Any]:
        """Counts alone."""
        return {"name": self.name, "type": self.kind, "rows": cells.rows, "nulls": cells.nulls, "distinct": None}

    def reference(self, rows: Rows) -> dict[str, Any]:
        """As of texts, both of each pair."""
        return {**super().reference(_Both(rows)), "kind": self.kind}  # type: ignore[arg-type]

    def vectors(self, values: Sequence[Any]) -> NDArray[np.float64] | None:
        """As of one text of both."""
        return super().vectors([" ".join(map(str, v)) if isinstance(v, list | tuple) else v for v in values])

    def counts(self, reference: Mapping[str, Any], values: Sequence[Any]) -> dict[str, NDArray[np.int64]]:
        """As of texts."""
        flat = [t for v in values for t in (v if isinstance(v, list | tuple) else [v])]
        return super().counts(reference, flat)


class _Both:
    """Rows of pairs as rows of texts."""

    def __init__(self, rows: Rows):
        self._rows = rows

    def rows(self, split: str) -> int:
        return 2 * self._rows.rows(split)

    def batches(self, split: str, columns: list[str], rows: int) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        for batch in self._rows.batches(split, columns, rows):
            yield pa.RecordBatch.from_arrays([batch.column(0).flatten()], columns)


class PairProcessor(TextProcessor):
    """Rows are `str`, or lists of two of them: their tokens one behind the other, told apart by the mask (`FIRST`, `SECOND`)."""

    kind: ClassVar[str] = "pair"
    value = Pair("pair")

    @classmethod
    def load(cls, spec: Mapping[str, Any], side_file: SideFile) -> PairProcessor:
        """Read ``{"kind": "pair", "tokenizer": <file>, "max_length": n, "pad_id": n}``. Raises `PackageError`."""
        from sluice.fields.text import file_name

        only(spec, "kind", "tokenizer", "max_length", "pad_id")
        name = file_name(spec, "tokenizer")
        return cls(side_file(name), setting(spec, "max_length", int), setting(spec, "pad_id", int), name)

    def encode(self, rows: Sequence[Any]) -> list[Example]:
        """`input_ids` and `attention_mask`, INT64 [tokens] each. Raises `InputError`."""
        firsts, seconds = [], {}
        for i, row in enumerate(rows):
            if isinstance(row, list | tuple):
                if len(row) != 2:
                    raise InputError("is not a text, nor two of them", field=f"rows[{i}]", value=len(row), fix="send a string")
                firsts.append(row[0])
                seconds[i] = row[1]
            else:
                firsts.append(row)
        out = super().encode(firsts)
        others = super().encode(list(seconds.values())) if seconds else []
        for i, other in zip(seconds, others, strict=True):
            out[i] = {
                "input_ids": np.concatenate([out[i]["input_ids"], other["input_ids"]]),
                "attention_mask": np.concatenate([out[i]["attention_mask"], SECOND * other["attention_mask"]]),
            }
        return out

    def pieces(self, row: Any) -> Pieces | None:
        """None: no label is answered."""
        return None

    def spec(self) -> dict[str, Any]:
        return {**super().spec(), "kind": self.kind}
