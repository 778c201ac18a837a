"""How far one controller, one registry and one Prometheus go: what each rollout, model and pod costs them.

    python -m tests.bench.scale [--rollouts 100] [--models 1000] [--labels 10] [--fleet 1000] [--part NAME]

One JSON line a part. ``rollouts``: the real reconciler drives many rollouts at once through a whole canary, against an API server in memory, so
what is measured is the controller's own work and the calls it makes, not the server's answers. ``fleet``: a controller that begins with so many
rollouts, and so many monitors, a few looks of each. ``many``: a registry with ten times the models, whose rows are copied. ``registry``: MLflow on SQLite with
many models. ``series``: what a Prometheus keeps for one pod of a model server.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import resource
import socket
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from serving.controller.kube import connect
from serving.controller.rollouts.evidence import Pods
from serving.controller.rollouts.reconcile import IDLE, Rollouts
from tests.unit.rollouts.memory_api import MemoryApi

#: Seconds between two looks at a rollout that goes on.
_LOOK = 2.0
_ENDED = ("Succeeded", "RolledBack", "Failed")
_BASE = "/apis/sluice.dev/v1alpha1/namespaces/ns/modelrollouts"


def _rollout(name: str, digest: str) -> dict[str, Any]:
    return {
        "apiVersion": "sluice.dev/v1alpha1",
        "kind": "ModelRollout",
        "metadata": {"name": name, "namespace": "ns"},
        "spec": {
            "model": {"uri": f"s3://models/{digest[:8]}", "digest": digest},
            "strategy": {"steps": [20, 50], "settleSeconds": 5, "warmupSeconds": 5, "verifySeconds": 10, "keepSeconds": 5},
            "traffic": {"backend": "Gateway", "gateway": {"name": "g"}, "hostname": f"{name}.example.com"},
        },
    }


def _mib() -> float:
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) / 1024


class Fleet:
    """Many rollouts, their controller, and what both cost."""

    def __init__(self, names: list[str]):
        self.api, self.names = MemoryApi(rate=50.0), names
        kube = connect(self.api)
        self.controller = Rollouts(kube, Pods(kube, proxied=True), clock=lambda: self.api.now)
        self.seconds, self.reconciles = 0.0, 0
        self.server = 0.0
        inner = self.api.call_api

        def timed(*args: Any, **kwargs: Any) -> Any:
            begun = time.thread_time()
            try:
                return inner(*args, **kwargs)
            finally:
                self.server += time.thread_time() - begun

        self.api.call_api = timed  # type: ignore[method-assign]

    def apply(self, digest: str) -> None:
        for name in self.names:
            old, new = self.api.objects.get(f"{_BASE}/{name}"), _rollout(name, digest)
            self.api.put(f"{_BASE}/{name}", new if old is None else {**old, "spec": new["spec"]})

    def until_ended(self, rounds: int = 400) -> int:
        """Looks until every rollout has ended; returns how many rounds of `_LOOK` seconds that took."""
        for i in range(rounds):
            going = [n for n in self.names if (self.api.objects[f"{_BASE}/{n}"].get("status") or {}).get("phase") not in _ENDED or i == 0]
            if not going:
                return i
            self.api.pass_time(_LOOK)
            begun, server = time.thread_time(), self.server
            for name in going:
                self.controller.reconcile("ns", name)
            self.seconds += time.thread_time() - begun - (self.server - server)
            self.reconciles += len(going)
        raise SystemExit("a rollout did not come to its end")


def rollouts(count: int) -> dict[str, Any]:
    """One controller's CPU, calls and memory for `count` canaries at once."""
    before = _mib()
    fleet = Fleet([f"m{i}" for i in range(count)])
    fleet.apply("1" * 64)
    fleet.until_ended()
    fleet.seconds, fleet.reconciles = 0.0, 0
    fleet.api.calls.clear()
    fleet.apply("2" * 64)
    rounds = fleet.until_ended()
    verbs = Counter(m for m, _ in fleet.api.calls)
    phases = Counter((fleet.api.objects[f"{_BASE}/{n}"]["status"]["phase"]) for n in fleet.names)
    each = fleet.seconds / fleet.reconciles
    calls = sum(verbs.values()) / fleet.reconciles
    return {
        "part": "rollouts",
        "rollouts": count,
        "ended": dict(phases),
        "looks_each": rounds,
        "cpu_ms_a_look": round(each * 1e3, 2),
        "calls_a_look": round(calls, 2),
        "calls_by_verb_each": {k: round(v / count, 1) for k, v in verbs.items()},
        "mib_with_the_server_in_memory": round(_mib() - before, 1),
        # one core does this many looks a second; a rollout that goes on has one every two seconds, one that has ended every five minutes
        "going_at_once_on_one_core": int(_LOOK / each),
        "ended_on_one_core": int(IDLE / each),
        "calls_a_second_of_100_going": round(100 * calls / _LOOK, 1),
    }


