"""Files that are either whole or not there: atomic writes, canonical JSON, digests."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

#: Unfinished writes carry this prefix; readers ignore them, `sluice run` sweeps them.
PARTIAL = ".partial-"


def canonical_json(value: Any) -> bytes:
    """JSON with sorted keys and no white space: the same value is always the same bytes."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS | orjson.OPT_SERIALIZE_NUMPY)


def pretty_json(value: Any) -> bytes:
    """JSON for people, with sorted keys: still the same bytes for the same value."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY) + b"\n"


def read_json(path: Path) -> Any:
    """Parse a JSON file. Raises ``OSError`` or ``ValueError``."""
    return orjson.loads(path.read_bytes())


def digest_of(value: Any) -> str:
    """sha256 (hex) of a value's canonical JSON."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def sha256_file(path: Path, chunk: int = 1 << 20) -> str:
    """sha256 (hex) of a file's bytes, read in chunks."""
    h = hashlib.sha256()
    with path.open("rb") as f:
        while block := f.read(chunk):
            h.update(block)
    return h.hexdigest()


def fsync_path(path: Path) -> None:
    """Make a file's or a directory's content durable."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file so that a reader, or a crash, sees the old content or the new, never a part."""
    with new_file(path) as tmp:
        tmp.write_bytes(data)


@contextlib.contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """Fill a file beside its final place; it appears there whole, in the place of an older one, when the block ends well.

    After an exception nothing is left.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    tmp = path.with_name(f"{PARTIAL}{path.name}.{secrets.token_hex(4)}-{os.getpid()}")
    try:
        yield tmp
        fsync_path(tmp)
        tmp.replace(path)
        fsync_path(path.parent)
    finally:
        tmp.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """`write_bytes` for UTF-8 text."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """`write_bytes` for `pretty_json`."""
    write_bytes(path, pretty_json(value))


@contextlib.contextmanager
def new_dir(path: Path) -> Iterator[Path]:
    """Fill a directory beside its final place; it appears there whole when the block ends well.

    An existing directory at `path` is replaced. After an exception nothing is left.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    tmp = path.with_name(f"{PARTIAL}{path.name}.{secrets.token_hex(4)}-{os.getpid()}")
    tmp.mkdir()
    try:
        yield tmp
        put_dir(tmp, path)
    finally:
        shutil.rmtree(tmp, ignore_errors=True)


def put_dir(tmp: Path, path: Path) -> None:
    """Make all of `tmp` durable and put it in the place of `path`, beside it, in one step."""
    for f in [*sorted(tmp.rglob("*")), tmp]:
        fsync_path(f)
    if path.exists():
        _exchange(tmp, path)
    else:
        tmp.rename(path)
    fsync_path(path.parent)
    shutil.rmtree(tmp, ignore_errors=True)  # what was there before


_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


def _exchange(new: Path, old: Path) -> None:
    """Swap two directories in one step (Linux ``renameat2``); elsewhere there is a moment with neither."""
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is not None and call(_AT_FDCWD, os.fsencode(new), _AT_FDCWD, os.fsencode(old), _RENAME_EXCHANGE) == 0:
        return
    aside = new.with_name(f"{new.name}.old")
    old.rename(aside)
    new.rename(old)
    shutil.rmtree(aside, ignore_errors=True)


def _alive(partial: Path) -> bool:
    """Whether the process that is writing a partial entry still runs."""
    pid = partial.name.rpartition("-")[2]
    if not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return int(pid) != os.getpid()


def sweep_partials(root: Path) -> int:
    """Remove what killed writers left below `root`, and nothing a live one is writing; returns how many entries."""
    found = [p for p in root.rglob(f"{PARTIAL}*") if not _alive(p)]
    for p in found:
        if p.is_dir():
            shutil.rmtree(p, ignore_errors=True)
        else:
            p.unlink(missing_ok=True)
    return len(found)
