"""A thousand ModelRollouts and the real controller process: ``python -m tests.bench.rollout_many``.

On the API server of the current kubectl context, in ``$SLUICE_E2E_NAMESPACE``: resources whose rollout
is over, so that nothing is started and the controller has only to know them all. Prints its memory
once it has looked at each, and the calls that went over the wire; beside `rollout_controller`, which
times decisions, this counts what watching and caching them costs.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil

from serving.controller.rollouts.reconcile import IDLE
from serving.controller.rollouts.resource import FINALIZER
from sluice.core.processes import free_port, wait_until
from sluice.rollouts.state import State
from tests.integration.rollouts.cluster import conftest as cluster
from tests.integration.rollouts.cluster.flaky_api import FlakyApi


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rollouts", type=int, default=1000)
    args = parser.parse_args()
    kube = cluster.prepared()
    names = [f"m{i:04d}" for i in range(args.rollouts)]
    over = State(phase="RolledBack", rejected=(cluster.digest("one"),), last_time=1.0, reasons=("made up for the bench",)).to_dict()

    def make(name: str) -> None:
        raw = cluster.manifest(name, "one")
        raw["metadata"]["finalizers"] = [FINALIZER]
        made = kube.create("ModelRollout", cluster.NAMESPACE, raw)
        status = {
            "phase": "RolledBack",
            "observedGeneration": made["metadata"]["generation"],
            "message": "made up for the bench",
            "state": over,
        }
        kube.replace_status({**made, "status": status})

    def release(name: str) -> None:
        kube.merge("ModelRollout", cluster.NAMESPACE, name, {"metadata": {"finalizers": []}})

    calls: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="sluice-many-") as folder, ThreadPoolExecutor(3) as pool:
        list(pool.map(make, names))
        api = FlakyApi(Path(folder))

        def count(method: str, path: str) -> None:
            calls["lease" if "/leases" in path else "watch" if "watch=" in path else method] += 1

        api.fault = count
        port = free_port()
        operator = cluster.Operator(Path(folder) / "operator.log", "--metrics-port", str(port), kubeconfig=api.kubeconfig).start()

        def looks() -> int:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as page:
                    lines = page.read().decode().splitlines()
            except OSError:
                return 0
            return int(next((float(x.split()[1]) for x in lines if x.startswith("sluice_rollout_look_seconds_count")), 0.0))

        try:
            begun = time.monotonic()
            wait_until(lambda: looks() >= args.rollouts, what="a look at each", seconds=600, every=1, process=operator.process)
            took, first = time.monotonic() - begun, Counter(calls)
            time.sleep(60)
            rest = calls - first
            assert operator.process is not None
            rss = psutil.Process(operator.process.pid).memory_info().rss
        finally:
            operator.stop()
            api.stop()
            list(pool.map(release, names))
            cluster.kubectl("delete", "namespace", cluster.NAMESPACE, "--wait=false")
    per_look = first["GET"] / args.rollouts
    print(f"{args.rollouts} rollouts: controller {rss / 1e6:.0f} MB, each looked at once in {took:.0f} s")
    print(
        f"{per_look:.2f} calls a look, one look in {IDLE:.0f} s: {per_look / (IDLE / 60):.2f} a minute; in the minute after: {dict(rest)}"
    )
    return 0 if rss < 250e6 and per_look / (IDLE / 60) <= 1 else 1


if __name__ == "__main__":
    sys.exit(main())
