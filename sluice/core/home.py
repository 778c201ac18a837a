"""`$SLUICE_HOME`: everything a local run writes, held by one run at a time."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sluice.core import files, sqlite
from sluice.core.errors import HomeError

_MARK = "sluice-home.json"


#: Names a folder in which the steps of a run keep one reading of the source for those that follow; whoever runs the steps makes it, and removes it.
ROWS_ENV = "SLUICE_RUN_ROWS"


class Home:
    """The directory of local state.

    Attributes:
        root: absolute path.
    """

    def __init__(self, root: str | Path | None = None):
        self.root = Path(root or os.environ.get("SLUICE_HOME") or ".sluice").expanduser().absolute()

    store = property(lambda self: self.root / "store")
    artifacts = property(lambda self: self.root / "artifacts")
    reports = property(lambda self: self.root / "reports")
    runs = property(lambda self: self.root / "runs")
    rollouts = property(lambda self: self.root / "rollouts")

    @property
    def tracking_uri(self) -> str:
        """The home's own registry, or the one its last run wrote to."""
        with contextlib.suppress(OSError, ValueError, AttributeError):
            noted = files.read_json(self.root / _MARK).get("tracking_uri")
            if noted:
                return str(noted)
        return sqlite.uri_of(self.root / "mlflow.db")

    @property
    def audit_place(self) -> str:
        """Where the audit log of the home's last run is; empty: in the home."""
        with contextlib.suppress(OSError, ValueError, AttributeError):
            return str(files.read_json(self.root / _MARK).get("audit") or "")
        return ""

    def note_tracking(self, uri: str | None, audit: str | None = None) -> None:
        """Remember the project's own registry and audit log (null: the home's), so that `sluice models` and `sluice audit` ask the same ones."""
        files.write_json(self.root / _MARK, {"format": "sluice.home/v1", "tracking_uri": uri} | ({"audit": audit} if audit else {}))

    def create(self) -> Home:
        """Make the directory, and prove it can be written.

        Raises:
            HomeError: not a directory, no permission, no space.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            if not (self.root / _MARK).exists():
                files.write_json(self.root / _MARK, {"format": "sluice.home/v1"})
            else:
                os.utime(self.root / _MARK)
        except OSError as e:
            raise explain_os_error(e, self.root) from e
        return self

    @contextlib.contextmanager
    def lock(self, command: str) -> Iterator[None]:
        """Hold the home; the kernel lets go when this process ends, however it ends.

        Raises:
            HomeError: another process holds it; its pid and command are named.
        """
        self.create()
        path = self.root / ".lock"
        with path.open("a+") as f:
            try:
                fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as e:
                f.seek(0)
                holder = f.read().strip() or "another process"
                raise HomeError(
                    f"is in use by {holder}", field=str(self.root), fix="wait for it, or give this run a home of its own: --home DIR"
                ) from e
            f.truncate(0)
            f.write(f"`{command}` (pid {os.getpid()}, since {datetime.now(UTC):%H:%M:%S} UTC)")
            f.flush()
            try:
                yield
            finally:
                f.truncate(0)

    def sweep(self) -> int:
        """Remove what killed runs left half-written; returns how many entries."""
        for run in self.runs.glob("*") if self.runs.is_dir() else ():
            if not (run / "outcome.json").exists():
                shutil.rmtree(self.artifacts / "pipelines" / run.name, ignore_errors=True)
        return files.sweep_partials(self.root)

    def outcomes(self, name: str | None = None) -> list[dict[str, Any]]:
        """Finished runs' outcomes, newest first; of one project, or of all."""
        found = sorted(self.runs.glob("*/outcome.json"), key=lambda p: p.stat().st_mtime, reverse=True)
        return [o for o in map(files.read_json, found) if name in (None, o["project"])]

    def held(self) -> bool:
        """Whether a run holds the home at this moment."""
        try:
            with (self.root / ".lock").open("r") as f:
                fcntl.flock(f, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def holder(self) -> int | None:
        """The process id of who holds the home at this moment."""
        found = re.search(r"\(pid (\d+)", (self.root / ".lock").read_text()) if self.held() else None
        return int(found[1]) if found else None

    def new_run(self, name: str) -> str:
        """A run id that sorts by time: ``<name>-<UTC time>-<4 hex>``."""
        run = f"{name}-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(2)}"
        (self.runs / run).mkdir(parents=True)
        return run


#: What a disk, or the right to write on it, answers.
STORAGE = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS)


def is_storage_fault(error: OSError, below: Path) -> bool:
    """Whether an `OSError` is about room or permission for files below `below`; a network's is not."""
    if error.errno not in STORAGE:
        return False
    return error.filename is None or Path(str(error.filename)).absolute().is_relative_to(below)


def explain_os_error(error: OSError, where: Path) -> HomeError:
    """An `OSError` met while writing below the home, as something a user can act on."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        try:
            free = f" ({shutil.disk_usage(where).free >> 20} MiB free)"
        except OSError:
            free = ""
        return HomeError(f"no space left on the device{free}", field=str(where), fix="free some space, or --home DIR on a larger disk")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return HomeError(
            "cannot be written: " + (error.strerror or str(error)),
            field=str(error.filename or where),
            fix="give it to your user, or name another place: --home DIR",
        )
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        return HomeError("is a file where a directory is meant", field=str(error.filename or where), fix="name a directory: --home DIR")
    return HomeError(error.strerror or str(error), field=str(error.filename or where), fix="name another place: --home DIR")
