"""The bench's measurements: each yields rows of {what, ours, peer, against, result, target}."""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from sluice.core.errors import SluiceError
from sluice.core.processes import free_port, spawn, stop
from sluice.engines.predictor import Predictor
from tests.bench.serving.load import drive, http_request
from tests.bench.serving.minilm import texts
from tests.bench.serving.servers import PEERS, Models, Row, cpu, mixed, ours, peer, v1_body, v2_body, version
from tests.bench.tools import uv
from tests.unit.serving import builders


def overhead(models: Models, rounds: int, seconds: float) -> Iterator[Row]:
    """CPU time of the whole server a request, less what `session.run` takes of it, one client."""
    with tempfile.TemporaryDirectory() as tmp:
        package = builders.classifier(Path(tmp) / "model")
        feed = {"x": np.array([[1, 2, 3, 4]], np.float32)}
        predictor = Predictor(package)
        bodies = {"V1": v1_body(feed), "V2": v2_body(feed)}
        paths = {"V1": "/v1/models/model:predict", "V2": "/v2/models/model/infer"}
        port = free_port()
        with (
            ours(package.root, "--workers", "1", "--name", "model") as s,
            peer([sys.executable, str(PEERS / "kserve_server.py"), str(package.root), str(port)], port) as k,
        ):
            for protocol in ("V1", "V2"):
                request = [http_request(paths[protocol], bodies[protocol])]
                found: dict[str, list[float]] = {"ours": [], "peer": []}
                for _ in range(rounds):
                    begun = time.process_time()
                    for _ in range(3000):
                        predictor.run(feed)
                    base = (time.process_time() - begun) / 3000
                    for who, at, process in (("ours", s.port, psutil.Process(s.process.pid)), ("peer", port, k)):
                        before = cpu(process)
                        done = drive(at, request, "closed", 1, seconds)
                        found[who].append(((cpu(process) - before) / done["answered"] - base) * 1e3)
                mine, theirs = (statistics.median(found[w]) for w in ("ours", "peer"))
                yield {
                    "what": f"CPU ms a request over session.run, {protocol} JSON",
                    "ours": f"{mine:.3f}",
                    "peer": f"{theirs:.3f}",
                    "against": version("kserve"),
                    "result": f"{mine / theirs:.2f}x",
                    "target": "<= 0.5x",
                }


def compare(
    rounds: int, run_ours: Callable[[], dict[str, Any]], run_peer: Callable[[], dict[str, Any]], key: str = "rate"
) -> tuple[float, float]:
    mine, theirs = [], []
    for _ in range(rounds):
        for out, run in ((mine, run_ours), (theirs, run_peer)):
            done = run()
            assert done["answered"] and not done["failed"], done
            out.append(float(done[key]))
    return statistics.median(mine), statistics.median(theirs)


def throughput(models: Models, rounds: int, seconds: float) -> Iterator[Row]:
    """Requests a second of mixed-length tensors, 16 clients."""
    feeds = mixed(models["int8"])
    port = free_port()
    requests = {n: [http_request(f"/v2/models/{n}/infer", v2_body(f)) for f in feeds] for n in ("minilm", "model")}
    with (
        ours(models["int8"], "--workers", "2") as s,
        peer([sys.executable, str(PEERS / "kserve_server.py"), str(models["int8"]), str(port)], port),
    ):
        mine, theirs = compare(
            rounds,
            lambda: drive(s.port, requests["minilm"], "closed", 16, seconds),
            lambda: drive(port, requests["model"], "closed", 16, seconds),
        )
    yield {
        "what": "requests/s, mixed-length tensors, 16 clients",
        "ours": f"{mine:.0f}",
        "peer": f"{theirs:.0f}",
        "against": version("kserve"),
        "result": f"{mine / theirs:.2f}x",
        "target": ">= 2.1x",
    }


