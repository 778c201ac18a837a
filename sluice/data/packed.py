"""Packed files of rows: what their names end with, and the table that a zip file holds."""

from __future__ import annotations

import io
import lzma
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa

from sluice.core.errors import DataError

#: Endings of packed files of rows, which are unpacked while they are read.
PACKED = frozenset({".gz", ".bz2", ".zst", ".lz4", ".xz", ".zip"})
#: Of these, those that are written too: ending -> Arrow's name.
WRITTEN = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd", ".lz4": "lz4"}
#: Bytes unpacked at a time.
_BUFFER = 1 << 20


class _Unpacked(io.RawIOBase):
    """A packed stream whose faults are `OSError`s, as those of a file are."""

    def __init__(self, packed: Any):
        self._packed = packed

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            read = self._packed.read(len(buffer))
        except (lzma.LZMAError, zlib.error, zipfile.BadZipFile, EOFError) as e:
            raise OSError(str(e)) from e
        buffer[: len(read)] = read
        return len(read)

    def close(self) -> None:
        self._packed.close()
        super().close()


def inner_suffix(path: Path) -> str:
    """What a file's name ends with once it is unpacked, in small letters (``train.csv.gz``: ``.csv``); of a zip file of one table, as that is called."""
    suffixes = [s.lower() for s in path.suffixes]
    packed_as_zip = suffixes[-1:] == [".zip"]
    while suffixes and suffixes[-1] in PACKED:
        suffixes.pop()
    if packed_as_zip and (only := only_file(path)) is not None:
        return PurePosixPath(only).suffix.lower()
    return suffixes[-1] if suffixes else ""


def only_file(path: Path) -> str | None:
    """The name of the one file that a zip file holds; null where it holds none, several or a folder's, or is no zip file that can be read."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [i.filename for i in archive.infolist() if not i.is_dir()]
    except (zipfile.BadZipFile, OSError, NotImplementedError):
        return None
    # What a Mac adds to every zip file is none of its data.
    names = [n for n in names if not n.startswith("__MACOSX/") and not PurePosixPath(n).name.startswith(".")]
    return names[0] if len(names) == 1 else None


def unpacking(path: Path, where: str) -> Any:
    """The bytes of a file as a stream, unpacked as its name says.

    Args:
        where: what the file is called in an error.

    Raises:
        DataError: a zip file holds other than one file, or one that needs a password.
    """
    kind = path.suffix.lower()
    if kind == ".xz":
        return io.BufferedReader(_Unpacked(lzma.open(path)), _BUFFER)
    if kind != ".zip":
        return pa.input_stream(str(path), compression="detect")
    only = only_file(path)
    if only is None:
        raise DataError("is a zip file that does not hold one file", field=where, fix="unpack it, and name a file or a folder")
    try:
        with zipfile.ZipFile(path) as archive:
            return io.BufferedReader(_Unpacked(archive.open(only)), _BUFFER)
    except (RuntimeError, NotImplementedError, zipfile.BadZipFile) as e:
        raise DataError(f"cannot be unpacked: {e}", field=where, fix="unpack it, and name the file in it") from e
