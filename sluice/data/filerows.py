"""A source whose rows are files (pictures, recordings; a folder, an archive, names that say labels), read a few files at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sluice.core.errors import DataError
from sluice.data.archives import all_unpacked, are_archives
from sluice.data.blocks import ROWS
from sluice.data.flow import Kept, Looked
from sluice.data.folders import Listing, list_folder, list_folders, list_named
from sluice.data.scheme import Found
from sluice.data.sources import folder_is_meant

if TYPE_CHECKING:
    from sluice.data.config import DataConfig
    from sluice.fields import Field

#: What files take in memory where they are read whole, as a multiple of their bytes: the rows, those that can be used, and those of each split.
_TAKES = 3
#: Which part of ``data.memory`` the files of a piece may take.
_PART = 32


@contextlib.contextmanager
def listed(
    found: Sequence[Found] | pa.Table, value: Field, data: DataConfig
) -> Iterator[tuple[Listing, tuple[tuple[str, int], ...]] | None]:
    """The files of a source, and what was read with the rows of each; None where its rows are no files. An archive is unpacked for as long.

    Raises:
        DataError: as `list_folder`, `list_named`, `unpacked`.
    """
    if isinstance(found, pa.Table) or value.files is None:
        yield None
    elif found[0].path.is_dir():
        made = list_folder(found[0], data.columns, folder_is_meant(found[0], data.format, value))
        yield made, ((found[0].where, len(made.paths)),)
    elif value.listed and are_archives(found):
        with all_unpacked(found) as folders:
            made = list_folders(folders, data.columns, value)
            yield made, tuple(made.rows_of(folders))
    elif all(f.path.suffix.lower() in value.files.read for f in found):
        yield list_named(found, data.columns, value), tuple((f.where, 1) for f in found)
    else:
        yield None


class Files(Kept):
    """Files, read in the order of their rows.

    Args:
        listing: of them. parts: as of `listed`. memory: bytes that a piece may take.

    Attributes:
        takes: what reading them whole would take. rows: of a piece.
    """

    def __init__(self, listing: Listing, parts: tuple[tuple[str, int], ...], memory: int):
        super().__init__()
        self.listing, self.parts, self.names = listing, list(parts), list(listing.columns)
        sizes = np.array([_size(p, name) for p, name in zip(listing.paths, listing.names, strict=True)], np.int64)
        self.takes = _TAKES * int(sizes.sum())
        self.rows = _rows_of_a_piece(sizes, memory // _PART)

    def blocks(self) -> Iterator[pa.Table]:
        """A few files a piece."""
        for at in range(0, len(self.listing.paths), self.rows):
            yield self.listing.table(at, self.rows)

    def looked(self) -> Looked:
        """What is known before a file is read: all but its bytes."""
        return Looked(self.listing.without_bytes(), tuple(self.parts), (), {}, self)


def _size(path: Path, name: str) -> int:
    try:
        return path.stat().st_size
    except OSError as e:
        raise DataError(f"cannot be read: {e.strerror}", field=name, fix="check the file and its permissions, or remove it") from e


def _rows_of_a_piece(sizes: NDArray[np.int64], most: int) -> int:
    """The most rows, a power of two, so that no piece of as many takes more than `most` bytes; 1 where a file alone does."""
    rows = ROWS
    while rows > 1 and np.add.reduceat(sizes, np.arange(0, len(sizes), rows)).max(initial=0) > most:
        rows //= 2
    return rows
