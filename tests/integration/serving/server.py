"""A real server process for tests, and the plainest of clients."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from sluice.core.processes import spawn, stop, wait_until

ROOT = Path(__file__).parents[3]


class Server:
    """`python -m serving.runtime` on a free port; `url`, `port`, `grpc` once it serves."""

    def __init__(self, log: Path, *argv: str | Path):
        self.log = log
        command = [sys.executable, "-m", "serving.runtime", "--port", "0", *map(str, argv)]
        self.process: subprocess.Popen[bytes] = spawn(
            command,
            log=log,
            cwd=ROOT,
            env={**{k: v for k, v in os.environ.items() if k != "GRPC_ENABLE_FORK_SUPPORT"}, "PYTHONDONTWRITEBYTECODE": "1"},
        )
        try:
            wait_until(lambda: self.event("serving") is not None, what="server", seconds=60, process=self.process, log=log)
        except BaseException:
            stop(self.process)
            raise
        started = self.event("serving")
        assert started is not None
        self.url: str = started["url"]
        self.port = int(self.url.rsplit(":", 1)[1])
        self.grpc: str | None = started["grpc"]

    def events(self) -> list[dict[str, Any]]:
        out = []
        for line in self.log.read_text().splitlines():
            with contextlib.suppress(ValueError):
                out.append(json.loads(line))
        return out

    def event(self, message: str) -> dict[str, Any] | None:
        return next((e for e in self.events() if e.get("message") == message), None)

    def workers(self) -> list[psutil.Process]:
        return [p for p in psutil.Process(self.process.pid).children() if p.status() != psutil.STATUS_ZOMBIE]

    def request(
        self,
        method: str,
        path: str,
        body: bytes | dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
        timeout: float = 30.0,
    ) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, path, body=json.dumps(body) if isinstance(body, dict) else body, headers=headers or {})
            got = connection.getresponse()
            return got.status, {k.lower(): v for k, v in got.getheaders()}, got.read()
        finally:
            connection.close()

    def get(self, path: str) -> Any:
        status, _, body = self.request("GET", path)
        assert status == 200, (status, body)
        return json.loads(body)

    def post(self, path: str, body: dict[str, Any] | bytes, **headers: str) -> Any:
        status, _, answer = self.request("POST", path, body, headers)
        assert status == 200, (status, answer)
        return json.loads(answer)

    def predict(self, model: str, *instances: Any) -> list[Any]:
        found: list[Any] = self.post(f"/v1/models/{model}:predict", {"instances": list(instances)})["predictions"]
        return found

    def metrics(self) -> dict[str, float]:
        """Sample line without its value -> value."""
        text = self.request("GET", "/metrics")[2].decode()
        return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if not line.startswith("#")}

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples that have these labels."""
        wanted = [f'{k}="{v}"' for k, v in labels.items()]
        return sum(v for k, v in self.metrics().items() if (k == name or k.startswith(name + "{")) and all(w in k for w in wanted))

    def terminate(self) -> int:
        """SIGTERM; the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def close(self) -> None:
        stop(self.process)


@contextlib.contextmanager
def serving(log: Path, *argv: str | Path) -> Iterator[Server]:
    server = Server(log, *argv)
    try:
        yield server
    finally:
        server.close()


def eventually(check: Any, seconds: float = 20.0) -> None:
    """Wait until `check()` is true; fail after `seconds`."""
    until = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < until, "did not happen in time"
        time.sleep(0.02)
