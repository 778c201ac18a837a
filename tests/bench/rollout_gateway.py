"""Twenty thousand requests through a cluster's gateway: ``python -m tests.bench.rollout_gateway``.

A first model, a canary that is promoted, a second one that is rolled back from its first step, under
a steady load from outside, while the controller is killed (SIGKILL) once in each and started again.
Runs against the current kubectl context, in ``$SLUICE_E2E_NAMESPACE``. Prints what the load generator
counted and how each step's requests were split, in standard deviations from the weight.
"""

from __future__ import annotations

import argparse
import http.client
import json
import math
import sys
import tempfile
import threading
import time
from pathlib import Path

from sluice.core.processes import wait_until
from sluice.kube.objects import Objects
from sluice.rollouts.load_generator import Load, Request
from tests.integration.rollouts.cluster import conftest as cluster

NAME = "bench"


class Splits(threading.Thread):
    """Which version answered how many, between the first and the last look at each settled step."""

    def __init__(self, api: cluster.Api, load: Load):
        super().__init__(daemon=True)
        self.api, self.load, self.halt = api, load, threading.Event()
        self.seen: dict[tuple[str, int], list[dict[str, int]]] = {}

    def run(self) -> None:
        while not self.halt.wait(0.3):
            before, counts = self.look(), dict(self.load.report()["by_arm"])
            if before and before == self.look():
                self.seen.setdefault(before, [counts, counts])[1] = counts

    def look(self) -> tuple[str, int] | None:
        status = self.api.status(NAME)
        return (status["candidate"], status["weight"]) if (status.get("phase"), status.get("stage")) == ("Step", "collect") else None

    def lines(self, names: dict[str, str]) -> list[str]:
        out = []
        for (candidate, weight), (first, last) in self.seen.items():
            n, k, p = sum(last.values()) - sum(first.values()), last.get(candidate, 0) - first.get(candidate, 0), weight / 100
            if n:
                out.append(
                    f"{names[candidate]} at {weight} %: {k:,} of {n:,} ({k / n:.2%}), {(k - n * p) / math.sqrt(n * p * (1 - p)):+.2f} standard deviations"
                )
        return out


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rate", type=float, default=150)
    parser.add_argument("--requests", type=int, default=20_000)
    args = parser.parse_args()
    kube: Objects = cluster.prepared()
    api = cluster.Api(kube)
    address = cluster.kubectl("get", "gateway", "-n", "kserve", "kserve-ingress-gateway", "-o", "jsonpath={.status.addresses[0].value}"), 80
    requests = [
        Request(
            json.dumps({"instances": [n]}).encode(),
            "/v1/models/m:predict",
            None,
            {"content-type": "application/json", "host": f"{NAME}.example.com"},
        )
        for n in range(30)
    ]
    names = {cluster.digest(v)[:12]: v for v in ("first", "good", "slow")}
    with tempfile.TemporaryDirectory(prefix="sluice-gateway-") as folder:
        operator = cluster.Operator(Path(folder) / "operator.log").start()
        load = Load(address, requests, args.rate, arm_header="x-sluice-version")
        kills, ends = 0, []

        def kill() -> None:
            nonlocal kills
            operator.kill()
            kills += 1
            time.sleep(3)
            operator.start()

        try:
            api.apply(cluster.manifest(NAME, "first"))
            api.until(NAME, "Succeeded", version="first")
            wait_until(lambda: answers(address), what="the gateway", seconds=60, every=0.5)
            load.start()
            splits = Splits(api, load)
            splits.start()
            for version, behaviour in (("good", ""), ("slow", "slow=0.3")):
                api.apply(cluster.manifest(NAME, version, behaviour, strategy={"minimumRequests": 1500}))
                api.until(NAME, *(("Step",) if version == "good" else ("Shadow",)), version=version)
                kill()
                ends.append(api.until(NAME, *(("Succeeded",) if version == "good" else ("RolledBack",)), version=version)["phase"])
            splits.halt.set()
            splits.join(10)
            while load.report()["sent"] < args.requests:
                time.sleep(0.5)
        finally:
            load.stop()
            message = api.status(NAME).get("message")
            # The controller has to let go of it first.
            cluster.kubectl("delete", "modelrollout", "-n", cluster.NAMESPACE, NAME, "--timeout=60s")
            operator.stop()
        report = load.report()
        print(f"rollouts ended: {ends}; {kills} controllers killed; rolled back because: {message}")
        by = {names.get(a, a): n for a, n in report["by_arm"].items()}
        print(
            f"{report['sent']:,} requests sent, {report['answered']:,} answered, {report['failed']} failed {report['reasons']}, {report['unsent']} not sent; "
            f"by model {by}; p50 {report['p50_ms']} ms, p99 {report['p99_ms']} ms"
        )
        print("\n".join(splits.lines(names)))
        return 0 if report["failed"] == 0 and ends == ["Succeeded", "RolledBack"] else 1


def answers(address: tuple[str, int]) -> bool:
    """The route is in the gateway already."""
    connection = http.client.HTTPConnection(*address, timeout=5)
    try:
        connection.request("POST", "/v1/models/m:predict", b'{"instances": [1]}', {"host": f"{NAME}.example.com"})
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(main())