def fleet(count: int, rounds: int = 4) -> dict[str, Any]:
    """A controller's first looks at `count` rollouts that all begin at once."""
    before = _mib()
    made = Fleet([f"m{i}" for i in range(count)])
    made.apply("1" * 64)
    held = _mib()
    slowest = 0.0
    for _ in range(rounds):
        made.api.pass_time(_LOOK)
        begun, server = time.thread_time(), made.server
        for name in made.names:
            made.controller.reconcile("ns", name)
        spent = time.thread_time() - begun - (made.server - server)
        made.seconds, made.reconciles, slowest = made.seconds + spent, made.reconciles + count, max(slowest, spent)
    return {
        "part": "fleet",
        "rollouts": count,
        "cpu_ms_a_look": round(1e3 * made.seconds / made.reconciles, 2),
        "a_round_of_all_s": round(slowest, 2),
        "calls_a_look": round(len(made.api.calls) / made.reconciles, 2),
        "mib_of_the_objects": round(held - before, 1),
        "mib_of_the_controller": round(_mib() - held, 1),
    }


def monitors(count: int, rounds: int = 3) -> dict[str, Any]:
    """A controller's looks at `count` monitors whose logs have a window more each time."""
    from tests.unit.monitors.conftest import BASE, World

    with tempfile.TemporaryDirectory() as work:
        world = World(Path(work))
        before = _mib()
        for i in range(count):
            world.put(f"m{i}", log=f"{work}/{i}")
        world.log.scores = [0.05] * (2 * rounds)
        begun = time.thread_time()
        for _ in range(rounds):
            for i in range(count):
                world.controller.reconcile("ns", f"m{i}")
            world.now += 30.0
        spent = time.thread_time() - begun
        shown = sum(len(f.samples) for f in world.gauges.collect())
        status = len(json.dumps(world.api.objects[f"{BASE}/modelmonitors/m0"].get("status")))
        mib = _mib() - before
    return {
        "part": "monitors",
        "monitors": count,
        "cpu_ms_a_look_with_the_server": round(1e3 * spent / (rounds * count), 2),
        "calls_a_look": round(len(world.api.calls) / (rounds * count), 2),
        "series_each": round(shown / count, 1),
        "status_bytes": status,
        "mib": round(mib, 1),
    }


def many(count: int, real: int = 100) -> dict[str, Any]:
    """Finding and listing among `count` models: `real` are registered, the others are copies of their rows in MLflow's tables."""
    import sqlite3

    from sluice.core import sqlite
    from sluice.registry.versions import CHAMPION, Registry

    with tempfile.TemporaryDirectory() as work:
        path = Path(work) / "mlflow.db"
        found = Registry(sqlite.uri_of(path))
        for i in range(real):
            v = found.register(f"model-{i:05d}", f"{i:064x}", f"s3://b/sha256/{i:064x}", metrics={"accuracy": 0.9}, tags={}, run_id=None)
            found.set_alias(v.model, CHAMPION, v.number)
        tables = ("registered_models", "model_versions", "model_version_tags", "registered_model_aliases")
        with contextlib.closing(sqlite3.connect(path)) as db, db:
            for table in tables:
                names = [r[1] for r in db.execute(f"PRAGMA table_info({table})")]
                rows = list(db.execute(f"SELECT {', '.join(names)} FROM {table}"))
                at = names.index("name")
                copies = (
                    tuple(f"{v}-{c:03d}" if i == at else v for i, v in enumerate(row)) for c in range(count // real - 1) for row in rows
                )
                db.executemany(f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})", copies)
        took = {}
        for what, ask in (
            ("list_s", found.models),
            ("champion_ms", lambda: found.by_alias(f"model-{real - 1:05d}-{count // real - 2:03d}", CHAMPION)),
            ("digest_ms", lambda: found.of_digest(f"{real - 1:064x}")),
            ("register_ms", lambda: found.register("one-more", "f" * 64, "s3://b/x", metrics={}, tags={}, run_id=None)),
        ):
            begun = time.thread_time()
            ask()
            took[what] = round((time.thread_time() - begun) * (1 if what.endswith("_s") else 1e3), 2)
        listed = len(found.models())
        size = path.stat().st_size
    return {"part": "many", "models": listed, **took, "megabytes": round(size / 1e6, 1)}


