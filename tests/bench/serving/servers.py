"""Our server and its peers as processes of this machine, and what they are asked."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import platform
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from sluice.core.processes import spawn, stop, wait_until
from sluice.fields import load_processor
from sluice.package.package import read
from tests.bench.serving.minilm import texts
from tests.integration.serving.server import serving

HERE = Path(__file__).parent


PEERS = HERE / "peers"


Models = dict[str, Path]


Row = dict[str, Any]


def version(*names: str) -> str:
    return " + ".join(f"{n} {importlib.metadata.version(n)}" for n in names)


def machine() -> str:
    return f"{platform.machine()}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}, Python {platform.python_version()}, {version('onnxruntime', 'kserve', 'numpy')}"


@contextlib.contextmanager
def peer(command: list[str], port: int, path: str = "/v2/health/ready", env: dict[str, str] | None = None) -> Iterator[psutil.Process]:
    """A peer's server, up and answering."""
    with tempfile.TemporaryDirectory() as tmp:
        log = Path(tmp) / "log"
        process = spawn(command, log=log, env={**os.environ, **(env or {})})
        root = psutil.Process(process.pid)
        try:
            wait_until(lambda: _up(port, path), what=command[1], seconds=120, process=process, log=log)
            yield root
        finally:
            # Peers do not all end their workers when they are ended themselves.
            family = root.children(recursive=True) if root.is_running() else []
            stop(process, 5)
            for p in family:
                with contextlib.suppress(psutil.NoSuchProcess):
                    p.kill()
            psutil.wait_procs(family, timeout=5)


def _up(port: int, path: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=2) as got:
            return got.status == 200
    except urllib.error.HTTPError as e:
        return e.code in (404, 405)
    except OSError:
        return False


@contextlib.contextmanager
def ours(package: Path, *argv: str) -> Iterator[Any]:
    with tempfile.TemporaryDirectory() as tmp, serving(Path(tmp) / "log", package, *argv) as server:
        yield server


def v2_body(feed: dict[str, np.ndarray]) -> bytes:
    kinds = {"f": "FP32", "i": "INT64"}
    inputs = [{"name": n, "shape": list(a.shape), "datatype": kinds[a.dtype.kind], "data": a.ravel().tolist()} for n, a in feed.items()]
    return json.dumps({"id": "1", "inputs": inputs}).encode()


def v1_body(feed: dict[str, np.ndarray]) -> bytes:
    rows = len(next(iter(feed.values())))
    instances = [
        next(iter(feed.values()))[i].tolist() if len(feed) == 1 else {n: a[i].tolist() for n, a in feed.items()} for i in range(rows)
    ]
    return json.dumps({"instances": instances}).encode()


def mixed(package: Path, count: int = 400) -> list[dict[str, np.ndarray]]:
    """Feeds of texts of mixed length, one text each."""
    p = read(package)
    processor = load_processor(p.preprocess, p.root)
    return [processor.encode_batch([t]) for t in texts(count)]


def cpu(process: psutil.Process) -> float:
    """CPU seconds of a process and its children."""
    total = 0.0
    for p in [process, *process.children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            t = p.cpu_times()
            total += t.user + t.system
    return total
