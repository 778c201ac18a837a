"""A load generator that costs little beside the servers it shares the machine with: prebuilt bytes over uvloop.

Run as a process: ``python -m tests.bench.serving.load HOST PORT FILE MODE ...`` prints one JSON object.
"""

from __future__ import annotations

import asyncio
import base64
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
#: Seconds until a request counts as failed: a server may hang.
_PATIENCE = 20.0


def http_request(path: str, body: bytes, headers: dict[str, str] | None = None) -> bytes:
    """The bytes of a POST."""
    lines = [
        f"POST {path} HTTP/1.1",
        "host: bench",
        "accept: */*",
        "content-type: application/json",
        f"content-length: {len(body)}",
        *(f"{k}: {v}" for k, v in (headers or {}).items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


class Client(asyncio.Protocol):
    """One connection; one request at a time."""

    def __init__(self) -> None:
        self._buffer = b""
        self._answered: asyncio.Future[int] | None = None
        self.open = True

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def connection_lost(self, exc: BaseException | None) -> None:
        self.open = False
        if self._answered is not None and not self._answered.done():
            self._answered.set_result(0)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head = self._buffer.find(b"\r\n\r\n")
        if head < 0:
            return
        top = self._buffer[:head].lower()
        at = top.find(b"content-length:")
        if at >= 0:
            whole = head + 4 + int(top[at + 15 :].split(b"\r\n", 1)[0])
            done = len(self._buffer) >= whole
        else:
            done = self._buffer.endswith(b"0\r\n\r\n")
        if done and self._answered is not None:
            status, self._buffer = int(self._buffer[9:12]), b""
            answered, self._answered = self._answered, None
            if not answered.done():
                answered.set_result(status)

    async def ask(self, request: bytes) -> int:
        """The status; 0 when the connection broke."""
        self._answered = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        try:
            return await asyncio.wait_for(self._answered, _PATIENCE)
        except TimeoutError:
            self.open = False
            self._transport.abort()
            return 0


async def connect(host: str, port: int) -> Client:
    _, client = await asyncio.get_running_loop().create_connection(Client, host, port)
    return client


async def closed(host: str, port: int, requests: list[bytes], clients: int, seconds: float) -> dict[str, Any]:
    """`clients` connections, each sending its next request when the last is answered."""
    ends = [await connect(host, port) for _ in range(clients)]
    until = time.perf_counter() + seconds
    latencies: list[float] = []
    failed: dict[int, int] = {}

    async def work(i: int) -> None:
        client, at = ends[i], i * 7919
        while (begun := time.perf_counter()) < until:
            status = await client.ask(requests[at % len(requests)])
            at += 1
            if status == 200:
                latencies.append(time.perf_counter() - begun)
            else:
                failed[status] = failed.get(status, 0) + 1
                if not client.open:
                    client = await connect(host, port)

    begun = time.perf_counter()
    await asyncio.gather(*(work(i) for i in range(clients)))
    return summary(latencies, failed, time.perf_counter() - begun)


async def opened(host: str, port: int, requests: list[bytes], rate: float, seconds: float, connections: int = 64) -> dict[str, Any]:
    """Requests at random times (Poisson) whatever the answers do; latency counts from when a request was due."""
    free: asyncio.Queue[Client] = asyncio.Queue()
    for _ in range(connections):
        free.put_nowait(await connect(host, port))
    latencies: list[float] = []
    failed: dict[int, int] = {}
    r = random.Random(11)

    async def one(request: bytes, due: float) -> None:
        client = await free.get()
        try:
            if not client.open:
                client = await connect(host, port)
            status = await client.ask(request)
            if status == 200:
                latencies.append(time.perf_counter() - due)
            else:
                failed[status] = failed.get(status, 0) + 1
        finally:
            free.put_nowait(client)

    begun = due = time.perf_counter()
    tasks: set[asyncio.Task[None]] = set()
    number = 0
    while due < begun + seconds:
        due += r.expovariate(rate)
        pause = due - time.perf_counter()
        if pause > 0:
            await asyncio.sleep(pause)
        task = asyncio.create_task(one(requests[number % len(requests)], due))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        number += 1
    if tasks:
        await asyncio.wait(tasks, timeout=30)
    return summary(latencies, failed, time.perf_counter() - begun)


def summary(latencies: list[float], failed: dict[int, int], seconds: float) -> dict[str, Any]:
    latencies.sort()

    def at(share: float) -> float:
        return latencies[min(len(latencies) - 1, int(share * len(latencies)))] * 1e3 if latencies else float("nan")

    return {
        "answered": len(latencies),
        "failed": {str(k): v for k, v in failed.items()},
        "seconds": seconds,
        "rate": len(latencies) / seconds,
        "p50_ms": at(0.5),
        "p90_ms": at(0.9),
        "p99_ms": at(0.99),
        "max_ms": at(1.0),
    }


def drive(port: int, requests: list[bytes], mode: str, *numbers: float) -> dict[str, Any]:
    """Run the generator as a process of its own. `mode`: ``closed`` (clients, seconds) or ``open`` (rate, seconds)."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as f:
        json.dump([base64.b64encode(r).decode() for r in requests], f)
        f.flush()
        done = subprocess.run(
            [sys.executable, "-m", "tests.bench.serving.load", "127.0.0.1", str(port), f.name, mode, *map(str, numbers)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=600,
            check=True,
        )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main() -> None:
    import uvloop

    host, port, path, mode, *numbers = sys.argv[1:]
    requests = [base64.b64decode(r) for r in json.loads(Path(path).read_text())]
    work = (
        closed(host, int(port), requests, int(float(numbers[0])), float(numbers[1]))
        if mode == "closed"
        else opened(host, int(port), requests, float(numbers[0]), float(numbers[1]))
    )
    print(json.dumps(uvloop.run(work)))


if __name__ == "__main__":
    main()
