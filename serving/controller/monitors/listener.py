"""The HTTP server that requests for retrainings come in by: a bearer token, bounded bodies, and a deadline for each connection."""

from __future__ import annotations

import contextlib
import hmac
import json
import logging
import socket
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from serving.controller.monitors.sources import Inbox, Request, alerts, cloud_events, fault_of
from sluice.core.errors import SluiceError

log = logging.getLogger("sluice.monitors")
#: Bytes of a body; seconds a connection may last; connections at once.
MOST_BYTES, SECONDS, AT_ONCE = 256 << 10, 10.0, 32
_LEAST_TOKEN = 16


class Listener(ThreadingHTTPServer):
    """Takes requests in threads of its own, from `start` on.

    Args:
        host, port: where. inbox: what takes them. token: a file, read for each request, since Secrets rotate.
        namespace: of alerts and events that name none.

    Raises:
        SluiceError: the token cannot be read, or is too short to be one.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, host: str, port: int, inbox: Inbox, token: Path, namespace: str, *, clock: Callable[[], float] = time.time):
        self.inbox, self.token_file, self.namespace, self.clock = inbox, token, namespace, clock
        self.token()
        self._room = threading.BoundedSemaphore(AT_ONCE)
        super().__init__((host, port), _Handler)

    def start(self) -> None:
        """Answer, until the process ends."""
        threading.Thread(target=self.serve_forever, name="requests", daemon=True).start()

    def token(self) -> bytes:
        """The token as it stands. Raises `SluiceError`."""
        try:
            found = self.token_file.read_bytes().strip()
        except OSError as e:
            raise SluiceError(f"cannot be read: {e.strerror or e}", field="--requests-token", value=str(self.token_file)) from e
        if len(found) < _LEAST_TOKEN:
            fix = "head -c 32 /dev/urandom | base64"
            raise SluiceError(f"has fewer than {_LEAST_TOKEN} bytes", field="--requests-token", value=str(self.token_file), fix=fix)
        return found

    def process_request(self, request: Any, client_address: Any) -> None:
        """In a thread, where there is room; otherwise it is closed, and its sender tries again."""
        if not self._room.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """With a deadline for all of it, however slowly it comes."""
        watch = threading.Timer(SECONDS, _cut, (request,))
        watch.daemon = True
        watch.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            watch.cancel()
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away, or was cut, is no news."""
        log.debug("a connection of %s ended", client_address, exc_info=True)


def _cut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    server: Listener
    timeout = SECONDS
    server_version, sys_version = "sluice", ""

    def do_POST(self) -> None:
        """`/alerts` or `/events`."""
        try:
            given = self.headers.get("authorization", "").encode("latin-1", "replace")
            if not hmac.compare_digest(given, b"Bearer " + self.server.token()):
                return self._answer(401, {"error": {"message": "needs the token", "fix": "Authorization: Bearer TOKEN"}})
            read = {"/alerts": self._alerts, "/events": self._events}.get(self.path.partition("?")[0])
            if read is None:
                return self._answer(404, {"error": {"message": "POST to /alerts or /events"}})
            size = self.headers.get("content-length", "")
            if not size.isdecimal():
                return self._answer(411, {"error": {"message": "needs a Content-Length"}})
            if int(size) > MOST_BYTES:
                return self._answer(413, {"error": {"message": f"has more than {MOST_BYTES} bytes"}})
            body = self.rfile.read(int(size))
            if len(body) < int(size):
                return None
            self._answer(200, self.server.inbox.take(read(body)))
        except Exception as why:
            status, told = fault_of(why)
            if status == 500:
                log.exception("a request failed")
            self._answer(status, told)

    def _alerts(self, body: bytes) -> list[Request]:
        return alerts(body, self.server.namespace, self.server.clock())

    def _events(self, body: bytes) -> list[Request]:
        return cloud_events(body, {k.lower(): v for k, v in self.headers.items()}, self.server.namespace, self.server.clock())

    def _answer(self, status: int, doc: dict[str, Any]) -> None:
        body = json.dumps(doc).encode()
        self.close_connection = True
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Not one line a request."""
        log.debug(format, *args)
