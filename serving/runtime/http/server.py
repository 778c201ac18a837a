"""HTTP/1.1 by httptools, one request of a connection at a time.

A client that does not read its answers is not read either, and its next request is not begun until its socket has drained: what a
connection holds is its requests within `max_buffered` and one answer.
"""

from __future__ import annotations

import asyncio
import fcntl
import struct
import termios
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

import httptools

from serving.runtime.errors import RequestError, TooLarge
from serving.runtime.http.request import REASONS, Exchange, dumps_error

if TYPE_CHECKING:
    from serving.runtime.engine.budget import Budget
    from serving.runtime.metrics import Metrics
    from serving.runtime.settings import Settings

_LIMIT_HEAD = 32 << 10
_LIMIT_HEADERS = 100
_LIMIT_URL = 8 << 10
#: Whole requests a client may send before the first is answered; then its socket is not read.
_LIMIT_PIPELINE = 16
#: How long, and how much, is read on after a refusal, so that the client gets to read it.
_LINGER_SECONDS = 2.0
_LINGER_BYTES = 1 << 20
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class HttpServer:
    """The connections of a worker and what is common to them."""

    def __init__(self, settings: Settings, metrics: Metrics, budget: Budget, handle: Callable[[Exchange], None]):
        self.settings, self.budget, self.handle = settings, budget, handle
        self.connections: set[Connection] = set()
        self.draining = False
        self.on_answer: Callable[[Exchange, int, str], None] | None = None
        self._values, self._metrics = metrics.values, metrics
        self._gauge = metrics.counter("sluice_http_connections")

    def connection(self) -> Connection:
        """What asyncio asks for at each new connection."""
        return Connection(self)

    def opened(self, connection: Connection) -> None:
        """Count a connection that was made."""
        self.connections.add(connection)
        self._values[self._gauge] = len(self.connections)

    def closed(self, connection: Connection) -> None:
        """Count a connection that ended."""
        self.connections.discard(connection)
        self._values[self._gauge] = len(self.connections)

    def refused(self, reason: str) -> None:
        """Count a connection that was turned away, by why."""
        self._values[self._metrics.counter("sluice_http_refused_total", reason=reason)] += 1.0

    def sweep(self) -> None:
        """Cut off connections that are slower than they may be. Called every fraction of a second."""
        now = time.perf_counter()
        for connection in list(self.connections):
            connection.check(now)

    def drain(self) -> None:
        """Close idle connections, and the others once they are answered."""
        self.draining = True
        for connection in list(self.connections):
            connection.drain()