def raw_text(models: Models, rounds: int, seconds: float) -> Iterator[Row]:
    """Requests a second of raw text, 16 clients, against FastAPI with torch."""
    requests = [http_request("/v1/models/minilm:predict", json.dumps({"instances": [t]}).encode()) for t in texts(400)]
    port = free_port()
    command = [sys.executable, str(PEERS / "fastapi_server.py"), str(models["torch"]), str(port)]
    # As found: torch takes a thread for each CPU.
    with ours(models["int8"], "--workers", "2") as s, peer(command, port, env={"OMP_NUM_THREADS": str(os.cpu_count())}):
        mine, theirs = compare(
            rounds, lambda: drive(s.port, requests, "closed", 16, seconds), lambda: drive(port, requests, "closed", 16, seconds)
        )
    yield {
        "what": "requests/s, raw text in, 16 clients",
        "ours": f"{mine:.0f}",
        "peer": f"{theirs:.0f}",
        "against": version("fastapi", "transformers", "torch"),
        "result": f"{mine / theirs:.2f}x",
        "target": ">= 9x",
    }


#: A process that runs a package's graph on batches of so many rows of 32 tokens, as a worker of the server does; prints rows a second.
_IN_PROCESS = """
import sys, time
from pathlib import Path
import numpy as np
from sluice.package.package import read
from sluice.engines.predictor import Predictor
predictor, rows, seconds = Predictor(read(Path(sys.argv[1])), threads=1), int(sys.argv[2]), float(sys.argv[3])
feed = {"input_ids": np.tile(np.arange(100, 132, dtype=np.int64), (rows, 1)), "attention_mask": np.ones((rows, 32), np.int64)}
predictor.run(feed)
begun, runs = time.perf_counter(), 0
while time.perf_counter() - begun < seconds:
    predictor.run(feed)
    runs += 1
print(rows * runs / (time.perf_counter() - begun))
"""
#: The server joins requests that wait into batches, at most one of each of the 16 clients.
_BATCHES = (1, 4, 8, 16)


def in_process(package: Path, seconds: float, workers: int = 2) -> dict[str, Any]:
    """What as many processes as the server has workers do with the same sessions and nothing around them, at the batch size that serves them best."""
    rates = {}
    for rows in _BATCHES:
        command = [sys.executable, "-c", _IN_PROCESS, str(package), str(rows), str(max(seconds / len(_BATCHES), 0.5))]
        running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(workers)]
        said = [process.communicate(timeout=120)[0] for process in running]
        rates[rows] = sum(map(float, said))
    best = max(rates, key=lambda n: rates[n])
    return {"answered": 1, "failed": {}, "rate": rates[best], "rows": best}


def bare(models: Models, rounds: int, seconds: float) -> Iterator[Row]:
    """Two workers against two processes with the same sessions, which no server can exceed; sequences of 32 tokens."""
    feed = {"input_ids": np.arange(100, 132, dtype=np.int64)[None], "attention_mask": np.ones((1, 32), np.int64)}
    request = [http_request("/v2/models/minilm/infer", v2_body(feed))]
    with ours(models["int8"], "--workers", "2") as s:
        mine, theirs = compare(rounds, lambda: drive(s.port, request, "closed", 16, seconds), lambda: in_process(models["int8"], seconds))
    yield {
        "what": "requests/s over two processes in batches, 32 tokens",
        "ours": f"{mine:.0f}",
        "peer": f"{theirs:.0f}",
        "against": version("onnxruntime"),
        "result": f"{mine / theirs:.2f}",
        "target": ">= 0.65, <= 1",
    }


def environment() -> Path:
    """The peers that are not in the project's environment, each in one of its own. Raises `CalledProcessError`, or `FileNotFoundError` without uv.

    MLServer 1.7.1's worker processes ask uvloop for a loop that from 0.22 on it no longer makes.
    """
    root = Path("bench-results/serving/peers").absolute()
    for name, packages in {"litserve": ["litserve"], "bentoml": ["bentoml"], "mlserver": ["mlserver", "uvloop<0.22"]}.items():
        if not (root / name / "done").exists():
            subprocess.run([uv(), "venv", "--quiet", "--clear", "--python", "3.11", str(root / name)], check=True)
            subprocess.run([uv(), "pip", "install", "--quiet", "--python", str(root / name), *packages, "onnxruntime", "numpy"], check=True)
            (root / name / "done").write_text("")
    return root


