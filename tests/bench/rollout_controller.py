"""A thousand ModelRollouts in one controller: ``python -m tests.bench.rollout_controller``.

The real controller over an API server in memory. Prints memory, the time of a decision, and API
calls of an idle rollout a minute. Memory includes the API server's own copies of the objects,
which a controller in a cluster does not hold.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil

import serving.controller.rollouts.reconcile as module
from serving.controller.kube import connect
from serving.controller.operator import Schedule
from serving.controller.rollouts.evidence import Pods
from serving.controller.rollouts.reconcile import IDLE, Rollouts

_spec = importlib.util.spec_from_file_location("rollout_memory_api", Path(__file__).parents[1] / "unit" / "rollouts" / "memory_api.py")
assert _spec and _spec.loader
memory = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(memory)


def resource(i: int, digest: str) -> dict[str, Any]:
    name = f"m{i:04d}"
    strategy = {
        "steps": [20, 50],
        "shadow": {"requests": 100},
        "troubleSeconds": 2,
        "settleSeconds": 1,
        "warmupSeconds": 1,
        "verifySeconds": 2,
        "keepSeconds": 5,
    }
    return {
        "apiVersion": "sluice.dev/v1alpha1",
        "kind": "ModelRollout",
        "metadata": {"name": name, "namespace": "ns"},
        "spec": {
            "model": {"uri": "s3://models/x", "digest": digest},
            "strategy": strategy,
            "traffic": {"backend": "Gateway", "gateway": {"name": "g"}, "hostname": name},
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rollouts", type=int, default=1000)
    parser.add_argument("--deciding", type=int, default=20, help="of them in the middle of a canary")
    args = parser.parse_args()
    process = psutil.Process()
    empty = process.memory_info().rss
    api = memory.MemoryApi(rate=50)
    # Ten labels: what a decision costs grows with them.
    page = api.page
    api.page = lambda pod: page(pod) + "".join(f'sluice_predictions_total{{label="{i}"}} {7 * i}\n' for i in range(10))  # type: ignore[method-assign]
    kube = connect(api)
    took: list[float] = []
    real = module.decide  # type: ignore[attr-defined]

    def timed(*a: Any) -> Any:
        # A decision waits for nothing: its CPU time is its time on a core of its own.
        begun = time.thread_time()
        answer = real(*a)
        took.append(time.thread_time() - begun)
        return answer

    module.decide = timed  # type: ignore[attr-defined, assignment]
    controller = Rollouts(kube, Pods(kube, proxied=True), clock=lambda: api.now)
    names = [f"m{i:04d}" for i in range(args.rollouts)]
    base = "/apis/sluice.dev/v1alpha1/namespaces/ns/modelrollouts/"
    # All their first models, put where a controller of before left them.
    for i, name in enumerate(names):
        api.put(base + name, resource(i, "1" * 64))
    idle: dict[str, int] = {}
    for name in names:
        for _ in range(40):
            # Time passes for everyone; only this one's traffic matters to it.
            api.now += 1.0
            if controller.reconcile("ns", name) == IDLE:
                break
        before = len(api.calls)
        controller.reconcile("ns", name)
        idle[name] = len(api.calls) - before
    took.clear()
    for name in names[: args.deciding]:
        raw = api.objects[base + name]
        api.put(base + name, {**raw, "spec": resource(int(name[1:]), "2" * 64)["spec"]})
        for _ in range(60):
            api.now += 1.0
            for version in ("1" * 8, "2" * 8):
                api.answer(f"{name}-{version}-predictor", 40)
            controller.reconcile("ns", name)
    schedule = Schedule(controller.reconcile)
    asyncio.run(_fill(schedule, [api.objects[base + n] for n in names]))
    rss = process.memory_info().rss
    calls = np.array(list(idle.values()))
    print(
        f"{args.rollouts} rollouts: {rss / 1e6:.0f} MB in all, {empty / 1e6:.0f} MB of them before the first; API server in memory included"
    )
    print(f"decision (CPU time): p50 {1e3 * np.quantile(took, 0.5):.2f} ms, p99 {1e3 * np.quantile(took, 0.99):.2f} ms over {len(took)}")
    print(
        f"idle: {calls.max()} API calls a look (pod proxies included), one look in {IDLE:.0f} s: {calls.max() / (IDLE / 60):.2f} a minute"
    )
    sys.exit(0 if rss < 250e6 and np.quantile(took, 0.99) < 0.01 and calls.max() / (IDLE / 60) <= 1 else 1)


async def _fill(schedule: Schedule, objects: list[dict[str, Any]]) -> None:
    for o in objects:
        schedule.seen("ADDED", o)


if __name__ == "__main__":
    main()