class Connection(asyncio.Protocol):
    """One client: its parser, the request being read, the requests waiting for their turn."""

    __slots__ = (
        "_body",
        "_closing",
        "_count",
        "_current",
        "_head",
        "_headers",
        "_held",
        "_lingered",
        "_messages",
        "_parser",
        "_pending",
        "_server",
        "_since",
        "_size",
        "_state",
        "_trickled",
        "_unsent",
        "_url",
        "_writing_since",
        "client",
        "transport",
    )

    def __init__(self, server: HttpServer):
        self._server = server
        self._parser = httptools.HttpRequestParser(self)
        self._pending: deque[Exchange] = deque()
        self._current: Exchange | None = None
        self._state = "idle"  # idle, head, body, linger
        self._since = 0.0
        self._writing_since = 0.0
        self._closing = self._held = False
        self._lingered = self._messages = self._unsent = 0
        self._reset()

    def _reset(self) -> None:
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._size = self._head = self._count = self._trickled = 0

    # asyncio.Protocol
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]
        self._since = time.perf_counter()
        server = self._server
        peer = transport.get_extra_info("peername") if server.on_answer is not None else None
        self.client = peer[0] if peer else ""
        server.opened(self)
        if len(server.connections) > server.settings.max_connections:
            self._refuse(RequestError("too many connections", status=503, retry_after=1), "connections")

    def connection_lost(self, exc: BaseException | None) -> None:
        self._server.closed(self)
        self._server.budget.held -= self._size
        self._size = 0
        for exchange in (self._current, *self._pending):
            if exchange is not None:
                exchange.gone = True
                self._server.budget.held -= len(exchange.body)
                if exchange.on_gone is not None:
                    exchange.on_gone()
        self._current = None
        self._pending.clear()

    def data_received(self, data: bytes) -> None:
        if self._state == "linger":
            self._lingered += len(data)
            if self._lingered > _LINGER_BYTES:
                self.transport.abort()
            return
        before, message = self._state, self._messages
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # An offer to switch protocols may be ignored; what follows it is not read.
            if self._state != "linger":
                self._closing = True
        except httptools.HttpParserCallbackError as e:
            cause = e.__context__
            self._refuse(cause if isinstance(cause, RequestError) else RequestError("is malformed", field="request"), _reason(cause))
        except httptools.HttpParserError:
            self._refuse(RequestError("is not HTTP/1.1", field="request"), "malformed")
        if before == "head" == self._state and message == self._messages:
            # A header that does not end is not reported by the parser, but it is kept. Of one message only: what a
            # client that pipelines sends at once holds the ends and heads of many.
            self._trickled += len(data)
            if self._trickled > _LIMIT_HEAD:
                self._refuse(RequestError(f"is longer than {_LIMIT_HEAD} bytes", field="headers", status=431), "head")

    def eof_received(self) -> bool:
        # The client has closed its side: it is taken to be gone, as by nginx and Go. A request that waits is then not run.
        return False

    def pause_writing(self) -> None:
        self._writing_since, self._unsent = time.perf_counter(), self._outstanding()
        self._hold()

    def resume_writing(self) -> None:
        self._writing_since = 0.0
        if self.transport.is_closing():
            return
        if self._current is None and self._pending:
            self._take_next()
        self._release()

    def _hold(self) -> None:
        """Read no more for now."""
        if not self._held:
            self._held = True
            self.transport.pause_reading()

    def _release(self) -> None:
        """Read on, unless there is still a reason not to. A client's time to send begins anew: it was this side that waited."""
        if self._held and not self._writing_since and len(self._pending) < _LIMIT_PIPELINE:
            self._held = False
            self._since = time.perf_counter()
            self.transport.resume_reading()

    # httptools
    def on_message_begin(self) -> None:
        self._reset()
        self._messages += 1
        self._state = "head"
        self._since = time.perf_counter()

    def on_url(self, url: bytes) -> None:
        self._url += url
        if len(self._url) > _LIMIT_URL:
            raise RequestError(f"is longer than {_LIMIT_URL} bytes", field="url", status=414)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count += 1
        self._head += len(name) + len(value)
        if self._count > _LIMIT_HEADERS or self._head > _LIMIT_HEAD:
            raise RequestError("are too many or too long", field="headers", status=431)
        self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        self._state = "body"
        headers, limit = self._headers, self._server.settings.max_body
        length = headers.get(b"content-length")
        if length is not None and (len(length) > 18 or int(length) > limit):
            raise TooLarge(f"is larger than {limit} bytes", field="body", fix="send less, or use the binary tensor extension")
        if headers.get(b"content-encoding", b"identity") != b"identity":
            raise RequestError(
                "is not taken",
                field="content-encoding",
                value=headers[b"content-encoding"].decode("latin-1"),
                status=415,
                fix="send the body as it is",
            )
        if headers.get(b"expect", b"").lower() == b"100-continue" and self._current is None:
            self.transport.write(_CONTINUE)

    def on_body(self, body: bytes) -> None:
        self._size += len(body)
        self._server.budget.held += len(body)
        settings = self._server.settings
        if self._size > settings.max_body:
            raise TooLarge(f"is larger than {settings.max_body} bytes", field="body", fix="send less, or use the binary tensor extension")
        if self._server.budget.held > self._server.budget.limit:
            raise RequestError("too many bytes of requests are held", status=429, retry_after=1)
        self._body.append(body)

    def on_message_complete(self) -> None:
        now = time.perf_counter()
        parser = self._parser
        url = self._url
        path, _, query = url.partition(b"?")
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        keep_alive = parser.should_keep_alive() and not self._server.draining
        exchange = Exchange(self, parser.get_method(), path, query, self._headers, body, keep_alive, now)
        self._size = 0
        self._body = []
        self._state, self._since = "idle", now
        if self._current is not None or self._writing_since:
            self._pending.append(exchange)
            if len(self._pending) >= _LIMIT_PIPELINE:
                self._hold()
            return
        self._current = exchange
        self._server.handle(exchange)

    # answers
    def part(self, data: bytes) -> None:
        """Write a part of the answer of the request whose turn it is."""
        self.transport.write(data)

    def answer(self, exchange: Exchange, data: bytes, close: bool = False) -> None:
        """Write the answer of the request whose turn it is, or its last part, and take up the next, unless the connection is to `close`."""
        server = self._server
        server.budget.held -= len(exchange.body)
        self.transport.write(data)
        self._current = None
        if server.on_answer is not None:
            server.on_answer(exchange, len(data), self.client)
        if close or not exchange.keep_alive or self._closing or (server.draining and not self._pending):
            self._close()
        elif self._pending and not self._writing_since:
            self._take_next()
            self._release()

    def _take_next(self) -> None:
        self._current = following = self._pending.popleft()
        # Later, not from here: a pipeline of errors would be a recursion.
        asyncio.get_running_loop().call_soon(self._next, following)

    def _next(self, exchange: Exchange) -> None:
        if not exchange.gone:
            self._server.handle(exchange)

    def _refuse(self, error: RequestError, reason: str) -> None:
        """Answer an error out of turn and read on a little, or the client would meet a reset instead of the answer."""
        if self._state == "linger" or self.transport.is_closing():
            return
        self._server.refused(reason)
        self._server.budget.held -= self._size
        self._size = 0
        self._body = []
        self._state, self._since = "linger", time.perf_counter()
        if self._current is not None:  # its answer comes first, then the connection ends
            self._closing = True
            return
        body = dumps_error(error)
        retry = b"retry-after: %d\r\n" % error.retry_after if error.retry_after else b""
        self.transport.write(
            b"HTTP/1.1 %d %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n%bconnection: close\r\n\r\n%b"
            % (error.status, REASONS[error.status], len(body), retry, body)
        )
        self._close()

    def _close(self) -> None:
        if self._state != "linger":
            self.transport.close()
        elif not self.transport.is_closing():
            self._since = time.perf_counter()
            self.transport.write_eof()

    def _outstanding(self) -> int:
        """Bytes of answers that the client has not acknowledged: here, and in the kernel's buffer, which may hold megabytes."""
        raw = fcntl.ioctl(self.transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, b"\0" * 4)
        return int(struct.unpack("i", raw)[0]) + self.transport.get_write_buffer_size()

    def _reads_nothing(self, now: float) -> bool:
        """Whether the client has taken nothing of its answers for `write_timeout`; a slow one that goes on taking is not cut off."""
        if not self._writing_since or now - self._writing_since <= self._server.settings.write_timeout:
            return False
        before, self._unsent, self._writing_since = self._unsent, self._outstanding(), now
        return self._unsent >= before

    def drain(self) -> None:
        for exchange in (self._current, *self._pending):
            if exchange is not None:
                exchange.keep_alive = False
        if self._current is None and not self._pending and self._state == "idle":
            self.transport.close()

    def check(self, now: float) -> None:
        """Cut the connection off if its client is too slow."""
        settings = self._server.settings
        waited = now - self._since
        if self._reads_nothing(now):
            self._server.refused("slow_reader")
            self.transport.abort()
        elif self._state == "linger":
            if waited > _LINGER_SECONDS and self._current is None:
                self.transport.abort()
        elif self._held:
            pass  # what it has yet to send is not read
        elif self._state == "head":
            if waited > settings.head_timeout:
                self._refuse(RequestError("took too long", field="headers", status=408), "slow_head")
        elif self._state == "body":
            if waited > settings.body_timeout:
                self._refuse(RequestError("took too long", field="body", status=408), "slow_body")
        elif self._current is None and not self._pending and waited > settings.idle_timeout:
            self.transport.close()


def _reason(error: BaseException | None) -> str:
    if isinstance(error, RequestError):
        return {408: "slow", 413: "body", 414: "url", 415: "encoding", 429: "buffer", 431: "head"}.get(error.status, "malformed")
    return "malformed"