def registry(count: int) -> dict[str, Any]:
    """Registering and finding among `count` models, MLflow on SQLite."""
    from sluice.core import sqlite
    from sluice.registry.versions import CHAMPION, Registry

    with tempfile.TemporaryDirectory() as work:
        found = Registry(sqlite.uri_of(Path(work) / "mlflow.db"))
        made = []
        for i in range(count):
            begun = time.perf_counter()
            v = found.register(f"model-{i:05d}", f"{i:064x}", f"s3://b/sha256/{i:064x}", metrics={"accuracy": 0.9}, tags={}, run_id=None)
            found.set_alias(v.model, CHAMPION, v.number)
            made.append(time.perf_counter() - begun)
        asked = []
        for i in np.random.default_rng(1).integers(0, count, 200):
            begun = time.perf_counter()
            found.by_alias(f"model-{i:05d}", CHAMPION)
            asked.append(time.perf_counter() - begun)
        begun = time.perf_counter()
        names = found.models()
        listed = time.perf_counter() - begun
        size = (Path(work) / "mlflow.db").stat().st_size
    return {
        "part": "registry",
        "models": len(names),
        "register_ms_first_100": round(float(np.median(made[:100])) * 1e3, 1),
        "register_ms_last_100": round(float(np.median(made[-100:])) * 1e3, 1),
        "champion_ms": round(float(np.median(asked)) * 1e3, 2),
        "list_all_ms": round(listed * 1e3, 1),
        "bytes_a_model": size // count,
    }


def _package(root: Path, labels: int) -> Path:
    """A package of one matrix product and a softmax."""
    import onnx
    from onnx import TensorProto, helper

    from sluice.adoption.adopt import Wanted, adopt
    from sluice.adoption.flavours import Original, Signature
    from sluice.adoption.source import Found

    weights = onnx.numpy_helper.from_array(np.ones((4, labels), dtype=np.float32), "w")
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["rows", k]) for n, k in (("x", 4), ("y", labels))]
    nodes = [helper.make_node("MatMul", ["x", "w"], ["z"]), helper.make_node("Softmax", ["z"], ["y"], axis=1)]
    graph = helper.make_model(helper.make_graph(nodes, "g", ends[:1], ends[1:], [weights]), opset_imports=[helper.make_opsetid("", 17)])
    file = root / "m.onnx"
    onnx.save(graph, str(file))
    (root / "package").mkdir()
    adopt(Found(file, "bench", {}), Original(graph), Signature(), Wanted("m", classifies=True), root / "package")
    return root / "package"


def series(labels: int) -> dict[str, Any]:
    """Time series of one pod that has answered, by how many labels its model has."""
    import subprocess
    import sys

    from sluice.core import fetch

    with tempfile.TemporaryDirectory() as work:
        package = _package(Path(work), labels)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        command = [sys.executable, "-m", "sluice", "serve", str(package), "--port", str(port), "--workers", "1"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
            try:
                url, deadline = f"http://127.0.0.1:{port}", time.monotonic() + 120
                body = json.dumps({"instances": [[1, 2, 3, 4]]}).encode()
                while time.monotonic() < deadline:
                    try:
                        if fetch.send("POST", f"{url}/v1/models/m:predict", body, seconds=5, limit=1 << 20)[0] == 200:
                            break
                    except OSError:
                        time.sleep(0.2)
                page = fetch.get(f"{url}/metrics", seconds=5, limit=1 << 24)[1].decode()
            finally:
                server.terminate()
    lines = [line for line in page.splitlines() if line and not line.startswith("#")]
    return {"part": "series", "labels": labels, "series_a_pod": len(lines)}


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--rollouts", type=int, default=100)
    p.add_argument("--models", type=int, default=1000)
    p.add_argument("--labels", type=int, default=10)
    p.add_argument("--fleet", type=int, default=1000)
    p.add_argument("--part", choices=["fleet", "monitors", "many"], help="one part alone")
    args = p.parse_args()
    parts = {"fleet": lambda: fleet(args.fleet), "monitors": lambda: monitors(args.fleet), "many": lambda: many(10 * args.models)}
    for name, measure in parts.items():
        if args.part in (None, name):
            print(json.dumps(measure()), flush=True)
    if args.part:
        return
    for n in sorted({10, 100, args.rollouts}):
        if n <= args.rollouts:
            print(json.dumps(rollouts(n)), flush=True)
    print(json.dumps(registry(args.models)), flush=True)
    for labels in sorted({2, args.labels}):
        print(json.dumps(series(labels)), flush=True)


if __name__ == "__main__":
    main()
