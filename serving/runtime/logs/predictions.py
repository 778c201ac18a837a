"""A worker's side of the prediction log: sampled, in memory up to a bound, handed to the recorder by a thread.

What does not fit is dropped and counted; an answer never waits for the log.
"""

from __future__ import annotations

import functools
import socket
import struct
import threading
import time
import zlib
from collections import deque
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from serving.runtime.engine.queue import Tensors
from serving.runtime.metrics import Metrics
from sluice.fields import processor_class

if TYPE_CHECKING:
    from serving.runtime.engine.inference import Call
    from sluice.fields.tabular import TabularProcessor

#: A frame: length of the JSON, length of the blobs behind it.
FRAME = struct.Struct("<II")
_LIMIT_RECORDS = 2000
_LIMIT_BYTES = 64 << 20
_LIMIT_FEATURES = 256 << 10
_EVERY = 0.1
_SHARE = 1 << 32


class Predictions:
    """Records answers and feedback.

    Args:
        address: the recorder's socket.
        sample: share of requests taken, chosen by the request id, so that all replicas choose alike.
    """

    def __init__(self, address: bytes, sample: float, metrics: Metrics):
        self._address, self._below = address, int(sample * _SHARE)
        self._queue: deque[tuple[dict[str, Any], Any, int]] = deque()
        self._bytes = 0
        self._metrics = metrics
        self._places = {
            o: metrics.counter("sluice_prediction_log_records_total", outcome=o) for o in ("queued", "dropped_full", "dropped_unsent")
        }
        self._socket: socket.socket | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="prediction-log", daemon=True)
        self._thread.start()

    def record(self, call: Call) -> None:
        """Take an answered call, if it is in the sample."""
        request_id = call.request_id()
        if zlib.crc32(request_id.encode()) >= self._below:
            return
        model, raw = call.served.model, call.raw
        head = {
            "what": "prediction",
            "time": time.time_ns() // 1000,
            "model": model.name,
            "version": model.version,
            "request_id": request_id,
            "trace_id": call.trace,
            "kind": model.kind,
            "labels": list(model.labels) if len(model.labels) <= 1000 else [],
        }
        if call.told:
            self._put(head, call, _size(raw) + sum(len(t.completion.text) for t in call.told))
            return
        if model.records is not None:
            head["columns"] = [{"name": c.name, "type": c.type} for c in model.records.columns if c.name not in model.sensitive]
        if model.arrays is not None:
            head["value"] = model.arrays.observed(call.outputs[model.outputs[0]]).tolist()
        plain = model.records.plain if model.records is not None else None
        if model.sensitive:
            plain = functools.partial(_without, model.records, model.sensitive)
        self._put(
            head,
            (raw, call.outputs[model.outputs[0]], call.best, model.labels, plain),
            _size(raw) + call.outputs[model.outputs[0]].nbytes,
        )

    def feedback(self, model: str, items: list[dict[str, Any]]) -> bool:
        """Take feedback; False when there is no room."""
        return self._put({"what": "feedback", "time": time.time_ns() // 1000, "model": model, "items": items}, None, 200 * len(items))

    def _put(self, head: dict[str, Any], rest: Any, size: int) -> bool:
        full = len(self._queue) >= _LIMIT_RECORDS or self._bytes + size > _LIMIT_BYTES
        self._metrics.values[self._places["dropped_full" if full else "queued"]] += 1.0
        if not full:
            self._bytes += size
            self._queue.append((head, rest, size))
        return not full

    def close(self) -> None:
        """Hand over what is left, for a few seconds at most."""
        self._ended.set()
        self._thread.join(5)

    def _run(self) -> None:
        while not self._ended.wait(_EVERY):
            self._flush()
        self._flush()
        if self._socket is not None:
            self._socket.close()

    def _flush(self) -> None:
        while self._queue:
            head, rest, size = self._queue.popleft()
            self._bytes -= size
            try:
                frame = encoded_prompt(head, rest) if hasattr(rest, "told") else encoded(head, rest)
                if self._socket is None:
                    self._socket = socket.socket(socket.AF_UNIX)
                    self._socket.settimeout(5)
                    self._socket.connect(self._address)
                self._socket.sendall(frame)
            except (OSError, TypeError, ValueError):
                self._metrics.values[self._places["dropped_unsent"]] += 1.0
                if self._socket is not None:
                    self._socket.close()
                    self._socket = None


def _size(raw: Any) -> int:
    """Roughly the bytes a request's features take."""
    if isinstance(raw, dict):
        return sum(a.nbytes for a in raw.values())
    return sum(_size_of_row(r) for r in raw)


def _size_of_row(row: Any) -> int:
    if isinstance(row, str | bytes):
        return len(row)
    if isinstance(row, dict):
        return sum(64 + (len(v) if isinstance(v, str | bytes) else 0) for v in row.values())
    return 64 * len(row) if hasattr(row, "__len__") else 64


def _without(records: TabularProcessor | None, hidden: frozenset[str], raw: Any) -> list[Any]:
    """Rows without what is sensitive; of rows that are a value alone, or tensors, nothing but how many there are."""
    if isinstance(raw, dict):
        return [{}] * len(next(iter(raw.values()), ()))
    if records is None:
        return [None] * len(raw)
    return [{k: v for k, v in row.items() if k not in hidden} for row in records.plain(raw)]


def encoded_prompt(head: dict[str, Any], call: Call) -> bytes:
    """The frame of a prompt's answers; what is personal is taken out here, on the log's own thread."""
    from serving.runtime.prompts.record import columns_of, told_of

    columns = columns_of({n: v.type for n, v in call.served.model.remote.prompt.prompt.variables.items()})
    body = orjson.dumps({**head, "columns": columns, **told_of(call.raw, call.told)}, option=orjson.OPT_SERIALIZE_NUMPY)
    return FRAME.pack(len(body), 0) + body


def encoded(head: dict[str, Any], rest: Any) -> bytes:
    """The frame of a record."""
    blobs: list[bytes] = []
    if rest is not None:
        raw, outputs, best, labels, plain = rest
        rows = plain(raw) if plain is not None else _rows(raw, len(outputs))
        field = processor_class(head["kind"]).value
        if field is not None and field.blob and all(isinstance(r, bytes) for r in rows):
            blobs = rows
            head["blobs"] = [len(b) for b in blobs]
        elif (plain is not None or (field is not None and not field.blob)) and not isinstance(raw, dict):
            head["rows"] = rows
        else:
            head["tensors"] = [_shown(r) for r in rows]
        if best is not None:
            head["prediction"] = [labels[i] for i in best.tolist()]
            head["probability"] = outputs[np.arange(len(best)), best].astype(float).tolist()
            head["probabilities"] = outputs.astype(float).tolist()
        elif "value" not in head:
            head["value"] = (
                [float(v) if np.ndim(v) == 0 and np.isreal(v) else None for v in outputs.reshape(len(outputs), -1)[:, 0]]
                if outputs.dtype.kind in "fiu"
                else []
            )
    body = orjson.dumps(head, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS)
    tail = b"".join(blobs)
    return FRAME.pack(len(body), len(tail)) + body + tail


def _rows(raw: Any, count: int) -> list[Any]:
    if isinstance(raw, dict):
        tensors: Tensors = raw
        return [{n: a[i] for n, a in tensors.items()} for i in range(count)]
    return list(raw)


def _shown(row: Any) -> str:
    """A row of tensors as JSON; one too large is left out."""
    size = sum(getattr(v, "nbytes", 0) for v in row.values()) if isinstance(row, dict) else 0
    if size > _LIMIT_FEATURES:
        return ""
    plain = {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in row.items()} if isinstance(row, dict) else row
    return orjson.dumps(plain, option=orjson.OPT_SERIALIZE_NUMPY).decode()
