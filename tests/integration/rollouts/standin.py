"""A small real model server whose behaviour its package describes: errors, delays, wrong labels, crashes.

``python standin.py PACKAGE --name N --host H --port P --grpc-port G --slo-ms MS --digest D``; the right label of
the instance n is "a", "b" or "c", by n modulo 3.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httptools

LABELS = ("a", "b", "c")


class Server:
    def __init__(self, args: argparse.Namespace):
        self.args = args
        self.behaviour: dict[str, Any] = json.loads((Path(args.package) / "behaviour.json").read_text())
        self.started = time.monotonic()
        self.codes: Counter[str] = Counter()
        self.labels: Counter[str] = Counter()
        self.fast = self.slow = 0
        self.random = random.Random(self.behaviour.get("seed", 7))
        self.answered = 0

    def ready(self) -> bool:
        tired = self.answered >= self.behaviour.get("unready_after", float("inf"))
        return not tired and time.monotonic() - self.started >= self.behaviour.get("ready_after", 0)

    async def predict(self, body: bytes) -> tuple[int, bytes]:
        b, begun = self.behaviour, time.monotonic()
        self.answered += 1
        if self.answered == b.get("crash_after"):
            print("out of memory", flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        n = json.loads(body)["instances"][0]
        young = time.monotonic() - self.started < b.get("young_seconds", 0)
        if self.random.random() < b.get("slow_share", 0) or young:
            await asyncio.sleep(b.get("delay_ms", 300) / 1e3)
        if self.random.random() < b.get("error_share", 0):
            code, answer = 500, b'{"error": "made up"}'
        else:
            label = LABELS[(n + (1 if self.random.random() < b.get("wrong_share", 0) else 0)) % 3]
            label = b.get("always", label)
            value = {"label": label, "probability": 0.9} if "nan" not in b else {"value": None}
            self.labels[label] += 1
            code, answer = 200, json.dumps({"predictions": [value]}).encode()
        self.codes[str(code)] += 1
        if time.monotonic() - begun <= self.args.slo_ms / 1e3:
            self.fast += 1
        else:
            self.slow += 1
        return code, answer

    def metrics(self) -> bytes:
        who = f'model="{self.args.name}",version="{self.args.digest[:12]}"'
        lines = [f'sluice_inference_requests_total{{{who},code="{c}"}} {n}' for c, n in self.codes.items()]
        lines += [f'sluice_predictions_total{{{who},label="{c}"}} {n}' for c, n in self.labels.items()]
        lines.append(f'sluice_inference_duration_seconds_bucket{{{who},le="{self.args.slo_ms / 1e3:g}"}} {self.fast}')
        lines.append(f'sluice_inference_duration_seconds_bucket{{{who},le="+Inf"}} {self.fast + self.slow}')
        lines.append(f"sluice_inference_duration_seconds_count{{{who}}} {self.fast + self.slow}")
        return "\n".join(lines).encode() + b"\n"


class Connection(asyncio.Protocol):
    def __init__(self, server: Server):
        self.server = server
        self.parser = httptools.HttpRequestParser(self)
        self.url, self.body = b"", b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_message_begin(self) -> None:
        self.url, self.body = b"", b""

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        asyncio.get_running_loop().create_task(self.respond(self.url.decode(), self.body))

    async def respond(self, path: str, body: bytes) -> None:
        if path == "/v2/health/ready":
            code, answer = (200 if self.server.ready() else 503), b"{}"
        elif path == "/metrics":
            code, answer = 200, self.server.metrics()
        else:
            code, answer = await self.server.predict(body)
        head = f"HTTP/1.1 {code} X\r\ncontent-length: {len(answer)}\r\ncontent-type: application/json\r\n\r\n"
        if not self.transport.is_closing():
            self.transport.write(head.encode() + answer)


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("package")
    for name in ("--name", "--host", "--digest"):
        parser.add_argument(name)
    parser.add_argument("--port", type=int)
    parser.add_argument("--grpc-port", type=int)  # REST only, whatever is asked for
    parser.add_argument("--slo-ms", type=float)
    args = parser.parse_args()
    server = Server(args)
    if "exit" in server.behaviour:
        print("cannot load the graph", flush=True)
        sys.exit(server.behaviour["exit"])
    listening = await asyncio.get_running_loop().create_server(lambda: Connection(server), args.host, args.port)
    halt = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, halt.set)
    await halt.wait()
    listening.close()
    await asyncio.sleep(0.05)


if __name__ == "__main__":
    asyncio.run(main())
