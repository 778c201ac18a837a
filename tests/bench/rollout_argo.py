"""Argo Rollouts' own controller on recorded counters, beside its rules as we play them: ``python -m tests.bench.rollout_argo``.

Traffic is made up once for each rollout and its counters are recorded by the minute. An ``AnalysisRun`` for each step, with the success rate of
Argo's documentation (`successCondition: result[0] >= 0.95`, `failureLimit: 3`, `count: 5`), is given them one after the other by a Prometheus of
ours, which answers the i-th question about a step with its i-th minute; so five minutes take as long as five questions. Argo's controller decides,
`rollout.METHODS` plays the same rules on the same counters, and Sluice decides the same seeds by its own.

Needs Argo Rollouts' CRDs on the cluster of the current kubectl context, and its controller, run where it reaches this process.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlparse

import numpy as np

from sluice.rollouts.simulate import CANDIDATE, STABLE, World
from sluice.rollouts.state import Routed
from tests.bench.rollout import EVERY, MINUTE, Case, cases, sluice

LEAST, FAILURES, COUNT = 0.95, 3, 5
SHOWN = (
    "+0.5 points",
    "+2 points of errors",
    "+5 points of errors",
    "+50 points",
    "bursts of faults in both",
    "of 2 and 2 processes",
    "both at 15 %",
)


def recorded(case: Case, seed: int) -> list[list[float]]:
    """The candidate's success rate by step and minute; NaN for a minute without a request."""
    world = World(case.scenario, np.random.default_rng(seed))
    found = []
    for weight in case.spec.steps:
        world.routed = Routed({STABLE: 100 - weight, CANDIDATE: weight})
        rates = []
        for _ in range(COUNT):
            before = dict(world.counts["candidate"])
            for _ in range(round(MINUTE / EVERY)):
                world.pass_time(EVERY)
            n, bad = (world.counts["candidate"].get(k, 0) - before.get(k, 0) for k in ("requests", "errors"))
            rates.append(1 - bad / n if n else float("nan"))
        found.append(rates)
    return found


def played(rates: list[float]) -> str:
    """What the documentation says of a step's measurements."""
    return "Failed" if sum(not r >= LEAST for r in rates) > FAILURES else "Successful"


class Prometheus(ThreadingHTTPServer):
    """Answers the i-th question about a series with its i-th value."""

    def __init__(self, series: dict[str, list[float]]):
        self.series, self.asked, self.guard = series, dict.fromkeys(series, 0), threading.Lock()
        super().__init__(("127.0.0.1", 0), _Answer)

    def next(self, name: str) -> float:
        with self.guard:
            at, self.asked[name] = self.asked[name], self.asked[name] + 1
        return self.series[name][min(at, len(self.series[name]) - 1)]


class _Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self._tell(parse_qs(urlparse(self.path).query))

    def do_POST(self) -> None:
        self._tell(parse_qs(self.rfile.read(int(self.headers["content-length"])).decode()))

    def _tell(self, asked: dict[str, list[str]]) -> None:
        server = self.server
        assert isinstance(server, Prometheus)
        value = [time.time(), str(server.next(asked["query"][0]))]
        body = json.dumps({"status": "success", "data": {"resultType": "vector", "result": [{"metric": {}, "value": value}]}}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


def analysis(name: str, address: str) -> dict[str, Any]:
    metric = {
        "name": "success-rate",
        "interval": "1s",
        "count": COUNT,
        "failureLimit": FAILURES,
        "successCondition": f"result[0] >= {LEAST}",
        "provider": {"prometheus": {"address": address, "query": name}},
    }
    return {"apiVersion": "argoproj.io/v1alpha1", "kind": "AnalysisRun", "metadata": {"name": name}, "spec": {"metrics": [metric]}}


def kubectl(namespace: str, *args: str, stdin: str | None = None) -> str:
    done = subprocess.run(["kubectl", "-n", namespace, *args], input=stdin, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        raise SystemExit(f"kubectl {' '.join(args)}: {done.stderr}")
    return done.stdout


def decided(namespace: str, names: list[str], seconds: float) -> dict[str, str]:
    """The phase of each AnalysisRun, once all are over."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        items = json.loads(kubectl(namespace, "get", "analysisruns", "-o", "json"))["items"]
        phases = {i["metadata"]["name"]: (i.get("status") or {}).get("phase", "") for i in items}
        if all(phases.get(n) in ("Successful", "Failed", "Inconclusive", "Error") for n in names):
            return phases
        time.sleep(2)
    raise SystemExit(f"the analyses are not over after {seconds:g} s: does Argo Rollouts' controller run?")


def tried(runs: int) -> Iterator[tuple[Case, dict[str, list[float]]]]:
    for i, case in enumerate(c for c in cases() if any(s in c.name for s in SHOWN)):
        yield case, {f"case{i}-{seed}-step{k}": rates for seed in range(runs) for k, rates in enumerate(recorded(case, seed))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=40, help="rollouts a case")
    parser.add_argument("--namespace", default="sluice-bench-argo", help="made and deleted")
    args = parser.parse_args()
    subprocess.run(["kubectl", "create", "namespace", args.namespace], check=True, capture_output=True)
    print(
        "| rolled back | Argo Rollouts' controller | its rules as played | Sluice | steps on which the first two agree |\n|---|---|---|---|---|"
    )
    try:
        for case, series in tried(args.runs):
            server = Prometheus(series)
            threading.Thread(target=server.serve_forever, daemon=True).start()
            address = f"http://127.0.0.1:{server.server_port}"
            kubectl(args.namespace, "apply", "-f", "-", stdin="\n---\n".join(json.dumps(analysis(n, address)) for n in series))
            phases = decided(args.namespace, list(series), 600)
            kubectl(args.namespace, "delete", "analysisruns", "--all")
            server.shutdown()
            theirs = {n: phases[n] for n in series}
            ours = {n: played(rates) for n, rates in series.items()}
            agree = sum(theirs[n] == ours[n] for n in series)
            back = [{n.rsplit("-", 1)[0] for n, phase in found.items() if phase == "Failed"} for found in (theirs, ours)]
            mine = sum(sluice(case.scenario, seed, case.spec).phase == "RolledBack" for seed in range(args.runs))
            shares = [f"{100 * n / args.runs:.0f} %" for n in (len(back[0]), len(back[1]), mine)]
            print(f"| {case.family}: {case.name} | {' | '.join(shares)} | {agree} of {len(series)} |", flush=True)
    finally:
        kubectl(args.namespace, "delete", "namespace", args.namespace, "--wait=false")


if __name__ == "__main__":
    main()
