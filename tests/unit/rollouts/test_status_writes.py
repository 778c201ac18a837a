"""A status is written when there is something new to see in it; what is not written yet is not lost with the controller."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from serving.controller.rollouts.reconcile import PERSIST
from tests.unit.rollouts import test_controller as helpers

ONE, TWO, PATH, Cluster = helpers.ONE, helpers.TWO, helpers.PATH, helpers.Cluster
CRD = Path(__file__).parents[3] / "manifests/crds/modelrollout.yaml"


def columns() -> list[str]:
    """What `kubectl get mr -w` prints, but for the age: paths within the object."""
    found = yaml.safe_load(CRD.read_text())["spec"]["versions"][0]["additionalPrinterColumns"]
    return [c["jsonPath"] for c in found if not c.get("priority") and c["type"] != "date"]


def line(obj: dict[str, Any]) -> tuple[Any, ...]:
    out = []
    for path in columns():
        value: Any = obj
        for part in path.strip(".").split("."):
            value = (value or {}).get(part)
        out.append(value)
    return tuple(out)


class Watched(Cluster):
    """Notes the line that each write of the status prints, and the time; `kill(look)` says after which looks the controller dies."""

    def __init__(self, seed: int = 1, kill: Callable[[int], bool] = lambda look: False):
        super().__init__(seed)
        self.lines: list[tuple[float, tuple[Any, ...]]] = []
        self.looks, self.kill = 0, kill
        self.api.after = self.note

    def note(self, method: str, path: str) -> None:
        if method == "PUT" and path == PATH + "/status":
            self.lines.append((self.api.now, line(self.api.objects[PATH])))

    def look(self) -> float | None:
        self.looks += 1
        found = super().look()
        if self.kill(self.looks):
            self.replace_controller()
        return found


def canary(seed: int = 1, kill: Callable[[int], bool] = lambda look: False, *, rate: float = 60.0, errors: float = 0.0) -> Watched:
    """A rollout of a second model through shadow, 20 and 50 %, at a look a second; as it is when it ended."""
    c = Watched(seed, kill)
    c.api.rate = rate
    c.api.behaviour[TWO[:12]] = {"errors": errors}
    helpers.second(c, strategy={"minimumRequests": 600, "stepDeadlineSeconds": 3000, "warmupSeconds": 8, "verifySeconds": 40})
    c.until("Succeeded", "RolledBack", looks=3000)
    for _ in range(10):
        c.look()
    return c


@pytest.fixture(scope="module")
def whole() -> Watched:
    return canary()


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(helpers.kube_module, "_PAUSES", (0.0, 0.0))


def test_every_line_of_a_watch_shows_a_change(whole: Watched):
    lines = [text for _, text in whole.lines]
    assert whole.status["stable"] == TWO[:12]
    same = [a for a, b in zip(lines, lines[1:], strict=False) if a == b]
    assert not same, same
    assert whole.looks > 100 and len(lines) < 30, (whole.looks, len(lines))


def test_what_is_measured_is_at_most_half_a_minute_old(whole: Watched):
    at = [t for t, text in whole.lines if text[0] == "Step"]
    assert max(b - a for a, b in zip(at, at[1:], strict=False)) <= PERSIST + 1
    shown = [text[4] for _, text in whole.lines if text[0] == "Step" and text[2] == "collect"]
    assert len({*shown}) >= 3 and all(s.endswith("/600") for s in shown)


@pytest.mark.parametrize("share", [0.3, 1.0])
def test_a_killed_controller_counts_every_request_once_and_comes_to_the_same_end(whole: Watched, share: float):
    """A life ends after one look in three, or after each."""
    dice = random.Random(3)
    c = canary(kill=lambda look: dice.random() < share)
    assert (c.status["phase"], c.status["stable"]) == ("Succeeded", TWO[:12])
    # Traffic is the same, look by look: only which block a request is counted in may differ, and so by a few looks when a step ends.
    assert abs(c.looks - whole.looks) <= 0.05 * whole.looks, (c.looks, whole.looks)


def test_requests_of_a_step_are_those_the_pods_counted_since_it_began():
    """Over many lives, the window holds what the counters say, no request twice and none left out."""
    dice = random.Random(5)
    c = Watched(2, lambda look: dice.random() < 0.3)
    c.api.rate = 30.0
    helpers.second(c, strategy={"minimumRequests": 10**6, "stepDeadlineSeconds": 10**5})
    while not (c.status["phase"] == "Step" and c.status["stage"] == "collect"):
        c.look()
    pods = {arm: f"m-{d[:8]}-pod" for arm, d in (("stable", ONE), ("candidate", TWO))}
    # At the write that opened the window the cursor stands at what the pods showed at that look.
    begun = {arm: c.status["state"]["cursor"][arm][f"{pod}/0"]["requests"] for arm, pod in pods.items()}
    for _ in range(int(1.5 * PERSIST)):
        c.look()
    state = c.status["state"]
    for arm, pod in pods.items():
        stored = state["cursor"][arm][f"{pod}/0"]["requests"]
        assert state["window"][arm]["requests"] == stored - begun[arm] > 100
        assert 0 <= c.api.counts[pod]["requests"] - stored <= 1.5 * c.api.rate * PERSIST


def test_a_bad_candidate_is_rolled_back_as_soon_by_controllers_that_die_after_every_look():
    through = canary(4, errors=0.08)
    killed = canary(4, lambda look: True, errors=0.08)
    assert through.status["phase"] == killed.status["phase"] == "RolledBack"
    assert killed.looks <= through.looks + 5, (killed.looks, through.looks)


def test_what_another_controller_stored_since_counts_more_than_what_this_one_kept():
    c = Cluster()
    c.api.rate = 30.0
    helpers.second(c, strategy={"minimumRequests": 10**6, "stepDeadlineSeconds": 10**6})
    c.until("Step")
    for _ in range(5):
        c.look()
    mine = c.controller
    c.replace_controller()
    c.look()  # its first look stores what it counted
    stored = c.status["state"]["last_time"]
    c.controller = mine
    rollout = helpers.resource.read(c.api.objects[PATH])
    assert mine._latest(rollout) == (rollout.state, False) and rollout.state.last_time == stored


def test_a_route_that_cannot_be_read_for_a_moment_shows_the_weight_of_before():
    c = Watched()
    helpers.second(c, strategy={"minimumRequests": 10**6, "stepDeadlineSeconds": 10**6})
    c.until("Step")
    for _ in range(4):
        c.look()
    assert c.status["weight"] == 20

    def gone(method: str, path: str) -> None:
        if method == "GET" and "/httproutes/" in path:
            raise helpers.memory.error(503)

    c.api.fault = gone
    for _ in range(3):
        c.look()
    assert {text[3] for _, text in c.lines[-1:]} == {20}
    c.api.fault = lambda method, path: None
    for _ in range(4):
        c.look()
    assert {text[3] for t, text in c.lines if t > c.api.now - 7} == {20}


def test_evidence_that_stops_and_comes_again_is_told_at_once():
    c = Watched()
    helpers.second(c, strategy={"minimumRequests": 10**6, "stepDeadlineSeconds": 10**6})
    c.until("Step")
    for _ in range(4):
        c.look()

    def silent(method: str, path: str) -> None:
        if path.endswith("proxy/metrics"):
            raise helpers.memory.error(503)

    c.api.fault = silent
    c.look()
    assert c.status["message"].startswith("cannot be measured")
    written = len(c.lines)
    for _ in range(5):
        c.look()
    assert len(c.lines) == written
    c.api.fault = lambda method, path: None
    c.look()
    assert not c.status["message"].startswith("cannot be measured")
