"""The audit log, a page at a time, and whether it is what was written."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from typing import Any

from sluice.audit.log import AuditLog, FolderLog
from sluice.audit.record import Record
from sluice.audit.verify import Fault, verify
from sluice.ui.shape import PAGE, Missing, Page

#: Bytes of a log that is read here, and faults that are told.
LARGEST, FAULTS = 256 << 20, 20


@dataclasses.dataclass(frozen=True)
class Trail:
    """A part of the log. Attributes: page of records, newest first; where the log is; how many records it has; what is wrong with it."""

    page: Page
    where: str
    records: int
    faults: Sequence[Fault]


class Trails:
    """Reads a log once as long as it stays the same."""

    def __init__(self) -> None:
        self._kept: tuple[Any, list[bytes], list[Fault]] | None = None

    def read(self, log: AuditLog, number: int, model: str) -> Trail:
        """A page, of a model or of all. Raises `AuditError`, `Missing`."""
        lines, faults = self._all(log)
        found: list[Record] = []
        wanted = number * PAGE + 1
        for line in reversed(lines):
            with contextlib.suppress(ValueError, TypeError):
                record = Record.read(line)
                if model in ("", record.entry.model):
                    found.append(record)
            if len(found) >= wanted:
                break
        page = Page(found[(number - 1) * PAGE : number * PAGE], number, len(found) >= wanted)
        return Trail(page, log.where, len(lines), faults[:FAULTS])

    def _all(self, log: AuditLog) -> tuple[list[bytes], list[Fault]]:
        key = _mark(log)
        if key is not None and self._kept is not None and self._kept[0] == key:
            return self._kept[1], self._kept[2]
        lines, head = log.read()
        faults = verify(lines, head)
        self._kept = (key, lines, faults)
        return lines, faults


def _mark(log: AuditLog) -> Any:
    """What differs where the log does; None where only reading it tells. Raises `Missing`: too long to be read here."""
    if not isinstance(log, FolderLog):
        return None
    out = []
    for path in (log.path, log.head_path):
        with contextlib.suppress(OSError):
            about = path.stat()
            if about.st_size > LARGEST:
                raise Missing(f"is longer than {LARGEST >> 20} MiB", field=str(path), fix="`sluice audit MODEL` reads it")
            out.append((about.st_mtime_ns, about.st_size))
    return tuple(out)
