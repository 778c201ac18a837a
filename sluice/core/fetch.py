"""One HTTP request, bounded in bytes and in time as a whole: whoever answers a byte a second, or for ever, costs what was said and no more."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
import time
import urllib.parse
from collections.abc import Mapping
from typing import Any


def get(url: str, *, seconds: float, limit: int) -> tuple[int, bytes]:
    """The status and the body at an address; see `send`."""
    return send("GET", url, seconds=seconds, limit=limit)


def send(
    method: str, url: str, body: bytes | None = None, *, headers: Mapping[str, str] | None = None, seconds: float, limit: int
) -> tuple[int, bytes]:
    """The status and the body of an ``http`` or ``https`` address's answer. Redirects are not followed.

    Args:
        url: the address. body: to send. seconds: from connecting to the last byte. limit: most bytes of the answer's body.

    Raises:
        OSError: nobody answers, not in time (`TimeoutError`), not in HTTP, or with more than `limit` bytes.
    """
    end = time.monotonic() + seconds
    try:
        parts = urllib.parse.urlsplit(url)
        connection = _connection(parts, seconds)
    except ValueError as e:  # no address, or a port that is none
        raise OSError(f"{url}: {e}") from e
    where = f"{parts.scheme}://{parts.netloc}"
    expired = threading.Event()
    watchdog = threading.Timer(seconds, expired.set)
    try:
        connection.connect()
        watchdog = threading.Timer(max(0.0, end - time.monotonic()), _expire, (connection.sock, expired))
        watchdog.daemon = True
        watchdog.start()
        connection.request(method, (parts.path or "/") + (f"?{parts.query}" if parts.query else ""), body, dict(headers or {}))
        answer = connection.getresponse()
        found = bytearray()
        while chunk := answer.read1(1 << 16):
            found += chunk
            if len(found) > limit:
                raise OSError(f"{where}: answers with more than {limit} bytes")
        if expired.is_set() or time.monotonic() > end:
            raise TimeoutError
        return answer.status, bytes(found)
    except TimeoutError as e:
        raise TimeoutError(f"{where}: no whole answer in {seconds:g} s") from e
    except (http.client.HTTPException, ValueError) as e:
        if expired.is_set():
            raise TimeoutError(f"{where}: no whole answer in {seconds:g} s") from e
        raise OSError(f"{where}: {type(e).__name__}: {e}") from e
    except OSError as e:
        if expired.is_set():
            raise TimeoutError(f"{where}: no whole answer in {seconds:g} s") from e
        raise
    finally:
        watchdog.cancel()
        connection.close()


def _connection(parts: urllib.parse.SplitResult, seconds: float) -> http.client.HTTPConnection:
    extra: dict[str, Any] = {"context": ssl.create_default_context()} if parts.scheme == "https" else {}
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    return kind(parts.hostname or "", parts.port, timeout=seconds, **extra)


def _expire(sock: socket.socket, expired: threading.Event) -> None:
    """A socket's own time-out begins anew with every byte: this one does not."""
    expired.set()
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
