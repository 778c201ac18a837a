"""`sluice ui` as a process of its own, for tests, bench and pictures."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import orjson

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Served:
    """A page that answers. Attributes: url; token, "" where nobody may act; pid."""

    url: str
    token: str
    pid: int

    def client(self) -> httpx.Client:
        """Somebody who is not signed in."""
        return httpx.Client(base_url=self.url, timeout=60)

    def signed_in(self) -> httpx.Client:
        """Somebody who is."""
        client = self.client()
        answer = client.post("/signin", data={"token": self.token, "next": "/"}, headers={"origin": self.url})
        assert answer.status_code == 303, answer.text
        return client


@contextlib.contextmanager
def served(home: Path, *more: str, env: dict[str, str] | None = None) -> Iterator[Served]:
    """The page over a home, until the block ends."""
    command = [sys.executable, "-m", "sluice", "ui", "--home", str(home), "--port", "0", "--json", *more]
    without = {k: v for k, v in os.environ.items() if k not in ("MLFLOW_TRACKING_URI", "SLUICE_UI_TOKEN", "SLUICE_AUDIT")}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, env={**without, **(env or {})})
    try:
        assert process.stdout is not None
        told = orjson.loads(process.stdout.readline())
        yield Served(told["url"], told.get("token", ""), told["pid"])
    finally:
        process.terminate()
        process.wait(30)
