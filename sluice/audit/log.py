"""Where the audit log is, and writing to it: a folder here or on a volume, or an object store."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

import orjson

from sluice.audit.record import START, Entry, Record
from sluice.audit.verify import Head
from sluice.core import files
from sluice.core.errors import SluiceError
from sluice.core.home import Home, explain_os_error

log = logging.getLogger(__name__)

#: Where the log is: ``s3://bucket/prefix`` or a folder; and of a folder's log, the file that keeps its head.
AUDIT_ENV, HEAD_ENV = "SLUICE_AUDIT", "SLUICE_AUDIT_HEAD"
#: Seconds to wait for other writers. The most bytes that a line has, and so the farthest that the last one begins from the end.
_WAIT, _LINE = 30.0, 4 << 20


#: A version's tag in the registry: the last record about it. Who cuts the log off would have to change the registry as well.
ANCHOR = "sluice.audit"


class AuditError(SluiceError):
    """The audit log cannot be written or read."""


class AuditLog(Protocol):
    """An append-only log. All methods raise `AuditError`."""

    @property
    def where(self) -> str:
        """Its address, for a person."""
        ...

    def identity(self) -> str:
        """The hash of its first record, by which one log is told from another; "" before there is one."""
        ...

    def append(self, entry: Entry) -> Record:
        """Write it down behind the last record, however many others write; returns once it cannot be lost."""
        ...

    def read(self) -> tuple[list[bytes], Head | None]:
        """Every record's bytes in the log's order, not checked, and what is kept apart of the last; None where nothing is."""
        ...


def open_log(home: Home) -> AuditLog:
    """The log ``$SLUICE_AUDIT`` names, the one the home was told of, or the home's own. Raises `AuditError`."""
    place = os.environ.get(AUDIT_ENV) or home.audit_place
    if not place:
        return FolderLog(home.root / "audit", home.root / "audit-head.json")
    return log_at(place)


def log_at(place: str) -> AuditLog:
    """The log at an address. Raises `AuditError`."""
    if place.startswith("s3://"):
        from sluice.audit.objects import ObjectLog

        return ObjectLog(place)
    if "://" in place:
        raise AuditError("is no place for an audit log", field=AUDIT_ENV, value=place, fix="s3://bucket/prefix, or a folder")
    root = Path(place).expanduser().absolute()
    return FolderLog(root, Path(os.environ.get(HEAD_ENV) or root / "head.json"))


def records(found: AuditLog) -> list[Record]:
    """Every record that can be read, in the log's order."""
    out = []
    for line in found.read()[0]:
        with contextlib.suppress(ValueError, TypeError):
            out.append(Record.read(line))
    return out


def anchors(tags: Iterable[tuple[str, str]]) -> list[Head]:
    """Heads as they stand in the registry: (a version's name, its tag `ANCHOR`)."""
    out = []
    for where, tag in tags:
        log_, _, rest = tag.partition(":")
        number, _, hash_ = rest.partition(":")
        if number.isdigit():
            out.append(Head(int(number), hash_, log_, where))
    return out


def anchor(found: AuditLog, record: Record) -> str:
    """The tag `ANCHOR` by which a registry names a record."""
    return f"{found.identity()}:{record.sequence}:{record.hash}"


