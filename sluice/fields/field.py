"""A field: one column or modality on its whole way, from a source's cell to the graph's input and the reference of drift.

A field's `kind` is the word for it on disk: in a dataset's manifest, a profile and a package. What differs from kind to
kind is asked of the object, so that no other code compares these words. Other distributions bring kinds of their own as
entry points of the group ``sluice.fields``; see docs/architecture.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from sluice.core.errors import DataError, ProjectError
from sluice.core.registry import Registry

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from sluice.fields.base import Processor
    from sluice.fields.changes.disturbances import Disturbance
    from sluice.fields.files import Files
    from sluice.fields.parts import Rows
    from sluice.fields.summaries import Cells

#: kind -> its `Field` class.
FIELDS = Registry(
    "field",
    {
        "numeric": "sluice.fields.number:Number",
        "categorical": "sluice.fields.category:Category",
        "timestamp": "sluice.fields.timestamp:Timestamp",
        "sequence": "sluice.fields.sequence:NumberSequence",
        "words": "sluice.fields.words:Words",
        "text": "sluice.fields.text:Text",
        "sentence": "sluice.fields.sentence:Sentence",
        "pair": "sluice.fields.pair:Pair",
        "image": "sluice.fields.image:Image",
        "audio": "sluice.fields.audio:Audio",
        "seed": "sluice.fields.seed:Seed",
        "exemplar": "sluice.fields.exemplar:Exemplar",
        "pixels": "sluice.fields.exemplar:Pixels",
        "vector": "sluice.fields.lists:Vector",
        "names": "sluice.fields.lists:Names",
        "history": "sluice.fields.history:History",
        "key": "sluice.fields.key:Key",
    },
)


class Field:
    """A column of a dataset. As it stands: one of a kind nobody knows, which is kept as it is, neither checked nor profiled.

    Attributes:
        name: the column's.
        kind: the word on disk.
        quantity: its values are numbers on a line (float64): they have a range, quantiles, a correlation.
        category: its values are strings that each name one of several things.
        timed: its values are times, and a dataset tells how its source wrote them.
        words: its values are texts, of which words and characters can be counted.
        waves: its graph's tensor is a waveform, whose samples say little one by one.
        blob: a value is a file's bytes: large to hold, and decoded before anything is known of it.
        plain: its values can be compared as they stand in a dataset, with nothing decoded.
        lacks: what a row without a value lacks, in words (``no text (null or blank)``), where such a row can teach and be
            asked nothing and is left out; "" where a model takes rows without.
        checks: the checks of data that make sense for it alone, by the name they report under.
        listed: a source may list names of files in place of its values.
        files: what such files look like; None where no source lists any.
        loose: rows that are such a value alone may come without a label.
        setting: the key of ``data.columns`` that names its column, where that is not its kind.
        column_type: its type in a model's signature (MLflow's names).
    """

    kind: str = "other"
    quantity: ClassVar[bool] = False
    category: ClassVar[bool] = False
    timed: ClassVar[bool] = False
    words: ClassVar[bool] = False
    waves: ClassVar[bool] = False
    blob: ClassVar[bool] = False
    plain: ClassVar[bool] = False
    listed: ClassVar[bool] = False
    files: ClassVar[Files | None] = None
    loose: ClassVar[bool] = False
    setting: ClassVar[str] = ""
    lacks: ClassVar[str] = ""
    checks: ClassVar[frozenset[str]] = frozenset()
    column_type: ClassVar[str] = "any"

    def __init__(self, name: str):
        self.name = name

    @property
    def arrow(self) -> pa.DataType | None:
        """The column's type in a dataset; None: any."""
        return None

    def read(self, values: pa.ChunkedArray, where: str) -> pa.ChunkedArray:
        """A source's column as a dataset has it: of the type `arrow`, null where a value is missing.

        Args:
            values: what the source holds, of any type.
            where: what an error calls the column.

        Raises:
            DataError: the values cannot be read as this kind.
        """
        import pyarrow as pa

        try:
            return values if self.arrow is None else values.cast(self.arrow)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as e:
            raise DataError(
                f"of type {values.type} cannot be read as {self.kind}: {e}", field=where, fix="store another type, or name another kind"
            ) from e

    @property
    def logged(self) -> pa.DataType:
        """Its type in the log of predictions, where values stand as a client sent them."""
        import pyarrow as pa

        return pa.binary() if self.blob else pa.float64() if self.quantity else pa.string()

    def missing(self, column: pa.ChunkedArray) -> pa.ChunkedArray:
        """For each row whether it has no value: bool [rows]."""
        import pyarrow.compute as pc

        return pc.is_null(column)

    def summary(self, cells: Cells) -> dict[str, Any]:
        """A column for the report of its checks: ``name``, ``type``, ``rows``, ``nulls``, ``distinct`` (null: not counted), and what its kind has more."""
        return {"name": self.name, "type": self.kind, "rows": cells.rows, "nulls": cells.nulls, "distinct": None}

    def reference(self, rows: Rows) -> dict[str, Any]:
        """What drift is measured against: ``kind``, ``rows``, ``nulls``, what `counts` needs, and ``parts`` with their bins and counts.

        Args:
            rows: a dataset; its training rows are taken.
        """
        return {"kind": self.kind, "parts": {}}

    def counts(self, reference: Mapping[str, Any], values: Sequence[Any]) -> dict[str, NDArray[np.int64]]:
        """New raw values in a reference's bins: for each part int64 [as many as its counts]; what cannot be read is missing."""
        return {}

    def grid(self, reference: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """The bins that `counted` counts into: for each part as in a reference's ``parts``, or finer ones with the same layout and the reference's counts."""
        return dict(reference.get("parts", {}))

    def counted(self, reference: Mapping[str, Any], column: pa.Array, bounds: Sequence[int]) -> dict[str, NDArray[np.int64]]:
        """A column of the log of predictions in the bins of `grid`, for pieces of it: each part int64 [pieces, bins].

        Args:
            reference: of `reference`.
            column: values as `logged`.
            bounds: piece i is rows ``bounds[i] .. bounds[i + 1]``.
        """
        import numpy as np

        values = column.to_pylist()
        pieces = [self.counts(reference, values[a:b]) for a, b in zip(bounds, bounds[1:], strict=False)]
        return {part: np.stack([p[part] for p in pieces]) for part in (pieces[0] if pieces else ())}

    def unseen(self, reference: Mapping[str, Any], column: pa.Array, bounds: Sequence[int]) -> list[dict[str, int]]:
        """Values of pieces of a column that the reference's bins do not name, and how often each stands. Default: none are told."""
        return [{} for _ in bounds[1:]]

    def totals(self, column: pa.Array, bounds: Sequence[int]) -> NDArray[np.float64] | None:
        """How many finite numbers pieces of a column have, their sum and the sum of their squares: [pieces, 3]; None: they are no numbers."""
        return None

    def vectors(self, values: Sequence[Any]) -> NDArray[np.float64] | None:
        """What whole rows are in a few dozen numbers, float64 [rows, numbers], NaN where one cannot be read; None: such values have no more to say than their parts."""
        return None

    def watched(self, column: pa.ChunkedArray) -> np.ndarray:
        """One number a row of a column that holds neither quantities nor categories, for a label's profile: float64 [rows]. Default: NaN, nothing."""
        import numpy as np

        return np.full(len(column), np.nan)

    def drawn(self, reference: Mapping[str, Any], rows: int, rng: np.random.Generator) -> list[Any]:
        """Raw values as a reference has them, drawn by its counts: what a row is explained against. Default: all missing.

        Args:
            reference: of `reference`.
            rows: how many.
            rng: the only source of chance.
        """
        return [None] * rows

    def disturbances(self) -> Mapping[str, Disturbance]:
        """How such values come differently than they were collected, their row's truth staying what it is: by name. Default: in no way that is known."""
        return {}

    @classmethod
    def processor(cls) -> type[Processor] | None:
        """What turns rows that are such a value alone into the graph's tensors; None: it is only ever a column among others."""
        return None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"


def field_of(kind: str, name: str) -> Field:
    """The field of a column.

    Args:
        kind: a registered kind, ``module:Class``, or a word that a task of a user's own made up: such a column is kept as it is.
        name: the column's.

    Raises:
        ProjectError: the kind's class cannot be imported.
    """
    try:
        found: Field = FIELDS.get(kind)(name)
        if ":" in kind:
            found.kind = kind  # the word that finds it again
    except ProjectError:
        if ":" in kind or kind in FIELDS:
            raise
        found = Field(name)
        found.kind = kind
    return found


def fields_of(columns: Mapping[str, str]) -> dict[str, Field]:
    """The fields of a dataset's columns (name -> kind), in their order. Raises `ProjectError` as `field_of`."""
    return {name: field_of(kind, name) for name, kind in columns.items()}
