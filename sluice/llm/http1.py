"""A small HTTP/1.1 client on asyncio, of one origin: connections are kept, everything read is bounded, and time-outs are the caller's.

The model server has no HTTP client among its dependencies, and needs of one only a POST whose answer may come in pieces.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from sluice.core.errors import ProjectError

_LINE = 64 << 10
_HEADERS = 100
#: Idle connections kept, and for how long: shorter than what servers commonly keep them.
_KEPT, _IDLE = 64, 4.0
_SECRETS = ("key", "token", "secret", "sig", "password")


class Malformed(Exception):
    """What came is not HTTP/1.1, or larger than is read."""


class Origin:
    """Where requests go.

    Args:
        url: ``http://`` or ``https://``, host, port, the path that API paths are added to.
        ca_file: certificates that are trusted instead of the system's.

    Raises:
        ProjectError: no such URL, or one with a key in it: a URL stands in logs and packages.
    """

    def __init__(self, url: str, ca_file: str | None = None):
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as e:
            raise ProjectError("is no URL", field="endpoint.url", fix="for example http://localhost:8000/v1") from e
        if "@" in parts.netloc or any(word in name.lower() for name, _ in parse_qsl(parts.query) for word in _SECRETS):
            raise ProjectError("holds a key or a password", field="endpoint.url", fix="leave it out, and name endpoint.key_env")
        if parts.scheme not in ("http", "https") or not parts.hostname or any(c <= " " or c > "~" for c in url):
            raise ProjectError(
                "must be an http:// or https:// URL", field="endpoint.url", value=url, fix="for example http://localhost:8000/v1"
            )
        self.url, self.host, self.query = url, parts.hostname, parts.query
        self.port = port or (443 if parts.scheme == "https" else 80)
        self.path = parts.path.rstrip("/")
        self.tls: ssl.SSLContext | None = None
        if parts.scheme == "https":
            try:
                self.tls = ssl.create_default_context(cafile=ca_file)
            except OSError as e:
                raise ProjectError(f"cannot be read: {e}", field="endpoint.ca_file", value=ca_file) from e

    def target(self, path: str) -> str:
        """The request target of an API path."""
        whole = self.path if self.path.endswith(path) else self.path + path
        return f"{whole}?{self.query}" if self.query else whole

    @property
    def authority(self) -> str:
        """Host and port as the ``Host`` header has them (RFC 9110, 7.2): the port only where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"


class Answer:
    """The head of an answer, and its body as it comes.

    Attributes:
        status: of HTTP.
        headers: names in lower case.
    """

    def __init__(self, status: int, headers: Mapping[str, str], reader: asyncio.StreamReader):
        self.status, self.headers, self._reader = status, headers, reader
        #: The whole body was read, and its end did not need the connection to end.
        self.whole = False

    async def pieces(self, most: int) -> AsyncIterator[bytes]:
        """The body, piece by piece.

        Raises:
            Malformed: more than `most` bytes, or not of the protocol. EOFError: it ended before its end.
        """
        length = self.headers.get("content-length")
        if "chunked" in self.headers.get("transfer-encoding", "").lower():
            async for piece in self._chunks(most):
                yield piece
        elif length is not None:
            if not length.isdigit() or len(length) > 15 or int(length) > most:
                raise Malformed("the answer is too large")
            left = int(length)
            while left:
                piece = await self._reader.read(min(left, _LINE))
                if not piece:
                    raise EOFError
                left -= len(piece)
                yield piece
            self.whole = True
        else:
            left = most
            while piece := await self._reader.read(_LINE):
                left -= len(piece)
                if left < 0:
                    raise Malformed("the answer is too large")
                yield piece

    async def _chunks(self, most: int) -> AsyncIterator[bytes]:
        while True:
            size = await _line(self._reader)
            try:
                left = int(size.split(b";")[0], 16)
            except ValueError as e:
                raise Malformed("a chunk has no size") from e
            most -= left
            if left < 0 or most < 0:
                raise Malformed("the answer is too large")
            if left == 0:
                for _ in range(_HEADERS):
                    if not await _line(self._reader):
                        self.whole = True
                        return
                raise Malformed("too many trailers")
            while left:
                piece = await self._reader.read(min(left, _LINE))
                if not piece:
                    raise EOFError
                left -= len(piece)
                yield piece
            if await _line(self._reader):
                raise Malformed("a chunk is longer than its size")

    async def all(self, most: int) -> bytes:
        """The whole body. Raises as `pieces`."""
        return b"".join([piece async for piece in self.pieces(most)])


class Client:
    """Connections to an origin, of one event loop."""

    def __init__(self, origin: Origin):
        self._origin = origin
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter, float]] = []

    @contextlib.asynccontextmanager
    async def post(self, path: str, headers: Mapping[str, str], body: bytes, connect: float, first: float) -> AsyncIterator[Answer]:
        """Send a request; the connection is kept if the body was read to its end.

        Args:
            path: of the API.
            headers: beside Host, Content-Length and Connection.
            body: JSON.
            connect, first: seconds until there is a connection, and until the answer begins.

        Raises:
            OSError: no connection. TimeoutError: not in time. EOFError: cut before the answer began. Malformed: no HTTP.
        """
        reader, writer = await self._connection(connect)
        answer, kept = None, False
        try:
            origin = self._origin
            head = [f"POST {origin.target(path)} HTTP/1.1", f"host: {origin.authority}", f"content-length: {len(body)}"]
            head += [f"{name}: {value}" for name, value in headers.items()]
            writer.write("\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body)
            async with asyncio.timeout(first):
                await writer.drain()
                answer = await _answer(reader)
            yield answer
            kept = answer.whole and "close" not in answer.headers.get("connection", "").lower() and len(self._idle) < _KEPT
        finally:
            if kept:
                self._idle.append((reader, writer, time.monotonic()))
            else:
                writer.transport.abort()

    async def _connection(self, connect: float) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        while self._idle:
            reader, writer, since = self._idle.pop()
            if time.monotonic() - since < _IDLE and not reader.at_eof() and not writer.transport.is_closing():
                return reader, writer
            writer.transport.abort()
        origin = self._origin
        more: dict[str, Any] = {"ssl": origin.tls, "server_hostname": origin.host} if origin.tls else {}
        async with asyncio.timeout(connect):
            return await asyncio.open_connection(origin.host, origin.port, limit=_LINE, **more)

    def close(self) -> None:
        """Close what is kept."""
        for _, writer, _ in self._idle:
            writer.transport.abort()
        self._idle.clear()


async def _line(reader: asyncio.StreamReader) -> bytes:
    try:
        line = await reader.readline()
    except ValueError as e:  # longer than the reader's limit
        raise Malformed("a line is too long") from e
    if not line.endswith(b"\n"):
        raise EOFError
    return line.rstrip(b"\r\n")


async def _answer(reader: asyncio.StreamReader) -> Answer:
    for _ in range(8):  # 1xx come before the answer
        version, _, rest = (await _line(reader)).partition(b" ")
        status = rest[:3]
        if not version.startswith(b"HTTP/1.") or not status.isdigit() or len(status) != 3:
            raise Malformed("the answer is not HTTP/1.1")
        headers: dict[str, str] = {}
        for _ in range(_HEADERS + 1):
            line = await _line(reader)
            if not line:
                break
            name, found, value = line.partition(b":")
            if not found:
                raise Malformed("a header has no colon")
            headers[name.decode("latin-1").lower()] = value.strip().decode("latin-1")
        else:
            raise Malformed("too many headers")
        if int(status) >= 200:
            return Answer(int(status), headers, reader)
    raise Malformed("no answer comes")