@contextlib.contextmanager
def competitor(name: str, package: Path) -> Iterator[tuple[int, str]]:
    """(port, path) of a running peer."""
    port = free_port()
    if name == "kserve":
        with peer([sys.executable, str(PEERS / "kserve_server.py"), str(package), str(port)], port):
            yield port, "/v2/models/model/infer"
        return
    python = environment() / name / "bin"
    env = {"PACKAGE": str(package.absolute()), "PYTHONPATH": str(PEERS)}
    if name == "litserve":
        with peer([str(python / "python"), str(PEERS / "litserve_server.py"), str(package), str(port)], port, "/health"):
            yield port, "/predict"
    elif name == "bentoml":
        with peer(
            [
                str(python / "bentoml"),
                "serve",
                "bentoml_server:Onnx",
                "--working-dir",
                str(PEERS),
                "--port",
                str(port),
                "--host",
                "127.0.0.1",
            ],
            port,
            "/readyz",
            env,
        ):
            yield port, "/predict"
    else:
        with tempfile.TemporaryDirectory() as tmp:
            settings = {
                "http_port": port,
                "grpc_port": free_port(),
                "metrics_port": free_port(),
                "host": "127.0.0.1",
                "parallel_workers": 2,
                "debug": False,
            }
            (Path(tmp) / "settings.json").write_text(json.dumps(settings))
            (Path(tmp) / "model-settings.json").write_text(json.dumps({"name": "model", "implementation": "mlserver_runtime.Onnx"}))
            with peer([str(python / "mlserver"), "start", tmp], port, "/v2/models/model/ready", env):
                yield port, "/v2/models/model/infer"


def tail(models: Models, rounds: int, seconds: float) -> Iterator[Row]:
    """p99 when the same random load comes to each server: 70 % of what the slowest peer that keeps up with it sustains."""
    feeds = mixed(models["int8"])
    bodies = [v2_body(f) for f in feeds]
    names = ["kserve", "litserve", "bentoml", "mlserver"]
    with contextlib.ExitStack() as stack:
        at = {}
        for n in names:
            try:
                at[n] = stack.enter_context(competitor(n, models["int8"]))
            except (SluiceError, OSError, subprocess.CalledProcessError) as e:
                print(f"{n} does not run here and is left out: {str(e)[-300:]}", file=sys.stderr)
        names = list(at)
        server = stack.enter_context(ours(models["int8"], "--workers", "2"))
        at["ours"] = (server.port, "/v2/models/minilm/infer")
        requests = {n: [http_request(path, b) for b in bodies] for n, (_, path) in at.items()}
        most = {n: drive(port, requests[n], "closed", 16, seconds)["rate"] for n, (port, _) in at.items()}
        # The best peer's: those slower than that cannot take part and show it by their p99.
        rate = 0.7 * max(most[n] for n in names)
        found: dict[str, list[float]] = {n: [] for n in at}
        for _ in range(rounds):
            for n, (port, _) in at.items():
                found[n].append(drive(port, requests[n], "open", rate, seconds)["p99_ms"])
    p99 = {n: statistics.median(v) for n, v in found.items()}
    best = min(names, key=lambda n: p99[n])
    for n in names:
        yield {
            "what": f"p99 ms at {rate:.0f} requests/s (70 % of the best peer's most)",
            "ours": f"{p99['ours']:.1f}",
            "peer": f"{p99[n]:.1f}",
            "against": n,
            "result": "lower" if p99["ours"] < p99[n] else "NOT lower",
            "target": "lower" + (" (best peer)" if n == best else ""),
        }


_FIRST_ANSWER = """
import sys, time
from transformers import AutoModel, AutoTokenizer
import torch
tokenizer, model = AutoTokenizer.from_pretrained(sys.argv[1]), AutoModel.from_pretrained(sys.argv[1]).eval()
with torch.no_grad():
    model(**tokenizer(["send money home"], return_tensors="pt"))
"""


def cold_start(models: Models, rounds: int, seconds: float) -> Iterator[Row]:
    """From the start of the process to the first answer to a text; int8 against torch with transformers, no server around it."""

    def mine() -> float:
        port = free_port()
        begun = time.perf_counter()
        process = spawn([sys.executable, "-m", "serving.runtime", str(models["int8"]), "--port", str(port), "--workers", "1"])
        body = b'{"instances": ["send money home"]}'
        try:
            while time.perf_counter() - begun < 60:
                try:
                    urllib.request.urlopen(
                        urllib.request.Request(f"http://127.0.0.1:{port}/v1/models/minilm:predict", body), timeout=5
                    ).read()
                    return time.perf_counter() - begun
                except OSError:
                    time.sleep(0.002)
        finally:
            stop(process)
        raise RuntimeError("no answer")

    def theirs() -> float:
        begun = time.perf_counter()
        subprocess.run([sys.executable, "-c", _FIRST_ANSWER, str(models["torch"])], check=True, capture_output=True)
        return time.perf_counter() - begun

    found = [(mine(), theirs()) for _ in range(rounds)]
    a, b = (statistics.median(x) for x in zip(*found, strict=True))
    yield {
        "what": "cold start to first answer, seconds",
        "ours": f"{a:.3f}",
        "peer": f"{b:.3f}",
        "against": version("torch", "transformers"),
        "result": f"{b / a:.1f}x",
        "target": ">= 15x",
    }


