"""One HTTP request and its answer, as handlers see it."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable
from typing import Any, Protocol, cast

import orjson

from serving.runtime.errors import RequestError, body_of, status_of

JSON = b"application/json"
REASONS = {
    100: b"Continue",
    200: b"OK",
    202: b"Accepted",
    400: b"Bad Request",
    401: b"Unauthorized",
    403: b"Forbidden",
    404: b"Not Found",
    405: b"Method Not Allowed",
    408: b"Request Timeout",
    409: b"Conflict",
    411: b"Length Required",
    413: b"Content Too Large",
    414: b"URI Too Long",
    415: b"Unsupported Media Type",
    422: b"Unprocessable Content",
    429: b"Too Many Requests",
    431: b"Request Header Fields Too Large",
    500: b"Internal Server Error",
    502: b"Bad Gateway",
    503: b"Service Unavailable",
    504: b"Gateway Timeout",
}
_STATUS = {code: b"HTTP/1.1 %d %s\r\n" % (code, reason) for code, reason in REASONS.items()}

_ID = re.compile(rb"[A-Za-z0-9._:/+=-]{1,128}")
#: W3C Trace Context, version 00: trace id, parent id, flags.
_TRACE = re.compile(rb"00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")
_PREFIX = os.urandom(6).hex()
_NUMBERS = itertools.count(1)


def reseed() -> None:
    """Give a forked process request ids of its own."""
    global _PREFIX, _NUMBERS
    _PREFIX, _NUMBERS = os.urandom(6).hex(), itertools.count(1)


def new_id() -> str:
    """An id for a request that brought none: this process's prefix and a number, 8 hex digits."""
    return f"{_PREFIX}{next(_NUMBERS):08x}"


def plain_id(text: str) -> bool:
    """Whether a client's request id may be taken over: short, no spaces, nothing that could break a log line."""
    return text.isascii() and _ID.fullmatch(text.encode()) is not None


def parse_trace(raw: bytes) -> tuple[str, str] | None:
    """(trace id, parent span id) of a valid ``traceparent``."""
    found = _TRACE.fullmatch(raw)
    if found is None or found[1] == b"0" * 32 or found[2] == b"0" * 16:
        return None
    return found[1].decode(), found[2].decode()


class Sink(Protocol):
    """Where an answer goes; `Connection` of http.py."""

    def answer(self, exchange: Exchange, data: bytes) -> None: ...


class Parts(Protocol):
    """Where an answer may go in parts: a client's connection."""

    def answer(self, exchange: Exchange, data: bytes, close: bool = False) -> None: ...

    def part(self, data: bytes) -> None: ...


class Exchange:
    """A request wholly read. Exactly one of `send`, `send_json` and `fail` is called for it; or `begin`, `part` any number of times, and `end`.

    Attributes:
        arrived: when its last byte was read, on `time.perf_counter`'s clock.
        gone: the client hung up; what is sent goes nowhere.
        on_gone: called when the client hangs up before the answer.
    """

    __slots__ = (
        "_request_id",
        "arrived",
        "body",
        "gone",
        "headers",
        "keep_alive",
        "method",
        "model",
        "on_gone",
        "path",
        "query",
        "sink",
        "status",
    )

    def __init__(
        self,
        sink: Sink,
        method: bytes,
        path: bytes,
        query: bytes,
        headers: dict[bytes, bytes],
        body: bytes,
        keep_alive: bool,
        arrived: float,
    ):
        self.sink, self.method, self.path, self.query, self.headers, self.body = sink, method, path, query, headers, body
        self.keep_alive, self.arrived = keep_alive, arrived
        self.status, self.gone = 0, False
        self.on_gone: Callable[[], None] | None = None
        self.model: Any = None
        self._request_id: str | None = None

    @property
    def request_id(self) -> str:
        """The client's `x-request-id` if it is a plain one, else a new one."""
        if self._request_id is None:
            given = self.headers.get(b"x-request-id")
            self._request_id = given.decode() if given is not None and _ID.fullmatch(given) else new_id()
        return self._request_id

    @property
    def trace(self) -> tuple[str, str] | None:
        """(trace, span) of its ``traceparent``, hex; None where it has none or one that is malformed."""
        return parse_trace(self.headers.get(b"traceparent", b""))

    def send(self, status: int, body: bytes, content_type: bytes = JSON, extra: bytes = b"") -> None:
        """Answer. `extra`: whole header lines, each with its line end."""
        self.status = status
        self.on_gone = None
        if self.gone:
            return
        extra = extra if self.keep_alive else extra + b"connection: close\r\n"
        self.sink.answer(self, response(status, body, content_type, self.request_id, extra, head=self.method == b"HEAD"))

    @property
    def _parts(self) -> Parts:
        return cast(Parts, self.sink)

    def begin(self, status: int, content_type: bytes, extra: bytes = b"") -> None:
        """Begin an answer that comes in parts."""
        self.status = status
        extra += b"transfer-encoding: chunked\r\n" + (b"" if self.keep_alive else b"connection: close\r\n")
        if not self.gone:
            self._parts.part(
                b"%bcontent-type: %b\r\nx-request-id: %b\r\n%b\r\n" % (_STATUS[status], content_type, self.request_id.encode(), extra)
            )

    def part(self, data: bytes) -> None:
        """A part of the answer, not empty."""
        if not self.gone:
            self._parts.part(b"%x\r\n%b\r\n" % (len(data), data))

    def end(self, data: bytes, cut: bool = False) -> None:
        """The last part. `cut`: the answer is not whole, and the connection ends with it, so that no client takes it for whole."""
        self.on_gone = None
        if not self.gone:
            self._parts.answer(self, b"%x\r\n%b\r\n%b" % (len(data), data, b"" if cut else b"0\r\n\r\n"), close=cut)

    def send_raw(self, status: int, data: bytes) -> None:
        """Answer with a whole response as it goes over the wire."""
        self.status = status
        self.on_gone = None
        if not self.gone:
            self.sink.answer(self, data)

    def adopt(self, other: Exchange) -> None:
        """Take over another exchange's request id."""
        self._request_id = other.request_id

    def send_json(self, status: int, value: Any, extra: bytes = b"") -> None:
        """Answer with a value as JSON; numpy's arrays and numbers may be in it. `extra`: further header lines, each ended by CRLF."""
        self.send(status, orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS), JSON, extra)

    def fail(self, error: BaseException, extra: bytes = b"") -> None:
        """Answer with an error's status and reason."""
        if isinstance(error, RequestError) and error.retry_after is not None:
            extra += b"retry-after: %d\r\n" % max(1, int(error.retry_after))
        self.send(status_of(error), dumps_error(error), JSON, extra)


def response(
    status: int, body: bytes, content_type: bytes = JSON, request_id: str = "", extra: bytes = b"", *, head: bool = False
) -> bytes:
    """A whole answer as it goes over the wire; of a HEAD request, without its body."""
    return b"%bcontent-type: %b\r\ncontent-length: %d\r\nx-request-id: %b\r\n%b\r\n%b" % (
        _STATUS[status],
        content_type,
        len(body),
        request_id.encode(),
        extra,
        b"" if head else body,
    )


def dumps_error(error: BaseException) -> bytes:
    """An error's JSON; text that is no Unicode (a client's lone surrogate) is shown escaped."""
    body = body_of(error)
    try:
        return orjson.dumps(body)
    except orjson.JSONEncodeError:
        return orjson.dumps({k: v.encode("utf-8", "backslashreplace").decode() for k, v in body.items()})
