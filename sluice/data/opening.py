"""Files of rows, opened: unpacked, decoded, with a word where that cannot be."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator
from typing import Any

from sluice.core.errors import DataError
from sluice.data.jsonarray import NAMED, Elements, begins_array
from sluice.data.packed import PACKED, inner_suffix, unpacking
from sluice.data.scheme import Found

_BOMS = {codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
#: What packed files begin with; no text does.
_PACKINGS = {b"\x1f\x8b": ".gz", b"\x28\xb5\x2f\xfd": ".zst", b"\xfd7zXZ\0": ".xz"}
#: Bytes of a file's beginning that are looked at.
_HEAD = 1 << 16
UNPACK_AGAIN = "compress it again"


def opened(file: Found) -> Any:
    """The bytes of a file as a stream, unpacked as its name says; of a JSON array its objects, one a line."""
    stream = unpacking(file.path, file.where)
    return io.BufferedReader(Elements(stream, file.where), _HEAD) if holds_array(file) else stream


def lines_of(stream: Any) -> Iterator[bytes]:
    """Lines of a stream, ended by a line feed and nothing else, without it."""
    rest = b""
    while block := stream.read(1 << 20):
        *whole, rest = (rest + block).split(b"\n")
        yield from whole
    if rest:
        yield rest


def holds_array(file: Found) -> bool:
    """Whether it is called as JSON files are, and begins as an array of objects."""
    if inner_suffix(file.path) not in NAMED:
        return False
    with unpacking(file.path, file.where) as stream:
        return begins_array(stream.read(_HEAD))


def text_of(file: Found, encoding: str = "utf-8") -> io.TextIOWrapper:
    """The file as text, line ends as they are; bytes that are not of the encoding stay apart as lone surrogates."""
    name = "utf-8-sig" if encoding == "utf-8" else encoding
    return io.TextIOWrapper(opened(file), encoding=name, errors="surrogateescape" if name == "utf-8-sig" else "replace", newline="")


def not_empty(file: Found, encoding: str = "utf-8", setting: str | None = None) -> None:
    """Raise `DataError` if the file is a directory, cannot be read, is empty, or begins with the mark of another encoding.

    Args:
        setting: what declares the encoding, where anything does.
    """
    try:
        if file.path.is_dir():
            raise DataError(
                "is a directory where a file is meant", field=file.where, fix=f"name a file in it, or a glob: {file.where.rstrip('/')}/*"
            )
        with file.path.open("rb") as f:
            head = f.read(1 << 16)
    except OSError as e:
        raise DataError(f"cannot be read: {e.strerror}", field=file.where, fix="check the path and its permissions") from e
    if not head.strip():
        raise DataError("is empty", field=file.where, fix="name a file with rows in it")
    for mark, name in _BOMS.items():
        if head.startswith(mark) and not encoding.startswith(name):
            also = f", or set {setting}: {name}" if setting else ""
            raise DataError(f"is {name.upper()} text", field=file.where, fix=f"save it as UTF-8{also}")
    for mark, ending in _PACKINGS.items():
        if setting and head.startswith(mark) and file.path.suffix.lower() not in PACKED:
            raise DataError(
                f"is packed, whatever its name says: it begins as a {ending} file does",
                field=file.where,
                fix=f"name it so: {file.path.name}{ending}",
            )
    if setting and encoding == "utf-8" and (bare := without_mark(head)) is not None:
        raise DataError("is UTF-16 text without its mark", field=file.where, fix=f"save it as UTF-8, or set {setting}: {bare}")
    if encoding in _BOMS.values():
        try:
            with opened(file) as stream:
                begin = stream.read(4)
        except OSError as e:
            raise DataError(f"cannot be unpacked: {e}", field=file.where, fix=UNPACK_AGAIN) from e
        if not any(begin.startswith(mark) for mark, name in _BOMS.items() if name == encoding):
            raise DataError(
                f"does not begin with the mark of {encoding.upper()}",
                field=file.where,
                fix=f"set {setting or 'the encoding'}: {encoding}-le or {encoding}-be, or utf-8 if that is what it is",
            )


def without_mark(head: bytes) -> str | None:
    """UTF-16 that no mark tells: nearly every second byte is zero, and hardly one of the others."""
    some = len(head) // 2
    for name, zero, other in (("utf-16-le", head[1::2], head[::2]), ("utf-16-be", head[::2], head[1::2])):
        if some > 8 and zero.count(0) > 0.8 * some and other.count(0) < 0.01 * some:
            return name
    return None


def not_encoded(file: Found, encoding: str = "utf-8", setting: str | None = None) -> DataError:
    """The error that names the line of the first bytes that are not of the encoding."""
    decoder = codecs.getincrementaldecoder(encoding)()
    called = encoding.upper() if encoding.startswith("utf") else encoding
    line = 1
    with opened(file) as f:
        while True:
            block = f.read(1 << 20)
            pending = decoder.getstate()[0]
            try:
                decoder.decode(block, final=not block)
            except UnicodeDecodeError as e:
                line += (pending + block)[: e.start].count(b"\n")
                bad = bytes(e.object[e.start : e.start + 4])
                fix = "save it as UTF-8"
                if setting:
                    fix += f", or say what it is: {setting}: cp1252 (older Windows programs), latin-1, utf-16, cp949, ..."
                return DataError(f"is not {called} text: {e.reason}", field=f"{file.where}:{line}", value=bad, fix=fix)
            if not block:
                return DataError(f"holds a string that is not {called}", field=file.where, fix="save it as UTF-8")
            line += block.count(b"\n")