def memory(models: Models, rounds: int, seconds: float) -> Iterator[Row]:
    """Resident memory of a worker under load, less the model's file; kserve's at import."""
    requests = [http_request("/v1/models/minilm:predict", json.dumps({"instances": [t]}).encode()) for t in texts(100)]
    with ours(models["int8"], "--workers", "2") as s:
        drive(s.port, requests, "closed", 16, seconds)
        worker = max(p.memory_info().rss for p in s.workers()) / 2**20
    model = sum(p.stat().st_size for p in models["int8"].iterdir()) / 2**20
    code = "import kserve, psutil; print(psutil.Process().memory_info().rss)"
    imported = int(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()[-1]) / 2**20
    yield {
        "what": f"MB a worker, less the package's {model:.0f}",
        "ours": f"{worker - model:.0f}",
        "peer": f"{imported:.0f}",
        "against": f"{version('kserve')} at import",
        "result": f"{(worker - model) / imported:.2f}x",
        "target": "<= 0.6x",
    }


def overload(models: Models, rounds: int, seconds: float) -> Iterator[Row]:
    """Twice what is sustained: p99 of what is accepted, and how much is refused."""
    requests = [http_request("/v1/models/minilm:predict", json.dumps({"instances": [t]}).encode()) for t in texts(400)]
    with ours(models["int8"], "--workers", "2", "--queue", "32") as s:
        most = drive(s.port, requests, "closed", 16, seconds)["rate"]
        done = drive(s.port, requests, "open", 2 * most, max(seconds, 10.0), 256)
    refused, others = done["failed"].get("429", 0), {k: v for k, v in done["failed"].items() if k != "429"}
    yield {
        "what": f"p99 ms of accepted requests at {2 * most:.0f}/s offered",
        "ours": f"{done['p99_ms']:.0f}",
        "peer": f"{refused}",
        "against": "answered 429",
        "result": f"{done['answered']} accepted, other failures {others or 0}",
        "target": "bounded",
    }


def restart(models: Models, rounds: int, seconds: float) -> Iterator[Row]:
    """SIGKILL of a worker under load: requests that failed, and how long until both serve again."""
    requests = [http_request("/v1/models/minilm:predict", json.dumps({"instances": [t]}).encode()) for t in texts(100)]
    gaps, failures = [], []
    with ours(models["int8"], "--workers", "2") as s:
        for _ in range(rounds):
            out: dict[str, Any] = {}
            load = threading.Thread(target=lambda out=out: out.update(drive(s.port, requests, "closed", 16, max(seconds, 3.0))))
            load.start()
            time.sleep(1.0)
            victim = s.workers()[0]
            begun = time.perf_counter()
            victim.kill()
            while True:
                try:
                    if s.metric("sluice_workers") == 2 and victim.pid not in {p.pid for p in s.workers()}:
                        break
                except OSError:
                    pass
                time.sleep(0.01)
            gaps.append(time.perf_counter() - begun)
            load.join()
            failures.append(sum(out["failed"].values()))
    yield {
        "what": "seconds until a killed worker serves again",
        "ours": f"{statistics.median(gaps):.2f}",
        "peer": f"{max(failures)}",
        "against": "requests failed, of 16 in flight",
        "result": f"{max(gaps):.2f} s at worst",
        "target": "< 1 s",
    }


ALL: dict[str, Callable[[Models, int, float], Iterator[Row]]] = {
    "overhead": overhead,
    "throughput": throughput,
    "raw-text": raw_text,
    "bare": bare,
    "tail": tail,
    "cold-start": cold_start,
    "memory": memory,
    "overload": overload,
    "restart": restart,
}
