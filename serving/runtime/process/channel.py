"""Messages between the parent and a worker: one JSON object a packet, over a socket pair."""

from __future__ import annotations

import socket
from typing import Any

import orjson

_LIMIT = 1 << 20


def pair() -> tuple[socket.socket, socket.socket]:
    """Both ends, without blocking. A packet is delivered whole or not at all."""
    a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    a.setblocking(False)
    b.setblocking(False)
    return a, b


def send(end: socket.socket, message: dict[str, Any]) -> bool:
    """False when the other side is gone or does not read."""
    try:
        end.send(orjson.dumps(message))
    except (BlockingIOError, BrokenPipeError, ConnectionError, OSError):
        return False
    return True


def receive(end: socket.socket) -> dict[str, Any] | None:
    """The next message; None when there is none. Raises `EOFError` when the other side is gone."""
    try:
        raw = end.recv(_LIMIT)
    except BlockingIOError:
        return None
    except ConnectionError as e:
        raise EOFError from e
    if not raw:
        raise EOFError
    message: dict[str, Any] = orjson.loads(raw)
    return message
