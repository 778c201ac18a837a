"""Between a controller and the real API server: answers some calls with faults, is gone for a while, or strikes at writes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from sluice.core.processes import die_with_parent

#: Asked before a call is passed on: an HTTP status to answer, 0 to hang up, None to pass it on.
Fault = Callable[[str, str], int | None]
#: Told of each call: before it is passed on, and before its answer is. True: hang up there.
Strike = Callable[[str, str, bool], bool]


class FlakyApi:
    """An HTTP proxy in front of ``kubectl proxy``; one connection a call, watches included.

    Args:
        folder: where its kubeconfig is written.
    """

    def __init__(self, folder: Path):
        self.fault: Fault = lambda method, path: None
        self.strike: Strike = lambda method, path, before: False
        self.answered: Counter[int] = Counter()
        self._upstream = subprocess.Popen(["kubectl", "proxy", "--port=0"], stdout=subprocess.PIPE, text=True, preexec_fn=die_with_parent)
        assert self._upstream.stdout is not None
        self._to = int(self._upstream.stdout.readline().rpartition(":")[2])
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._open: set[asyncio.StreamWriter] = set()
        started = threading.Event()

        async def listen() -> None:
            server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
            self.port = server.sockets[0].getsockname()[1]
            started.set()

        self._loop.create_task(listen())
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        assert started.wait(10)
        self.kubeconfig = folder / "kubeconfig.json"
        self.kubeconfig.write_text(
            json.dumps(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "c",
                    "users": [{"name": "u", "user": {}}],
                    "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
                    "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{self.port}"}}],
                }
            )
        )

    def hang_up(self) -> None:
        """End every call under way, watches too."""
        self._loop.call_soon_threadsafe(lambda: [w.transport.abort() for w in list(self._open)])

    def stop(self) -> None:
        def end() -> None:
            for task in asyncio.all_tasks(self._loop):
                task.cancel()
            self._loop.call_later(0.2, self._loop.stop)

        self._loop.call_soon_threadsafe(end)
        self._thread.join(10)
        self._loop.close()
        self._upstream.terminate()
        self._upstream.wait(10)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            await self._one(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            writer.transport.abort()
        finally:
            self._open.discard(writer)
            with contextlib.suppress(OSError):
                writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        method, path, _ = lines[0].split(" ", 2)
        length = next((int(x.partition(":")[2]) for x in lines if x.lower().startswith("content-length")), 0)
        body = await reader.readexactly(length)
        status = self.fault(method, path)
        if status == 0:
            self.answered[0] += 1
            writer.transport.abort()
            return
        if status is not None:
            self.answered[status] += 1
            said = json.dumps(
                {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": f"made up {status}", "code": status}
            ).encode()
            writer.write(
                f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {len(said)}\r\n\r\n".encode()
                + said
            )
            await writer.drain()
            return
        if self.strike(method, path, True):
            writer.transport.abort()
            return
        kept = [x for x in lines[:-2] if not x.lower().startswith("connection:")]
        up_reader, up = await asyncio.open_connection("127.0.0.1", self._to)
        try:
            up.write("\r\n".join([*kept, "Connection: close", "", ""]).encode("latin-1") + body)
            await up.drain()
            if method == "GET":
                while block := await up_reader.read(65536):
                    writer.write(block)
                    await writer.drain()
                return
            answer = await up_reader.read(-1)
            if self.strike(method, path, False):
                writer.transport.abort()
                return
            writer.write(answer)
            await writer.drain()
        finally:
            up.close()
