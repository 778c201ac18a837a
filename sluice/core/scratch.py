"""Temporary folders that are gone at the end, also at the end of a process that was killed: whoever makes the next one removes them."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

#: In such a folder: a file that its process has locked for as long as it lives.
_HELD = ".held"


@contextlib.contextmanager
def scratch(prefix: str) -> Iterator[Path]:
    """A temporary folder, and those of the same prefix removed whose processes are gone."""
    _sweep(prefix)
    with tempfile.TemporaryDirectory(prefix=prefix) as made:
        folder = Path(made)
        lock = os.open(folder / f"{_HELD}.new", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            with contextlib.suppress(OSError):  # a file system without locks: nobody will remove it then
                fcntl.flock(lock, fcntl.LOCK_EX)
                (folder / f"{_HELD}.new").rename(folder / _HELD)  # from here on others look at it, and it is locked
            yield folder
        finally:
            os.close(lock)


def _sweep(prefix: str) -> None:
    for held in Path(tempfile.gettempdir()).glob(f"{prefix}*/{_HELD}"):
        with contextlib.suppress(OSError):  # gone meanwhile, another user's, or held by its process
            lock = os.open(held, os.O_RDWR)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(held.parent)
            finally:
                os.close(lock)
