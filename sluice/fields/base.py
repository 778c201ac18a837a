"""What every processor does, and how a specification's settings are read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from sluice.core.datatypes import TensorSpec
from sluice.core.errors import PackageError

#: One row as tensors, without the batch axis, unpadded.
Example = dict[str, np.ndarray]

#: Reads a side file of the package by name.
SideFile = Callable[[str], bytes]


class Processor(ABC):
    """Raw rows in, the ONNX graph's input tensors out.

    Attributes:
        kind: ``text``, ``image``, ``audio``, ``tabular`` or ``tensor``.
        inputs: the graph's inputs, in its order.
    """

    kind: ClassVar[str]
    inputs: tuple[TensorSpec, ...]

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
