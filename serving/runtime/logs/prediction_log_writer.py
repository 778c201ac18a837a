"""The process that writes the prediction log: Parquet parts by model and version, and feedback beside them.

It alone imports pyarrow, so that workers stay small and no answer shares a lock with a Parquet writer.

Layout below the log's folder (or ``s3://bucket/prefix``)::

    predictions/model=<name>/version=<12 digits>/<time>-<host>-<pid>-<number>.parquet
    feedback/model=<name>/<time>-<host>-<pid>-<number>.parquet
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import functools
import logging
import selectors
import signal
import socket
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson

from serving.runtime.logs.predictions import FRAME
from serving.runtime.logs.shipping import Shipping
from serving.runtime.metrics import Metrics, Page
from sluice.core import files
from sluice.core.processes import die_with_parent
from sluice.core.s3 import Place

log = logging.getLogger("sluice.serving")

#: A part is written when it has so many rows or bytes; all that are gathered hold no more than a few times that.
_ROWS = 20_000
_BYTES = 32 << 20
_LIMIT_GATHERED = 128 << 20
_LIMIT_FRAME = 512 << 20
_READ = 1 << 18
#: What of a record has an entry a row.
_ROWS_OF = ("items", "prediction", "value", "rows", "blobs", "tensors")


@dataclasses.dataclass
class Part:
    """Records of one folder that are not written yet."""

    folder: str
    begun: float
    records: list[tuple[dict[str, Any], bytes]] = dataclasses.field(default_factory=list)
    rows: int = 0
    size: int = 0


class Recorder:
    """Reads frames until SIGTERM, then until every worker has hung up."""

    def __init__(self, listening: socket.socket, root: str, seconds: float, page: Page):
        self._listening, self._root, self._seconds = listening, root, seconds
        self._metrics = Metrics(page)
        self._selector = selectors.DefaultSelector()
        self._buffers: dict[socket.socket, bytearray] = {}
        self._parts: dict[tuple[str, str, str], Part] = {}
        self._number = 0
        self._stopping = False
        # A folder takes a part or it does not; a store may be away for an hour.
        self._shipping = Shipping(functools.partial(put, root), self._name, self._count) if root.startswith("s3://") else None

    def run(self) -> int:
        """Returns the exit status."""
        die_with_parent()
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._listening.setblocking(False)
        if self._shipping is not None:
            self._shipping.start()
        self._selector.register(self._listening, selectors.EVENT_READ)
        while (ready := self._selector.select(0.2)) or not self._stopping or self._buffers:
            for key, _ in ready:
                if key.fileobj is self._listening:
                    with contextlib.suppress(BlockingIOError):
                        end, _ = self._listening.accept()
                        end.setblocking(False)
                        self._buffers[end] = bytearray()
                        self._selector.register(end, selectors.EVENT_READ)
                else:
                    self._read(key.fileobj)  # type: ignore[arg-type]
            now = time.monotonic()
            for key2, part in list(self._parts.items()):
                if now - part.begun >= self._seconds or part.rows >= _ROWS:
                    self._write(self._parts.pop(key2))
            while sum(p.size for p in self._parts.values()) > _LIMIT_GATHERED:
                self._write(self._parts.pop(max(self._parts, key=lambda k: self._parts[k].size)))
        for part in self._parts.values():
            self._write(part)
        if self._shipping is not None:
            self._shipping.close()
        return 0

    def _stop(self, *_: Any) -> None:
        self._stopping = True

    def _read(self, end: socket.socket) -> None:
        try:
            data = end.recv(_READ)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._selector.unregister(end)
            end.close()
            del self._buffers[end]
            return
        buffer = self._buffers[end]
        buffer += data
        while len(buffer) >= FRAME.size:
            head, tail = FRAME.unpack_from(buffer)
            whole = FRAME.size + head + tail
            if whole > _LIMIT_FRAME:
                log.error("a frame of %d bytes: the connection is closed", whole)
                end.shutdown(socket.SHUT_RDWR)
                buffer.clear()
                return
            if len(buffer) < whole:
                return
            self._take(orjson.loads(buffer[FRAME.size : FRAME.size + head]), bytes(buffer[FRAME.size + head : whole]), whole)
            del buffer[:whole]

    def _take(self, record: dict[str, Any], blobs: bytes, size: int) -> None:
        model, version = record["model"], record.get("version", "")
        folder = f"{record['what'].replace('prediction', 'predictions')}/model={quote(model, safe='')}" + (
            f"/version={version}" if version else ""
        )
        key = record["what"], model, version
        part = self._parts.setdefault(key, Part(folder, time.monotonic()))
        part.records.append((record, blobs))
        part.size += size
        part.rows += next((len(record[k]) for k in _ROWS_OF if record.get(k)), 1)
        if part.size >= _BYTES:
            self._write(self._parts.pop(key))

    def _write(self, part: Part) -> None:
        from serving.runtime.logs.parquet import feedback_table, parquet_bytes, pieces, prediction_table

        try:
            table = feedback_table(part.records) if part.folder.startswith("feedback") else prediction_table(part.records)
            for n, piece in enumerate(pieces(table, _BYTES * 3 // 2)):
                if self._shipping is not None:
                    self._shipping.take(part.folder, parquet_bytes(piece), 0 if n else len(part.records))
                else:
                    put(self._root, self._name(part.folder), parquet_bytes(piece))
            outcome = "written"
        except Exception:
            log.exception("%d rows of the prediction log could not be written", part.rows)
            outcome = "failed"
        if outcome == "failed" or self._shipping is None:
            self._count(outcome, len(part.records))

    def _count(self, outcome: str, records: int) -> None:
        self._metrics.values[self._metrics.counter("sluice_prediction_log_records_total", outcome=outcome)] += records

    def _name(self, folder: str) -> str:
        self._number += 1
        stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%S")
        return f"{folder}/{stamp}-{quote(socket.gethostname(), safe='')}-{id(self) & 0xFFFF:04x}{time.monotonic_ns() & 0xFFFFFF:06x}-{self._number:06d}.parquet"


@functools.cache
def _place(root: str) -> Place:
    """Kept: a client costs tens of milliseconds, and this process writes a part every few seconds."""
    return Place(root, "prediction log")


def put(root: str, name: str, data: bytes) -> None:
    """Write a whole file below a folder or an ``s3://`` prefix."""
    if root.startswith("s3://"):
        _place(root).put(name, data)
    else:
        files.write_bytes(Path(root) / name, data)
