"""Files of JSON lines that grow, known again by how they begin: one that was renamed is read on, one that was emptied is read anew.

A program that turns its logs over renames ``x.jsonl`` to ``x.jsonl.1`` and packs it later, or copies it and empties the first. By names alone, rows would be
lost or read twice.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from sluice.core.errors import DataError
from sluice.monitor.log_parts import HEAD, head_of, opened

if TYPE_CHECKING:
    from sluice.monitor.log import Cursor, Part

#: Files of JSON lines of one log.
MOST = 10_000


def marked(path: Path, at: int, size: int) -> str:
    """How a file that is read up to byte `at` is known again: how it begins, as far as it is read, and its bytes on the disk."""
    head = head_of(path, min(HEAD, at))
    return f"{head}:{size}" if head else ""


def grown(part: Part, known: Cursor) -> bool:
    """Whether there may be more in a file than was read."""
    read = known.lines.get(part.name)
    if read is None:
        return True
    mark = known.heads.get(part.name, "")
    return part.size != int(mark.rpartition(":")[2] or -1) if part.name.endswith(".gz") else part.size > read


def settled(root: Path, parts: list[Part], known: Cursor) -> tuple[list[Part], Cursor]:
    """The parts without copies of one another, and the cursor with each file of lines by the name that it has now.

    Raises:
        DataError: there are more files of lines than can be remembered.
    """
    lined = [p for p in parts if p.lined]
    if not lined:
        return parts, known
    names = {p.name for p in parts}
    files = {p.name: _File(root / p.name) for p in lined}
    lines, heads = dict(known.lines), dict(known.heads)
    own = {n for n, f in files.items() if n in lines and (f.begins(heads[n]) if heads.get(n) else f.size() >= lines[n])}
    copies: set[str] = set()
    moved: set[str] = set()
    for name in files.keys() - own:
        old = next((n for n, head in known.heads.items() if head and n in known.lines and files[name].begins(head)), None)
        if name.removesuffix(".gz") != name and name.removesuffix(".gz") in names:
            copies.add(name)  # it is being packed
        elif old in own:
            copies.add(name)  # it is being copied, and is read where it was
        elif old is not None:
            moved.add(old)
            lines[name], heads[name] = known.lines[old], f"{known.heads[old].rpartition(':')[0]}:-1"
            own.add(name)
        elif name in lines:
            lines[name] = 0
            heads.pop(name, None)
    for gone in moved - files.keys():
        lines.pop(gone)
        heads.pop(gone)
    if len(lines) > MOST:
        lines = {n: at for n, at in lines.items() if n in files}
        heads = {n: head for n, head in heads.items() if n in files}
    if len(files) > MOST:
        raise DataError(
            f"has more than {MOST:,} files of JSON lines",
            field="log",
            value=str(root),
            fix="write larger files, or keep older ones elsewhere",
        )
    return [p for p in parts if p.name not in copies], dataclasses.replace(known, lines=lines, heads=heads)


class _File:
    """How a file begins, read once."""

    def __init__(self, path: Path):
        self._path = path
        self._head: bytes | None = None
        self._digests: dict[int, str] = {}

    def size(self) -> int:
        with contextlib.suppress(OSError):
            return self._path.stat().st_size
        return 0

    def begins(self, mark: str) -> bool:
        """Whether it begins as `marked` said of a file."""
        count, digest, _ = mark.split(":")
        if self._head is None:
            self._head = b""
            with contextlib.suppress(Exception), opened(self._path) as file:  # whatever a broken packed file raises: it begins as none
                self._head = file.read(HEAD)
        n = int(count)
        if n > len(self._head):
            return False
        if n not in self._digests:
            self._digests[n] = hashlib.sha256(self._head[:n]).hexdigest()[:16]
        return self._digests[n] == digest
