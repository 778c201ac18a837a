"""An archive of files in place of a folder: unpacked for as long as it is read."""

from __future__ import annotations

import contextlib
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from sluice.core.errors import DataError
from sluice.core.scratch import scratch
from sluice.data.forms import format_of
from sluice.data.scheme import Found

_ENDINGS = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2", ".tbz2", ".zip")
_BROKEN = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, NotImplementedError)
#: Most bytes and files that an archive may hold.
_MOST_BYTES, _MOST_FILES = 64 << 30, 5_000_000


def is_archive(path: Path) -> bool:
    """Whether a file's name tells that it holds files; a zip file of one table is that table, packed."""
    return path.is_file() and path.name.lower().endswith(_ENDINGS) and not (path.suffix.lower() == ".zip" and format_of(path) is not None)


def are_archives(found: Sequence[Found]) -> bool:
    """Whether files are archives. Raises `DataError` where some are and others are not."""
    packed = [is_archive(f.path) for f in found]
    if any(packed) and not all(packed):
        other = found[packed.index(False)]
        raise DataError(
            "is no archive, as others of the source are", field="data.source", value=other.where, fix="narrow the glob: data/*.tar"
        )
    return all(packed)


@contextlib.contextmanager
def all_unpacked(files: Sequence[Found]) -> Iterator[list[Found]]:
    """The folders that archives hold, in the archives' order. Raises as `unpacked`."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(unpacked(file)) for file in files]


@contextlib.contextmanager
def unpacked(file: Found) -> Iterator[Found]:
    """The folder that an archive holds; where all lies in one folder of it, that one. Only plain files are taken, below the folder.

    Raises:
        DataError: it cannot be read, or holds more than a source may; a file in it that is broken is named.
    """
    with scratch("sluice-archive-") as made:
        root = made / "files"
        root.mkdir()
        try:
            if file.path.name.lower().endswith(".zip"):
                _unzip(file, root)
            else:
                _untar(file, root)
        except _BROKEN as e:
            raise DataError(f"cannot be unpacked: {e}", field=file.where, fix="pack it again, or name a folder") from e
        inside = [p for p in root.iterdir() if not p.name.startswith(".") and p.name != "__MACOSX"]
        while len(inside) == 1 and inside[0].is_dir():
            root = inside[0]
            inside = [p for p in root.iterdir() if not p.name.startswith(".")]
        yield Found(root, file.where)


def _untar(file: Found, root: Path) -> None:
    with tarfile.open(file.path) as archive:
        count = size = 0
        for member in archive:
            if not member.isfile():
                continue
            count, size = count + 1, size + member.size
            _bounded(file, count, size)
            with _named(file, member.name):
                archive.extract(member, root, filter="data")


def _unzip(file: Found, root: Path) -> None:
    with zipfile.ZipFile(file.path) as archive:
        members = [i for i in archive.infolist() if not i.is_dir() and not stat.S_ISLNK(i.external_attr >> 16)]
        _bounded(file, len(members), sum(i.file_size for i in members))
        for member in members:
            if ".." in PurePosixPath(member.filename).parts:
                raise DataError("holds a file outside of itself", field=file.where, value=member.filename, fix="pack it again")
            with _named(file, member.filename):
                archive.extract(member, root)


@contextlib.contextmanager
def _named(file: Found, member: str) -> Iterator[None]:
    """What goes wrong within is said of a file in the archive. Raises `DataError`."""
    try:
        yield
    except _BROKEN as e:
        fix = "pack it again, or name a folder"
        raise DataError(f"cannot be unpacked: {e}", field=f"{file.where}: {member}", fix=fix) from e


def _bounded(file: Found, count: int, size: int) -> None:
    if count > _MOST_FILES or size > _MOST_BYTES:
        raise DataError("holds more than a source may", field=file.where, value=f"{count} files, {size} bytes", fix="name a folder")
