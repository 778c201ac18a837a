"""Twenty thousand requests across two rollouts and two killed drivers: ``python -m tests.bench.rollout_live``.

Three real servers behind a real Envoy take a steady load. One process rolls a good candidate out,
then a slower one, which is rolled back from its first step; it is killed (SIGKILL) once in each and
another takes its place. The data plane goes on without it. Prints what the load generator counted,
and how each step's requests were split, in standard deviations from the weight.
"""

from __future__ import annotations

import argparse
import math
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from sluice.core.errors import SluiceError
from sluice.core.processes import wait_until
from sluice.package import package
from sluice.rollouts.drive import Driver
from sluice.rollouts.envoy import Envoy
from sluice.rollouts.load_generator import Load
from sluice.rollouts.local import LocalBackend
from sluice.rollouts.server_process import Model
from sluice.rollouts.spec import RolloutSpec, Shadow
from sluice.rollouts.state import Arm, Replica, State
from sluice.rollouts.store import Store
from tests.integration.rollouts import digits

NAME = "digits"
SERVER = [sys.executable, "-m", "serving.runtime"]
SPEC = RolloutSpec(steps=[10, 50], shadow=Shadow(requests=200), keep_seconds=0, latency_slo_ms=30)


class Held(Model):
    """A server that another process holds."""

    def __init__(self, address: tuple[str, int]):
        super().__init__([], Path(os.devnull), SPEC.latency_slo_ms / 1e3)
        self.address = address
        self._answers = True

    def look(self, *, revive: bool) -> Arm:
        from sluice.rollouts import prometheus_text
        from sluice.rollouts.envoy import get

        if not self.ready():
            return Arm(failure="does not answer")
        counts = prometheus_text.counts(get(self.address, "/metrics")[1].decode(), self.slo_seconds)
        return Arm((Replica(str(self.address[1]), True, counts),), True)

    def stop(self, grace: float = 10.0) -> None:
        """Its holder does that."""


class Splits(threading.Thread):
    """Counts, between the first and the last look at each settled step, which model answered how many."""

    def __init__(self, store: Store, load: Load):
        super().__init__(daemon=True)
        self.store, self.load, self.halt = store, load, threading.Event()
        self.seen: dict[tuple[str, int], list[dict[str, int]]] = {}

    def run(self) -> None:
        while not self.halt.wait(0.1):
            state = self.look()
            counts = dict(self.load.report()["by_arm"])
            if state and state == self.look():
                pair = self.seen.setdefault(state, [counts, counts])
                pair[1] = counts

    def look(self) -> tuple[str, int] | None:
        """(candidate, weight) while a step collects."""
        try:
            state: dict[str, Any] = self.store.load()["state"]
        except SluiceError:
            return None
        return (state["candidate"], state["weight"]) if (state["phase"], state["stage"]) == ("Step", "collect") else None

    def lines(self, names: dict[str, str]) -> list[str]:
        out = []
        for (candidate, weight), (first, last) in self.seen.items():
            n = sum(last.values()) - sum(first.values())
            k = last.get(candidate, 0) - first.get(candidate, 0)
            p = weight / 100
            if n:
                sigmas = (k - n * p) / math.sqrt(n * p * (1 - p))
                out.append(f"{names[candidate]} at {weight} %: {k:,} of {n:,} ({k / n:.2%}), {sigmas:+.2f} standard deviations")
        return out


def drive(home: Path, desired: str, stable: str, addresses: dict[str, int]) -> None:
    """In a process of its own: go on from the stored state, or start."""
    store = Store(home, NAME)
    backend = LocalBackend(home / "plane", NAME, SERVER, {}, SPEC)
    backend.envoy = Envoy(home / "plane" / "envoy").attach()
    backend.models = {d: Held(("127.0.0.1", p)) for d, p in addresses.items()}
    backend.requests = digits.requests(NAME)
    with store.held():
        (store.root / "commands").mkdir(parents=True, exist_ok=True)
        state = State.from_dict(store.load()["state"]) if (store.root / "state.json").exists() else State(stable=stable)
        Driver(SPEC, backend, desired, state, store).run(every=0.25, seconds=300)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rate", type=float, default=300)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--drive", nargs="+", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.drive:
        home, desired, stable, *pairs = args.drive
        drive(Path(home), desired, stable, {p.split("=")[0]: int(p.split("=")[1]) for p in pairs})
        return 0
    with tempfile.TemporaryDirectory(prefix="sluice-live-") as folder:
        home = Path(folder)
        roots = {
            "stable": digits.build(home / "p" / "stable", NAME, 150),
            "good": digits.build(home / "p" / "good", NAME, 1300),
            "slow": digits.build(home / "p" / "slow", NAME, 1300, work=700),
        }
        digest = {n: package.read(r).digest for n, r in roots.items()}
        backend = LocalBackend(home / "plane", NAME, SERVER, {digest[n]: r for n, r in roots.items()}, SPEC, digits.requests(NAME))
        load = None
        try:
            backend.start()
            for d in digest.values():
                backend.launch(d)
            for d in digest.values():
                wait_until(lambda d=d: backend.models[d].look(revive=False).ready, what="a server", seconds=60)  # type: ignore[misc]
            backend.route({digest["stable"]: 100}, None)
            wait_until(lambda: backend.envoy.routed() is not None, what="routes", seconds=10)
            load = Load(("127.0.0.1", backend.envoy.port), digits.requests(NAME), args.rate)
            load.start()
            splits = Splits(Store(home, NAME), load)
            splits.start()
            ends = [
                _rollout(home, backend, digest["good"], digest["stable"], "Step"),
                _rollout(home, backend, digest["slow"], digest["good"], "Shadow"),
            ]
            splits.halt.set()
            splits.join(5)
            while load.report()["sent"] < args.requests:
                time.sleep(0.2)
            load.stop()
            report = load.report()
            names = {d: n for n, d in digest.items()}
            print(f"rollouts ended: {ends}; two drivers killed")
            print(
                f"{report['sent']:,} requests sent, {report['answered']:,} answered, {report['failed']} failed, {report['unsent']} not sent; "
                f"by model { ({names[a]: n for a, n in report['by_arm'].items()}) }; p50 {report['p50_ms']} ms, p99 {report['p99_ms']} ms"
            )
            print("\n".join(splits.lines(names)))
            return 0 if report["failed"] == 0 and ends == ["Succeeded", "RolledBack"] else 1
        finally:
            if load is not None:
                load.stop()
            backend.leave(None)


def _rollout(home: Path, backend: LocalBackend, desired: str, stable: str, kill_in: str) -> str:
    """Roll out; kill the driver once in the given phase; returns the phase it ended in."""
    store = Store(home, NAME)
    addresses = [f"{d}={m.address[1]}" for d, m in backend.models.items()]
    command = [sys.executable, "-m", "tests.bench.rollout_live", "--drive", str(home), desired, stable, *addresses]
    process = subprocess.Popen(command)

    def phase() -> str:
        try:
            state = store.load()["state"]
        except Exception:
            return ""
        return state["phase"] if desired in (state["candidate"], state["stable"], *state["rejected"]) else ""

    wait_until(lambda: phase() == kill_in, what=f"phase {kill_in}", seconds=120, process=process)
    os.kill(process.pid, signal.SIGKILL)
    process.wait(10)
    process = subprocess.Popen(command)
    process.wait(300)
    return phase()


if __name__ == "__main__":
    sys.exit(main())
