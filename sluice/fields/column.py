"""A column among others of a table's rows, as a package keeps it, and what its kind of field does with it."""

from __future__ import annotations

import dataclasses
import functools
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from sluice.core.datatypes import TensorSpec
from sluice.core.numerals import Numerals
from sluice.core.spelling import Spelling
from sluice.fields.field import Field, field_of

if TYPE_CHECKING:
    import pyarrow as pa

    from sluice.fields.parts import Rows
    from sluice.fields.timeparts import TimeColumn

#: What an input of the graph cannot be called: its outputs' names, and what the exporter's functions call themselves.
RESERVED = frozenset({"probabilities", "value", "self"})


class ColumnField(Field, ABC):
    """A field that is one column among others of a record. A kind of your own for tables derives from this class."""

    #: Settings that such a column of a package may have beside its name, type and input.
    options: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def load(cls, spec: Mapping[str, Any], where: str) -> dict[str, Any]:
        """A package's column of this kind as arguments of `Column`. Default: the `options` it has, as they stand.

        Args:
            spec: the column's object in ``preprocess.columns``.
            where: what an error calls it.

        Raises:
            PackageError: a setting is not what it must be.
        """
        return {"own": {k: spec[k] for k in cls.options if k in spec}}

    def fit(self, rows: Rows) -> dict[str, Any]:
        """What is learnt from a dataset's training rows before any is encoded, as arguments of `Column`. Default: nothing."""
        return {}

    def seen(self, column: Column, cells: pa.Array) -> dict[str, Any]:
        """A dataset's cells as what the graph's inputs are fitted to: numbers, NaN where one is missing, or strings, [rows] an input."""
        return {name: tensor[:, 0] for name, tensor in self.encode(column, cells.to_pylist(), len(cells)).items()}

    @abstractmethod
    def inputs(self, column: Column) -> list[tuple[str, str]]:
        """The graph's inputs: (name, datatype ``FP32`` or ``BYTES``), each [rows, `width`]. Names begin with `Column.tensor`."""

    def width(self, column: Column) -> int:
        """Numbers a row has in each input."""
        return 1

    @abstractmethod
    def encode(self, column: Column, values: Sequence[Any] | None, rows: int) -> dict[str, np.ndarray]:
        """Raw values as the tensors of `inputs`: [rows, `width`], FP32 with NaN, or object (str) with "", where one is missing.

        Args:
            values: what a client sent or a table holds [rows]; None: missing throughout.

        Raises:
            InputError: a value cannot be used; `field` is ``rows[i].column``.
        """

    def sent(self, column: Column) -> str:
        """The V2 datatype in which a client sends it."""
        return "BYTES"

    def log(self, column: Column, values: Sequence[Any]) -> list[Any]:
        """Raw values that `encode` takes as the log of predictions keeps them (`logged`), None where one is missing."""
        return [None if v is None else str(v) for v in values]


@dataclasses.dataclass(frozen=True)
class Column:
    """A feature.

    Attributes:
        name: the client's and the data's.
        type: its kind of field.
        spelling: how a category's training rows spell their values (`sluice.core.spelling`): ``boolean``,
            ``number`` or ``text``. None in packages of before: texts stay as they are.
        input: the graph's input, where it cannot have the column's name.
        numerals: how a quantity's numbers are written where they come as texts; None: texts are no numbers.
        time: how times are read and what is made of them; None for others.
        centre: of a quantity: what is taken away in 64 bits before the number becomes one of 32.
        own: settings of a kind of a user's own.
        written: `Spelling.written` of a category of texts; it stands in a file of its own.
    """

    name: str
    type: str
    spelling: str | None = None
    input: str | None = None
    numerals: Numerals | None = None
    time: TimeColumn | None = None
    centre: float = 0.0
    own: Mapping[str, Any] = dataclasses.field(default_factory=dict, hash=False)
    written: Mapping[str, str | None] = dataclasses.field(default_factory=dict, hash=False, compare=False)

    @functools.cached_property
    def field(self) -> Field:
        """What its kind does with it: a `ColumnField` in every processor."""
        return field_of(self.type, self.name)

    @functools.cached_property
    def spelled(self) -> Spelling | None:
        """How its values are spelled, where it says so."""
        return None if self.spelling is None else Spelling(self.spelling, self.written)

    @property
    def tensor(self) -> str:
        """The graph's input; of several the beginning of theirs."""
        return self.input or self.name

    def inputs(self) -> list[TensorSpec]:
        """The graph's inputs."""
        assert isinstance(self.field, ColumnField)
        return [TensorSpec(name, datatype, (-1, self.field.width(self))) for name, datatype in self.field.inputs(self)]

    def sent(self) -> TensorSpec:
        """What a client sends of it."""
        assert isinstance(self.field, ColumnField)
        return TensorSpec(self.name, self.field.sent(self), (-1, self.field.width(self)))

    def spec(self) -> dict[str, Any]:
        """Its object in a package's ``preprocess.columns``."""
        given = {
            "spelling": self.spelling,
            "input": self.input,
            "numerals": self.numerals and dataclasses.asdict(self.numerals),
            "centre": self.centre or None,
        }
        return {
            "name": self.name,
            "type": self.type,
            **{k: v for k, v in given.items() if v is not None},
            **(self.time.spec() if self.time else {}),
            **self.own,
        }


def input_name(name: str, columns: Collection[str], taken: Collection[str] = ()) -> str | None:
    """`Column.input` of a column among `columns`: None where its own name can be the graph's, which is none of `taken`."""
    if name not in RESERVED and name not in taken:
        return None
    found = f"{name}__column"
    while found in columns or found in taken:
        found += "_"
    return found
