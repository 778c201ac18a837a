"""Files of rows read a window at a time, and written back with columns added: memory is a few windows, whatever the file's size."""

from __future__ import annotations

import contextlib
import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import orjson
import pyarrow as pa

from sluice.data.scheme import Found


@dataclasses.dataclass(frozen=True)
class Window:
    """Some rows of a file.

    Attributes:
        places: where each row lies, to name it: its line, or ``row N``.
        columns: column -> the rows' values: a list, or an Arrow column.
        raw: the rows as they are written back, in the file's own form.
        broken: what could not be read as a row, in the same order: (place, message, value). It is in none of the others.
    """

    places: Sequence[str]
    columns: Mapping[str, Any]
    raw: Any
    broken: Sequence[tuple[str, str, Any]] = ()


class Stream(ABC):
    """A file of rows. `columns` are the names known before any row is read; `notes` what was found out and not declared."""

    kind: ClassVar[str]
    columns: Sequence[str] = ()
    notes: Sequence[str] = ()

    def __init__(self, file: Found):
        self.file = file

    @abstractmethod
    def windows(self, rows: int) -> Iterator[Window]:
        """The rows in order, at most `rows` at a time. Raises `DataError` where nothing more can be read."""

    @abstractmethod
    def writer(self, path: Path, added: Sequence[str], packing: str | None) -> contextlib.AbstractContextManager[Writer]:
        """What writes this file's rows to `path`, with the columns `added` behind the file's own; text is packed so (`gzip`...)."""


class Writer(ABC):
    """Writes a file's rows again, in its own format."""

    @abstractmethod
    def write(self, window: Window, good: Sequence[int], added: Mapping[str, pa.Array]) -> None:
        """Write the rows `good` of a window, with their values of the added columns."""


def texts(column: pa.Array) -> list[str]:
    """Shortest texts: of float32 those that read back as the same number; of lists JSON."""
    if pa.types.is_float32(column.type):
        return [str(v) for v in column.to_numpy(zero_copy_only=False)]
    if pa.types.is_list(column.type):
        return ["" if v is None else orjson.dumps(v.as_py()).decode() for v in column]
    return ["" if v is None else str(v) for v in column.to_pylist()]
