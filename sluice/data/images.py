"""Images of a source: a folder a label, or a list of files with labels; and whether bytes are an image at all."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from sluice.core.errors import DataError
from sluice.data.config import Columns
from sluice.data.csvfile import read_csv
from sluice.data.scheme import Found
from sluice.fields.image import LIMIT_BYTES

#: A table of files and labels may lie in an image folder under this name.
LABELS_FILE = "labels.csv"
#: What the column of file names may be called there, beside ``data.columns.image``.
FILE_COLUMNS = ("file", "filename", "file_name", "path")

_READ = {".png", ".jpg", ".jpeg"}
_OTHER = {".bmp", ".gif", ".webp", ".tif", ".tiff", ".heic", ".avif", ".ico", ".svg", ".ppm", ".pgm"}
_SIGNATURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")
_CHUNK_BYTES = 256 << 20


def read_folder(folder: Found, columns: Columns) -> tuple[pa.Table, list[str]]:
    """A folder whose sub-folders are the labels, or that holds ``labels.csv`` (file, label).

    Returns:
        The table with columns ``columns.image`` (the files' bytes) and ``columns.label``, sorted by
        label and file name or in the order of ``labels.csv``; and each row's file, for messages.

    Raises:
        DataError: no images, images outside the labels' folders or deeper than they, a file that cannot
            be read or is neither PNG nor JPEG, a file in ``labels.csv`` that is not there.
    """
    if (folder.path / LABELS_FILE).is_file():
        table = read_csv(Found(folder.path / LABELS_FILE, f"{folder.where.rstrip('/')}/{LABELS_FILE}")).table
        return read_listed(table, Found(folder.path / LABELS_FILE, f"{folder.where.rstrip('/')}/{LABELS_FILE}"), columns)
    labels: list[str] = []
    paths: list[Path] = []
    groups = [p for p in sorted(folder.path.iterdir()) if p.is_dir() and not p.name.startswith(".")]
    loose = [p for p in sorted(folder.path.iterdir()) if p.suffix.lower() in _READ]
    if loose:
        raise DataError(
            f"lies in no label's folder{_and_others(loose)}",
            field=_shown(folder, loose[0]),
            fix=f"put it into a sub-folder named after its label, or list files and labels in {LABELS_FILE}",
        )
    for group in groups:
        found = _images_in(folder, group)
        labels += [group.name] * len(found)
        paths += found
    if not paths:
        raise DataError(
            "holds no images in sub-folders",
            field=folder.where,
            value=[p.name for p in groups][:10],
            fix=f"one sub-folder a label with PNG or JPEG files in it, or a {LABELS_FILE}",
        )
    names = [_shown(folder, p) for p in paths]
    return pa.table({columns.image: read_files(paths, names), columns.label: pa.array(labels, pa.string())}), names


def read_listed(table: pa.Table, file: Found, columns: Columns) -> tuple[pa.Table, list[str]]:
    """A table of file names and labels, with the names replaced by the files' bytes; they start in the table's folder.

    Raises:
        DataError: as `read_folder`; or a file lies outside the table's folder: a list from elsewhere must not bring this machine's files into a dataset.
    """
    name = next((n for n in (columns.image, *FILE_COLUMNS) if n in table.schema.names), None)
    if name is None or not pa.types.is_string(table.schema.field(name).type):
        raise DataError(
            "has no column of file names",
            field=file.where,
            value=table.schema.names,
            fix=f"name it {columns.image}, {' or '.join(FILE_COLUMNS)}, or set data.columns.image",
        )
    written = table.column(name).to_pylist()
    blank = next((i for i, w in enumerate(written) if not w), None)
    if blank is not None:
        raise DataError(f"row {blank + 1} names no image", field=file.where, value=written[blank], fix="name its file, or remove the row")
    base = file.path.parent
    root = file.where.rpartition("/")[0]
    paths = [Path(os.path.normpath(base / w)) for w in written]
    outside = [w for w, p in zip(written, paths, strict=True) if not p.is_relative_to(os.path.normpath(base))]
    if outside:
        raise DataError(
            f"names a file outside the folder of the table{_and_others(outside)}",
            field=file.where,
            value=outside[0],
            fix="put the images below that folder, and name them from there",
        )
    missing = [w for w, p in zip(written, paths, strict=True) if not p.is_file()]
    if missing:
        raise DataError(
            f"names a file that is not there{_and_others(missing)}",
            field=file.where,
            value=missing[0],
            fix="file names start in the folder of the table",
        )
    names = [f"{root}/{w}" if root else w for w in written]
    bytes_ = read_files(paths, names)
    rest = table.drop_columns([name])
    if columns.image in rest.schema.names:
        rest = rest.drop_columns([columns.image])
    return rest.append_column(columns.image, bytes_), names


def read_files(paths: Sequence[Path], names: Sequence[str]) -> pa.ChunkedArray:
    """The bytes of files, in chunks that 32-bit offsets can address.

    Raises:
        DataError: one cannot be read, is empty, too large, or neither PNG nor JPEG.
    """
    chunks: list[pa.Array] = []
    held: list[bytes] = []
    size = 0
    for path, name in zip(paths, names, strict=True):
        try:
            data = path.read_bytes()
        except OSError as e:
            raise DataError(f"cannot be read: {e.strerror}", field=name, fix="check the file and its permissions, or remove it") from e
        if not data:
            raise DataError("is empty", field=name, fix="put the image back, or remove the file")
        if len(data) > LIMIT_BYTES:
            raise DataError(
                f"is larger than {LIMIT_BYTES} bytes", field=name, value=len(data), fix="store it smaller; no server takes it either"
            )
        if not data.startswith(_SIGNATURES):
            raise DataError(
                "is neither PNG nor JPEG, whatever its name says", field=name, value=data[:8], fix="convert it to PNG, or remove it"
            )
        held.append(data)
        size += len(data)
        if size >= _CHUNK_BYTES:
            chunks.append(pa.array(held, pa.binary()))
            held, size = [], 0
    return pa.chunked_array([*chunks, pa.array(held, pa.binary())], pa.binary())


def png(pixels: Sequence[Sequence[int]]) -> bytes:
    """An 8-bit grey image [height, width] as PNG, stored without compression: the same bytes with every zlib.

    Format: PNG (Third Edition), W3C Recommendation 2025.
    """
    height, width = len(pixels), len(pixels[0])
    raw = b"".join(b"\x00" + bytes(row) for row in pixels)

    def part(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return _SIGNATURES[0] + part(b"IHDR", head) + part(b"IDAT", zlib.compress(raw, 0)) + part(b"IEND", b"")


def _images_in(folder: Found, group: Path) -> list[Path]:
    found: list[Path] = []
    deep: list[Path] = []
    for path in sorted(group.rglob("*")):
        if any(part.startswith(".") for part in path.relative_to(group).parts):
            continue
        suffix = path.suffix.lower()
        if suffix in _OTHER:
            raise DataError(f"is of a format that is not read ({suffix})", field=_shown(folder, path), fix="convert it to PNG or JPEG")
        if suffix in _READ:
            (found if path.parent == group else deep).append(path)
    if deep:
        raise DataError(
            f"lies deeper than its label's folder {group.name}{_and_others(deep)}",
            field=_shown(folder, deep[0]),
            fix="name the folder whose sub-folders are the labels (for example .../train), or move the files up",
        )
    if not found:
        raise DataError("is a label's folder without images", field=_shown(folder, group), fix="put PNG or JPEG files in, or remove it")
    return found


def _shown(folder: Found, path: Path) -> str:
    return f"{folder.where.rstrip('/')}/{path.relative_to(folder.path).as_posix()}"


def _and_others(found: Sequence[object]) -> str:
    return f" (and {len(found) - 1} more)" if len(found) > 1 else ""
