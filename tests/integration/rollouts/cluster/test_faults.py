"""A controller whose API server, Prometheus or node fails it, or that is killed at every write."""

from __future__ import annotations

import importlib.util
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sluice.core.processes import die_with_parent
from sluice.rollouts.load_generator import Load

_spec = importlib.util.spec_from_file_location("rollout_cluster", Path(__file__).with_name("conftest.py"))
assert _spec and _spec.loader
helpers = sys.modules.setdefault("rollout_cluster", importlib.util.module_from_spec(_spec))
if not hasattr(helpers, "manifest"):
    _spec.loader.exec_module(helpers)
manifest, digest, NAMESPACE, kubectl = helpers.manifest, helpers.digest, helpers.NAMESPACE, helpers.kubectl
wait_until = helpers.wait_until

_flaky = importlib.util.spec_from_file_location("rollout_flaky_api", Path(__file__).with_name("flaky_api.py"))
assert _flaky and _flaky.loader
flaky_module = importlib.util.module_from_spec(_flaky)
_flaky.loader.exec_module(flaky_module)


@pytest.fixture
def flaky(tmp_path: Path) -> Iterator[Any]:
    one = flaky_module.FlakyApi(tmp_path)
    yield one
    one.stop()


def sequences(status: dict[str, Any]) -> list[int]:
    return [h["sequence"] for h in status["history"]]


def test_api_server_that_refuses_conflicts_and_is_gone_for_a_minute_only_delays(
    cluster: Any, flaky: Any, api: Any, named: str, load: Callable[..., Load], tmp_path: Path
):
    dice, gone = random.Random(5), [False]

    def fault(method: str, path: str) -> int | None:
        if gone[0]:
            return 0
        return dice.choice([409, 410, 429, 500, 503, 0]) if dice.random() < 0.2 else None

    operator = helpers.Operator(tmp_path / "operator.log", kubeconfig=flaky.kubeconfig).start()
    try:
        api.apply(manifest(named, "one"))
        api.until(named, "Succeeded", version="one")
        traffic = load(named, 60)
        wait_until(lambda: traffic.report()["by_arm"].get(digest("one")[:12], 0) > 20, what="traffic", seconds=60)
        before = traffic.report()["failed"]
        flaky.fault = fault
        api.apply(manifest(named, "two", strategy={"stepDeadlineSeconds": 300}))
        api.until(named, "Step")
        held = api.status(named)["weight"]
        gone[0] = True
        flaky.hang_up()
        time.sleep(60)
        assert api.status(named)["weight"] in (0, held)
        gone[0] = False
        status = api.until(named, "Succeeded", version="two", seconds=400)
        assert status["stable"] == digest("two")[:12]
        numbers = sequences(status)
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        assert {409, 410, 429, 500, 503, 0} <= set(flaky.answered)
        traffic.stop()
        assert traffic.report()["failed"] == before, traffic.report()
        log = operator.log.read_text()
        assert "the look failed" not in log, log[-4000:]
        print(
            f"\nfaults answered: {dict(flaky.answered)}; {traffic.report()['sent']:,} requests, {traffic.report()['failed'] - before} failed"
        )
    finally:
        operator.stop()


class Lives:
    """Controllers one after the other, each a process forked from one that has imported everything already."""

    CODE = """
import os, sys
from serving.controller.__main__ import main
from sluice.core.processes import die_with_parent
for _ in sys.stdin:
    child = os.fork()
    if child == 0:
        die_with_parent()
        os._exit(main(sys.argv[1:]))
    print(child, flush=True)
    os.waitpid(child, 0)
    print("ended", flush=True)
"""

    def __init__(self, log: Path, kubeconfig: Path):
        command = [sys.executable, "-c", self.CODE, "--namespace", NAMESPACE, "--scrape", "proxy", "--metrics-port", "0", "--lease", ""]
        with log.open("ab") as out:
            self.parent = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=out,
                text=True,
                cwd=helpers.ROOT,
                env={**os.environ, "KUBECONFIG": str(kubeconfig)},
                preexec_fn=die_with_parent,
            )
        self.pid = self.writes = 0

    def begin(self) -> None:
        assert self.parent.stdin and self.parent.stdout
        self.writes = 0
        self.parent.stdin.write("\n")
        self.parent.stdin.flush()
        self.pid = int(self.parent.stdout.readline())

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        self.pid = 0

    def bury(self) -> None:
        assert self.parent.stdout
        assert self.parent.stdout.readline() == "ended\n"

    def stop(self) -> None:
        self.parent.kill()
        self.parent.wait(10)


