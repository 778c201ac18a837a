"""What every processor does, and how a specification's settings are read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from sluice.core.datatypes import TensorSpec
from sluice.core.errors import PackageError

if TYPE_CHECKING:
    from sluice.fields.field import Field
    from sluice.fields.pieces import Pieces

#: One row as tensors, without the batch axis, unpadded.
Example = dict[str, np.ndarray]

#: Reads a side file of the package by name.
SideFile = Callable[[str], bytes]


class Processor(ABC):
    """Raw rows in, the ONNX graph's input tensors out.

    Attributes:
        kind: the word in ``preprocess``: of the field that a row is alone, ``tabular`` or ``tensor``.
        value: the field that a row is alone; None: a row is a record of columns.
        inputs: the graph's inputs, in its order.
        max_length: most tokens of a row; 0: rows have no such length.
        pads: of inputs whose length differs from row to row: what is written behind the shorter ones.
        tokens: of these, those as long as the row's tokens.
        alike: whether examples are of one shape whatever the row, so that a batch is a stretch of `encode_batch` of all.
    """

    kind: ClassVar[str]
    value: ClassVar[Field | None] = None
    inputs: tuple[TensorSpec, ...]
    max_length: int = 0
    pads: Mapping[str, int] = MappingProxyType({})
    tokens: tuple[str, ...] = ()
    alike: ClassVar[bool] = False

    @classmethod
    @abstractmethod
    def load(cls, spec: Mapping[str, Any], side_file: SideFile) -> Self:
        """Read what `spec` gives. Raises `PackageError`."""

    @classmethod
    def names(cls, spec: Mapping[str, Any]) -> list[str] | None:
        """The columns of a dataset that a row is made of; None: every feature, where `spec` is a kind alone."""
        return None if cls.value is None else [cls.value.name]

    @classmethod
    def numbers(cls, spec: Mapping[str, Any]) -> frozenset[str]:
        """Those of `names` where a text is a number as programs write them; in the others a text is read by the processor itself."""
        return frozenset()

    @classmethod
    def blobs(cls) -> bool:
        """Whether rows are large: encoded files."""
        return cls.value is not None and cls.value.blob

    @abstractmethod
    def encode(self, rows: Sequence[Any]) -> list[Example]:
        """Turn raw rows into examples, one a row, without a batch axis and unpadded.

        Raises:
            InputError: a row cannot be used; `field` is ``rows[i]`` or ``rows[i].column``.
        """

    @abstractmethod
    def batch(self, examples: Sequence[Example]) -> dict[str, np.ndarray]:
        """Stack examples along a new first axis, padded to the longest. `examples` is not empty."""

    def encode_batch(self, rows: Sequence[Any]) -> dict[str, np.ndarray]:
        """`batch(encode(rows))`, in one go where that is faster. `rows` is not empty."""
        return self.batch(self.encode(rows))

    def owners(self) -> dict[str, tuple[str, ...]]:
        """Each column of a row -> the graph's inputs that are made of it; empty where a row is one value."""
        return {}

    def pieces(self, row: Any) -> Pieces | None:
        """A raw row taken apart, to find what an answer comes from; None: it has no pieces of its own. Raises `InputError`."""
        return None

    def length(self, example: Example) -> int:
        """What examples are sorted by before batching; 1 where all are alike."""
        return 1

    @abstractmethod
    def spec(self) -> dict[str, Any]:
        """The package's ``preprocess``: `load_processor(p.spec(), p.files())` is the same processor."""

    def files(self) -> dict[str, bytes]:
        """Side files the package must hold, by name."""
        return {}


def setting(spec: Mapping[str, Any], name: str, kind: type | tuple[type, ...], where: str = "preprocess") -> Any:
    """A required setting of a type (a bool is no int). Raises `PackageError`."""
    value = spec.get(name)
    if not isinstance(value, kind) or isinstance(value, bool):
        names = " or ".join(k.__name__ for k in (kind if isinstance(kind, tuple) else (kind,)))
        raise PackageError(f"must be {names}" if name in spec else "is missing", field=f"{where}.{name}", value=value)
    return value


def only(spec: Mapping[str, Any], *names: str, where: str = "preprocess") -> None:
    """Refuse settings this version does not know: it would serve another model than was trained."""
    unknown = sorted(set(map(str, spec)) - set(names))
    if unknown:
        raise PackageError(
            "is not a setting of this kind",
            field=f"{where}.{unknown[0]}",
            value=spec.get(unknown[0]),
            fix=f"known: {', '.join(names)}; serve the package with the version that wrote it",
        )
