"""The access log: JSON lines, written by a thread of its own, dropped and counted when nobody takes them."""

from __future__ import annotations

import datetime
import os
import secrets
import sys
import threading
import time
from collections import deque
from typing import Any

import orjson

from serving.runtime.metrics import Metrics

_LIMIT = 20_000
_EVERY = 0.2

#: (time, client, method, path, status, bytes in, bytes out, seconds, request id, (trace id, parent span) or None, model, version)
Line = tuple[float, str, str, str, int, int, int, float, str, tuple[str, str] | None, str, str]


class AccessLog:
    """`add` is a deque's append; lines appear within a fifth of a second.

    Args:
        target: ``-`` for stdout, or a file to append to.

    Raises:
        OSError: the file cannot be opened.
    """

    def __init__(self, target: str, metrics: Metrics):
        self._fd = sys.stdout.fileno() if target == "-" else os.open(target, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._lines: deque[Line] = deque()
        self._values, self._dropped = metrics.values, metrics.counter("sluice_access_log_dropped_total")
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="access-log", daemon=True)
        self._thread.start()

    def add(self, line: Line) -> None:
        """Take a line, or count it as dropped where there is no room."""
        if len(self._lines) >= _LIMIT:
            self._values[self._dropped] += 1
        else:
            self._lines.append(line)

    def close(self) -> None:
        """Write what is left."""
        self._ended.set()
        self._thread.join(5)

    def _run(self) -> None:
        while not self._ended.wait(_EVERY):
            self._flush()
        self._flush()

    def _flush(self) -> None:
        lines = self._lines
        while lines:
            # Whole lines within what a pipe takes at once, so that workers' lines do not mix.
            chunk = b""
            while lines and len(chunk) < 3000:
                chunk += orjson.dumps(shown(lines.popleft())) + b"\n"
            try:
                while chunk:
                    chunk = chunk[os.write(self._fd, chunk) :]
            except OSError:
                self._values[self._dropped] += chunk.count(b"\n")
                time.sleep(_EVERY)


def shown(line: Line) -> dict[str, Any]:
    """A line as its JSON object. `span_id` is this server's own span in the client's trace."""
    at, client, method, path, status, size_in, size_out, seconds, request_id, trace, model, version = line
    out: dict[str, Any] = {
        "time": datetime.datetime.fromtimestamp(at, datetime.UTC).isoformat(timespec="milliseconds"),
        "client": client,
        "method": method,
        "path": path,
        "status": status,
        "bytes_in": size_in,
        "bytes_out": size_out,
        "ms": round(seconds * 1e3, 3),
        "request_id": request_id,
        "model": model,
        "version": version,
    }
    if trace is not None:
        out |= {"trace_id": trace[0], "parent_span_id": trace[1], "span_id": secrets.token_hex(8)}
    return out