def test_controller_killed_at_every_write_promotes_once_and_fails_no_request(
    cluster: Any, flaky: Any, api: Any, named: str, load: Callable[..., Load], tmp_path: Path
):
    """Each life of the controller dies at its first, second, third or fourth write in turn: just after it was made, or just before."""
    lives = Lives(tmp_path / "operator.log", flaky.kubeconfig)
    lives.begin()
    kills: list[str] = []
    armed = [False]

    def strike(method: str, path: str, before: bool) -> bool:
        if lives.pid == 0:
            return True
        if not armed[0] or method == "GET":
            return False
        lives.writes += before
        if lives.writes != len(kills) % 4 + 1 or before != (len(kills) // 4 % 2 == 1):
            return False
        lives.kill()
        kills.append(f"{'before' if before else 'after'} {method} {path.partition('?')[0].rsplit('/', 2)[-2]}")
        return True

    flaky.strike = strike
    try:
        api.apply(manifest(named, "one"))
        api.until(named, "Succeeded", version="one")
        traffic = load(named, 60)
        wait_until(lambda: traffic.report()["by_arm"].get(digest("one")[:12], 0) > 20, what="traffic", seconds=60)
        failed = traffic.report()["failed"]
        armed[0] = True
        # Deadlines leave room for many lives.
        api.apply(manifest(named, "two", strategy={"readySeconds": 900, "stepDeadlineSeconds": 900}))
        end = time.monotonic() + 600
        while not (api.phase(named) == "Succeeded" and api.status(named)["stable"] == digest("two")[:12]):
            assert time.monotonic() < end and api.phase(named) != "RolledBack", (api.status(named).get("message"), kills)
            if lives.pid == 0:
                lives.bury()
                lives.begin()
            time.sleep(0.05)
        armed[0] = False
        status = api.status(named)
        traffic.stop()
        report = traffic.report()
        assert report["failed"] == failed, report
        said = [h["message"] for h in status["history"]]
        assert len([m for m in said if m.startswith("step 1 of 2:")]) == 1
        assert len([m for m in said if "the last step passed" in m]) == 1
        numbers = sequences(status)
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        assert len(kills) > 15
        print(
            f"\n{len(kills)} kills, {len(set(kills))} kinds: {sorted(set(kills))}; {report['sent']:,} requests, {report['failed'] - failed} failed"
        )
    finally:
        lives.stop()


def test_prometheus_that_is_gone_mid_canary_promotes_nothing_and_says_so(
    operator: Any, api: Any, named: str, load: Callable[..., Load], prometheus: str
):
    address = {"prometheus": {"url": prometheus}}
    api.apply(manifest(named, "one", analysis=address))
    api.until(named, "Succeeded", version="one")
    traffic = load(named, 60)
    wait_until(lambda: helpers.scraped(prometheus, digest("one")), what="the first scrape", seconds=180, every=2)
    failed = traffic.report()["failed"]
    slow = {"strategy": {"minimumRequests": 100000, "stepDeadlineSeconds": 60}}
    api.apply(manifest(named, "two", analysis=address, **slow))
    api.until(named, "Step")
    wait_until(
        lambda: api.status(named)["state"]["window"].get("candidate", {}).get("requests", 0) > 20, what="counts from Prometheus", seconds=60
    )
    api.apply(manifest(named, "two", analysis={"prometheus": {"url": "http://127.0.0.1:9"}}, **slow))
    wait_until(lambda: "cannot be measured" in api.status(named)["message"], what="the reason", seconds=30)
    status = api.until(named, "RolledBack")
    assert "could not be measured" in status["message"] and "Prometheus" in status["message"]
    api.apply(manifest(named, "three", analysis=address))
    assert api.until(named, "Succeeded", version="three", seconds=240)["stable"] == digest("three")[:12]
    traffic.stop()
    assert traffic.report()["failed"] == failed, traffic.report()


def test_candidate_that_stops_being_ready_under_traffic_is_rolled_back(operator: Any, api: Any, named: str, load: Callable[..., Load]):
    api.apply(manifest(named, "one"))
    api.until(named, "Succeeded", version="one")
    traffic = load(named, 60)
    api.apply(manifest(named, "tired", "tired=700", strategy={"minimumRequests": 100000, "unreadySeconds": 2}))
    status = api.until(named, "RolledBack")
    assert "not been ready" in status["message"], status["message"]
    traffic.stop()
    print(f"\n{traffic.report()['failed']} of {traffic.report()['sent']:,} requests failed: {traffic.report()['reasons']}")


def test_canary_on_a_node_under_load_fails_no_request(operator: Any, api: Any, named: str, load: Callable[..., Load]):
    api.apply(manifest(named, "one"))
    api.until(named, "Succeeded", version="one")
    busy = "import os\nfor _ in range(2 * os.cpu_count() - 1):\n    if os.fork() == 0: break\nwhile True: pass"
    container = {
        "name": "busy",
        "image": helpers.IMAGE,
        "imagePullPolicy": "Never",
        "command": ["python", "-c", busy],
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "128Mi"}},
        "securityContext": helpers.SECURE,
    }
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "busy", "namespace": NAMESPACE},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 0},
    }
    kubectl("apply", "-f", "-", stdin=json.dumps(pod))
    try:
        kubectl("wait", "-n", NAMESPACE, "--for=condition=Ready", "pod/busy", "--timeout=60s")
        traffic = load(named, 40)
        wait_until(lambda: traffic.report()["by_arm"].get(digest("one")[:12], 0) > 20, what="traffic", seconds=60)
        failed = traffic.report()["failed"]
        api.apply(manifest(named, "two"))
        assert api.until(named, "Succeeded", version="two", seconds=400)["stable"] == digest("two")[:12]
        traffic.stop()
        assert traffic.report()["failed"] == failed, traffic.report()
    finally:
        kubectl("delete", "pod", "-n", NAMESPACE, "busy", "--wait=false")