class FolderLog:
    """A file of lines under a lock; a head beside it.

    A process that dies while it writes leaves a part of a line: the next writer puts it aside and says so in a record of its own.

    Args:
        root: the folder. head: the file that keeps the head, best on another disk.
    """

    def __init__(self, root: Path, head: Path):
        self.root, self.head_path = root, head
        self.path = root / "log.jsonl"

    @property
    def where(self) -> str:
        """The file."""
        return str(self.path)

    def append(self, entry: Entry) -> Record:
        """As `AuditLog` says."""
        try:
            with self._locked(), self.path.open("ab+") as f:
                sequence, before = self._last(f.fileno())
                made = Record.make(entry, sequence + 1, before)
                self._write(f.fileno(), made.line() + b"\n")
                self._note(made)
                return made
        except OSError as e:
            raise AuditError(explain_os_error(e, self.root).message, field=str(self.root), fix=f"mend it, or {AUDIT_ENV}=DIR") from e

    def read(self) -> tuple[list[bytes], Head | None]:
        """As `AuditLog` says; of a head that cannot be read, one that no record fits."""
        try:
            with self._locked(fcntl.LOCK_SH) if os.access(self.root, os.W_OK) else contextlib.nullcontext():
                data = self.path.read_bytes() if self.path.exists() else b""
                return [
                    *data.split(b"\n")[:-1],
                    *([data.rpartition(b"\n")[2] + _TORN] if data[-1:] not in (b"", b"\n") else []),
                ], self._noted()
        except OSError as e:
            raise AuditError(f"cannot be read: {e.strerror}", field=str(self.path)) from e

    @contextlib.contextmanager
    def still(self) -> Iterator[None]:
        """Nothing is written while the block runs: log and head may be copied."""
        with self._locked(fcntl.LOCK_SH):
            yield

    def _noted(self) -> Head | None:
        try:
            raw = files.read_json(self.head_path)
            return Head(int(raw["sequence"]), str(raw["hash"]), str(raw["log"]), str(self.head_path))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError):
            return Head(0, "", "", f"{self.head_path}, which cannot be read,")

    @contextlib.contextmanager
    def _locked(self, how: int = fcntl.LOCK_EX) -> Iterator[None]:
        if how == fcntl.LOCK_EX:
            self.root.mkdir(parents=True, exist_ok=True)
        elif not self.root.is_dir():
            yield
            return
        with (self.root / "lock").open("a") as lock:
            end = time.monotonic() + _WAIT
            while True:
                try:
                    fcntl.flock(lock, how | fcntl.LOCK_NB)
                    break
                except BlockingIOError as e:
                    if time.monotonic() > end:
                        raise AuditError(
                            f"others have written to it for {_WAIT:g} s", field=str(self.root / "lock"), fix="try again"
                        ) from e
                    time.sleep(0.01)
            yield

    def _last(self, fd: int) -> tuple[int, str]:
        """(sequence, hash) of the last record; -1 before the first. What a killed writer left is put aside first."""
        size = os.fstat(fd).st_size
        start = max(0, size - _LINE)
        tail = os.pread(fd, size - start, start)
        whole, end, torn = tail.rpartition(b"\n")
        last = whole.rpartition(b"\n")[2] if end else b""
        sequence, before = self._told(last, fd) if last else (-1, START)
        head = self._noted()
        if head is not None and head.hash and head.sequence > sequence:
            # Written once, and gone since: the gap stays to be seen.
            sequence, before = head.sequence, head.hash
        return self._mended(fd, torn, size - len(torn), sequence, before) if torn else (sequence, before)

    def _told(self, line: bytes, fd: int) -> tuple[int, str]:
        try:
            found = Record.read(line)
            return found.sequence, found.hash
        except (ValueError, TypeError):
            # Damaged, which `verify` says: the chain goes on from the bytes that stand there.
            count = os.pread(fd, os.fstat(fd).st_size, 0).count(b"\n")
            return count - 1, hashlib.sha256(line).hexdigest()

    def _mended(self, fd: int, torn: bytes, at: int, sequence: int, before: str) -> tuple[int, str]:
        name = f"torn-{hashlib.sha256(torn).hexdigest()[:16]}"
        files.write_bytes(self.root / name, torn)
        os.ftruncate(fd, at)
        os.fsync(fd)
        why = f"a writer was stopped in the middle of a record: its {len(torn)} bytes are in {name}, and every record before it is whole"
        log.warning("%s: %s", self.path, why)
        made = Record.make(Entry("repair", reason=why, data={"bytes": len(torn), "file": name}), sequence + 1, before)
        self._write(fd, made.line() + b"\n")
        self._note(made)
        return made.sequence, made.hash

    def _write(self, fd: int, data: bytes) -> None:
        first = os.fstat(fd).st_size == 0
        while data:
            data = data[os.write(fd, data) :]
        os.fsync(fd)
        if first:
            files.fsync_path(self.root)

    def _note(self, made: Record) -> None:
        before = self._noted()
        first = made.hash if made.sequence == 0 else before.log if before is not None else ""
        value = {"sequence": made.sequence, "hash": made.hash, "log": first or self.identity()}
        files.write_bytes(self.head_path, orjson.dumps(value) + b"\n")

    def identity(self) -> str:
        """As `AuditLog` says."""
        with contextlib.suppress(OSError, ValueError, TypeError), self.path.open("rb") as f:
            return Record.read(f.readline(_LINE).removesuffix(b"\n")).hash
        return ""


#: What is put behind a line that has no end, so that it is never taken for a whole one.
_TORN = b"\0"
