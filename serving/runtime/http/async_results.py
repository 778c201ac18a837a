"""Answers to fetch later: a request with ``Prefer: respond-async`` (RFC 7240) gets 202 and an address.

Results lie in files of a folder all workers share, so any of them can hand one out.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import time
from collections.abc import Callable
from pathlib import Path

from serving.runtime.errors import NotFound, Overloaded, RequestError
from serving.runtime.http.request import Exchange, dumps_error, response

#: Results kept at a time, all workers together, and for how long.
LIMIT = 1024
LIMIT_BYTES = 256 << 20
SECONDS = 600.0
_ID = re.compile(r"[0-9a-f]{32}")


class Jobs:
    """The folder of results. File ``<id>``: the answer as it goes over the wire; ``<id>.wait``: the pid of the worker on it."""

    def __init__(self, root: Path):
        self._root = root

    def wanted(self, exchange: Exchange) -> bool:
        """Whether the client asks for its answer later (RFC 7240, ``Prefer: respond-async``)."""
        return b"respond-async" in exchange.headers.get(b"prefer", b"")

    def start(self, exchange: Exchange, handle: Callable[[Exchange], None]) -> None:
        """Answer 202 now and let `handle` answer into a file.

        Raises:
            Overloaded: as many results are kept as may, or as many bytes of them.
        """
        count, size = kept(self._root)
        if count >= LIMIT or size >= LIMIT_BYTES:
            raise Overloaded(
                f"{count} results of {size} bytes are kept already", retry_after=5, fix="fetch and delete results, or come back later"
            )
        job = secrets.token_hex(16)
        (self._root / f"{job}.wait").write_text(str(os.getpid()))
        headers = {k: v for k, v in exchange.headers.items() if k != b"prefer"}
        inner = Exchange(
            _File(self._root, job), exchange.method, exchange.path, exchange.query, headers, exchange.body, True, exchange.arrived
        )
        inner.adopt(exchange)
        href = f"/v2/results/{job}"
        exchange.send_json(
            202, {"id": job, "state": "pending", "href": href}, b"location: %b\r\npreference-applied: respond-async\r\n" % href.encode()
        )
        handle(inner)

    def fetch(self, exchange: Exchange, job: str) -> None:
        """Answer with a result, or 202 while there is none.

        Raises:
            NotFound: no such result, or no longer.
        """
        self._check(job)
        try:
            found = (self._root / job).read_bytes()
        except OSError:
            self._pending(exchange, job)
            return
        exchange.send_raw(int(found[9:12]), found)

    def delete(self, exchange: Exchange, job: str) -> None:
        """Forget a result. Raises `NotFound`."""
        self._check(job)
        try:
            (self._root / job).unlink()
        except OSError as e:
            raise NotFound("no such result", field="id", value=job) from e
        exchange.send_json(200, {"id": job, "state": "deleted"})

    def sweep(self) -> None:
        """Forget what is too old. Any worker may do it."""
        before = time.time() - SECONDS
        for path in self._root.iterdir():
            with contextlib.suppress(OSError):
                if path.stat().st_mtime < before:
                    path.unlink()

    def _check(self, job: str) -> None:
        if not _ID.fullmatch(job):
            raise NotFound("no such result", field="id", value=job)

    def _pending(self, exchange: Exchange, job: str) -> None:
        try:
            pid = int((self._root / f"{job}.wait").read_text())
            os.kill(pid, 0)
        except (FileNotFoundError, ValueError) as e:
            raise NotFound("no such result", field="id", value=job, fix="results are kept for ten minutes") from e
        except ProcessLookupError as e:
            (self._root / f"{job}.wait").unlink(missing_ok=True)
            raise RequestError("the worker that had it died", field="id", value=job, status=500, fix="send the request again") from e
        exchange.send_json(202, {"id": job, "state": "pending", "href": f"/v2/results/{job}"}, b"retry-after: 1\r\n")


def kept(root: Path) -> tuple[int, int]:
    """Results in the folder, finished or not, and their bytes."""
    count = size = 0
    with os.scandir(root) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):  # fetched and deleted meanwhile
                size += entry.stat().st_size
                count += 1
    return count, size


class _File:
    """Takes an exchange's answer into a file; in place of one that has no room, an error that says so."""

    def __init__(self, root: Path, job: str):
        self._root, self._job = root, job

    def answer(self, exchange: Exchange, data: bytes) -> None:
        if kept(self._root)[1] + len(data) > LIMIT_BYTES:
            error = Overloaded(
                f"the answer of {len(data)} bytes has no room beside the results kept",
                retry_after=5,
                fix="fetch and delete results, or ask for less at a time",
            )
            data = response(429, dumps_error(error), request_id=exchange.request_id, extra=b"retry-after: 5\r\n")
        tmp = self._root / f"{self._job}.part"
        tmp.write_bytes(data)
        tmp.rename(self._root / self._job)
        (self._root / f"{self._job}.wait").unlink(missing_ok=True)
