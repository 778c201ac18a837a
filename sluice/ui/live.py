"""Rollouts as they go on: one look for everybody who watches, and each browser is sent what is new (server-sent events)."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from sluice.core.errors import SluiceError
from sluice.ui.guard import Refused

#: Seconds between looks here and on a cluster, and after which a word is sent that nothing is new.
HERE, CLUSTER, SILENT = 0.5, 2.0, 15.0
#: Who may watch at the same time, and answers that may wait for one of them.
MOST, WAITING = 200, 2


def event(name: str, data: Any) -> bytes:
    """One event; JSON, so that no text inside can end it."""
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()


class Watched:
    """One thing that is looked at as long as somebody watches.

    Args:
        look: what is to be sent now, and whether it is over. changed: something that differs where `look` would; None: always look.
        every: seconds between looks.
    """

    def __init__(self, look: Callable[[], Awaitable[tuple[str, bool]]], changed: Callable[[], Awaitable[Any]] | None, every: float):
        self.look, self.changed, self.every = look, changed, every
        self.viewers: set[asyncio.Queue[bytes | None]] = set()
        self.last = b""
        self.looks = 0
        self._task: asyncio.Task[None] | None = None

    def join(self) -> asyncio.Queue[bytes | None]:
        """Begin to watch."""
        queue: asyncio.Queue[bytes | None] = asyncio.Queue(WAITING)
        if self.last:
            queue.put_nowait(self.last)
        self.viewers.add(queue)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        return queue

    def leave(self, queue: asyncio.Queue[bytes | None]) -> None:
        """Stop watching; nobody looks where nobody watches."""
        self.viewers.discard(queue)
        if not self.viewers and self._task is not None:
            self._task.cancel()
            self._task = None
            self.last = b""

    async def _run(self) -> None:
        before: Any = None
        while True:
            try:
                now = await self.changed() if self.changed else None
                if now is None or now != before:
                    before = now
                    text, over = await self.look()
                    self.looks += 1
                    self._send(event("state", text))
                    if over:
                        self._send(event("over", ""))
                        self._send(None)
                        return
            except SluiceError as e:
                self._send(event("trouble", e.message))
            await asyncio.sleep(self.every)

    def _send(self, data: bytes | None) -> None:
        if data is not None and data.startswith(b"event: state"):
            if data == self.last:
                return
            self.last = data
        for queue in self.viewers:
            if queue.full():  # one who is slow misses what is old, not what is new
                queue.get_nowait()
            queue.put_nowait(data)


class Hub:
    """Everything that is watched, by name."""

    def __init__(self) -> None:
        self.watched: dict[str, Watched] = {}

    async def stream(self, name: str, make: Callable[[], Watched]) -> AsyncIterator[bytes]:
        """What one browser is sent, until it is over or the browser goes. Raises `Refused`: too many watch."""
        if sum(len(w.viewers) for w in self.watched.values()) >= MOST:
            raise Refused(f"{MOST} watch already", 503, fix="close a page, or `sluice rollout watch`")
        found = self.watched.setdefault(name, make())
        return self._flow(name, found)

    async def _flow(self, name: str, found: Watched) -> AsyncIterator[bytes]:
        queue = found.join()
        try:
            yield b"retry: 3000\n\n"
            while True:
                try:
                    data = await asyncio.wait_for(queue.get(), SILENT)
                except TimeoutError:
                    data = b": nothing new\n\n"
                if data is None:
                    return
                yield data
        finally:
            found.leave(queue)
            if not found.viewers:
                with contextlib.suppress(KeyError):
                    if self.watched[name] is found:
                        del self.watched[name]
