"""A home saved and put back: registry, packages with their proofs, runs, reports, rollouts, audit log."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from sluice import __version__
from sluice.audit.log import FolderLog, open_log
from sluice.backup import archive
from sluice.core import files, sqlite
from sluice.core.errors import HomeError
from sluice.core.home import Home
from sluice.proof.keys import PRIVATE_NAME

#: Folders whose files are made anew when they are wanted, and what a process holds only while it runs.
_LEFT = ("artifacts/pipelines/", "cache/")
_LEFT_NAMES = (".lock", "lock", ".doctor")
#: What only signs: a copy of it is one more place it can be stolen from. The public half is kept.
_KEY = f"keys/{PRIVATE_NAME}"
_BUSY_SECONDS = 30.0


def save(home: Home, out: Path, *, keys: bool = False) -> dict[str, Any]:
    """Save a home, which nobody changes meanwhile.

    Args:
        out: the file. keys: private keys too.

    Returns:
        The backup's list.

    Raises:
        HomeError: there is no home, a run holds it, or it cannot be read.
    """
    if not (home.root / "sluice-home.json").is_file():
        raise HomeError("is no home of Sluice", field="--home", value=str(home.root), fix="--home DIR, or $SLUICE_HOME")
    if out.resolve().is_relative_to(home.root.resolve()):
        raise HomeError("lies in the home it saves", field="-o", value=str(out), fix="name a file elsewhere, best on another disk")
    with home.lock(f"sluice backup -o {out}"), tempfile.TemporaryDirectory(prefix="sluice-backup-") as work, _still(home):
        found = {n: p for n, p in _files(home.root) if keys or n != _KEY}
        for name in [n for n, p in found.items() if _is_database(p)]:
            found[name] = _snapshot(found[name], Path(work) / name)
        told = {
            "what": "home",
            "root": str(home.root),
            "sluice": __version__,
            "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "elsewhere": _elsewhere(home),
        }
        return archive.write(out, told, found)


def _elsewhere(home: Home) -> list[str]:
    """What the home uses and does not hold: it is not in the backup."""
    registry = sqlite.path_of(home.tracking_uri)
    out = [] if registry is not None and registry.is_relative_to(home.root) else [f"registry: {home.tracking_uri}"]
    store = os.environ.get("SLUICE_STORE")
    return out + ([f"store: {store}"] if store else []) + ([f"audit log: {home.audit_place}"] if home.audit_place else [])


@contextlib.contextmanager
def _still(home: Home) -> Iterator[None]:
    """The home's own audit log and its head as of one moment."""
    log = open_log(home)
    with (
        log.still() if isinstance(log, FolderLog) and log.root.is_relative_to(home.root) and log.root.is_dir() else contextlib.nullcontext()
    ):
        yield


def _files(root: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.is_symlink() or not path.is_file() or name.startswith(_LEFT) or path.name in _LEFT_NAMES or files.PARTIAL in name:
            continue
        if path.name.endswith(("-wal", "-shm", "-journal")) and _is_database(path.with_name(path.name.rpartition("-")[0])):
            continue
        yield name, path


def _is_database(path: Path) -> bool:
    try:
        with path.open("rb") as f:
            return f.read(16) == b"SQLite format 3\0"
    except OSError:
        return False


def _snapshot(path: Path, copy: Path) -> Path:
    """A database as of one moment, also while another process writes to it."""
    copy.parent.mkdir(parents=True, exist_ok=True)
    try:
        with (
            contextlib.closing(sqlite3.connect(f"file:{_quoted(path)}?mode=ro", uri=True, timeout=_BUSY_SECONDS)) as source,
            contextlib.closing(sqlite3.connect(copy)) as target,
        ):
            source.backup(target)
    except sqlite3.Error as e:
        raise HomeError(f"the database cannot be read: {e}", field=str(path), fix="is another program writing to it?") from e
    return copy


def _quoted(path: Path) -> str:
    from urllib.parse import quote

    return quote(str(path))


def restore(source: Path, home: Home) -> dict[str, Any]:
    """Put a home back, all of it or nothing; addresses in it that named the old folder name the new one.

    Returns:
        The backup's list.

    Raises:
        HomeError: no whole backup, or the home holds something already.
    """
    if home.root.exists() and any(p.name not in _LEFT_NAMES for p in home.root.iterdir()):
        raise HomeError(
            "holds something already", field="--home", value=str(home.root), fix="--home of a new folder; or move this one away first"
        )
    with archive.opened(source) as (head, tar):
        if head.get("what") != "home":
            raise HomeError("is a backup of an environment on a cluster", field=str(source), fix="sluice restore FILE --namespace NS")
        shutil.rmtree(home.root, ignore_errors=True)
        with files.new_dir(home.root) as tmp:
            archive.unpack(head, tar, tmp, str(source))
            if head["root"] != str(home.root):
                _move(tmp, head["root"], str(home.root))
    return head


def _move(tmp: Path, old: str, new: str) -> None:
    """Addresses of the old folder as those of the new one, in the databases and in what the runs wrote down."""
    for _, path in _files(tmp):
        if _is_database(path):
            _move_rows(path, old, new)
        elif path.suffix == ".json" and not path.is_relative_to(tmp / "store"):  # a package is what its digest says
            _move_json(path, old, new)


def _move_rows(path: Path, old: str, new: str) -> None:
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        tables = [r[0] for r in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")]
        for table in tables:
            for column in [r[1] for r in db.execute(f'PRAGMA table_info("{table}")') if "CHAR" in r[2].upper() or "TEXT" in r[2].upper()]:
                for before, after in _spellings(old, new):
                    db.execute(
                        f'UPDATE "{table}" SET "{column}" = ? || substr("{column}", ?) WHERE substr("{column}", 1, ?) = ?',
                        (after, len(before) + 1, len(before), before),
                    )


def _spellings(old: str, new: str) -> list[tuple[str, str]]:
    """How the folder stands at the beginning of an address."""
    return [(f"{a}/", f"{b}/") for a, b in ((old, new), (Path(old).as_uri(), Path(new).as_uri()), (f"sqlite:///{old}", f"sqlite:///{new}"))]


def _move_json(path: Path, old: str, new: str) -> None:
    raw = path.read_bytes()
    if old.encode() not in raw:
        return
    try:
        found = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return
    files.write_json(path, _moved(found, _spellings(old, new)))


def _moved(value: Any, spellings: list[tuple[str, str]]) -> Any:
    if isinstance(value, dict):
        return {k: _moved(v, spellings) for k, v in value.items()}
    if isinstance(value, list):
        return [_moved(v, spellings) for v in value]
    if isinstance(value, str):
        for before, after in spellings:
            if value.startswith(before):
                return after + value[len(before) :]
    return value
