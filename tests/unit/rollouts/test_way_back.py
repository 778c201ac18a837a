"""The way back, without the steps: in the decision, and by the controller against an API server in memory, under load."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

from sluice.audit.log import FolderLog, records
from sluice.core.errors import RolloutError
from sluice.core.home import Home
from sluice.promotion.config import Environment
from sluice.promotion.rollback import Asked, Back, roll_back
from sluice.rollouts.core import decide
from sluice.rollouts.spec import RolloutSpec
from sluice.rollouts.state import Arm, Launch, Observations, Replica, Retire, Route, Routed, State


def _beside(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"way_back_{name}", Path(__file__).with_name(f"{name}.py"))
    assert spec and spec.loader
    made = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = made
    spec.loader.exec_module(made)
    return made


controller = _beside("test_controller")
ONE, TWO, THREE = controller.ONE, controller.TWO, controller.THREE
SPEC = RolloutSpec(ready_seconds=20)
A, B, Z = "a" * 64, "b" * 64, "c" * 64


def seen(time: float, arms: dict[str, Arm], weights: dict[str, int], command: str = "", **more: Any) -> Observations:
    commands = ((f"{command}#1", command),) if command else ()
    return Observations(time, A, arms, Routed(weights), frozenset({A, B}), commands, **more)


READY = Arm((Replica("r"),), ready=True)
SERVES = State(stable=A, previous=B, past=(Z,), phase="Succeeded")


def test_the_one_before_is_started_gets_everything_at_once_and_the_bad_one_is_rejected() -> None:
    state, actions = decide(SPEC, SERVES, seen(1, {"stable": READY}, {A: 100}, f"rollback:{A[:12]}", reason="odd answers (ada)"), 1)
    assert state.candidate == B and state.back and [type(a) for a in actions if isinstance(a, Launch | Route)] == [Launch]
    state, actions = decide(SPEC, state, seen(2, {"stable": READY, "candidate": Arm()}, {A: 100}), 2)
    assert not any(isinstance(a, Route) for a in actions), "nobody is sent to a model that is not ready"
    state, actions = decide(SPEC, state, seen(3, {"stable": READY, "candidate": READY}, {A: 100}), 3)
    assert [a.weights for a in actions if isinstance(a, Route)] == [{B: 100}] and state.phase == "RollingBack"
    assert (state.stable, state.candidate, state.previous, state.past) == (B, A, Z, ())
    state, actions = decide(SPEC, State.from_dict(state.to_dict()), seen(4, {"stable": READY, "candidate": READY}, {B: 100}), 4)
    assert (state.phase, state.rejected, state.reasons) == ("RolledBack", (A,), ("odd answers (ada)",))
    assert [a.digest for a in actions if isinstance(a, Retire)] == [A]
    for time in range(5, 9):  # the spec still names the bad one
        state, actions = decide(SPEC, state, seen(time, {"stable": READY}, {B: 100}), time)
    assert state.phase == "RolledBack" and state.stable == B


@pytest.mark.parametrize(
    ("state", "command", "why"),
    [
        (SERVES, f"rollback:{B[:12]}", "does not serve: aaaaaaaaaaaa does"),
        (State(stable=A, phase="Succeeded"), "rollback", "no model before this one"),
        (State(stable=A, previous=B, rejected=(B,), phase="Succeeded"), "rollback", "no model before this one"),
        (State(stable=A, previous=B, rejected=(Z,), phase="RolledBack"), "rollback", "name the digest"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_the_reason(state: State, command: str, why: str) -> None:
    after, actions = decide(SPEC, state, seen(1, {"stable": READY}, {A: 100}, command), 1)
    assert after.stable == A and after.candidate is None and not [a for a in actions if isinstance(a, Launch | Route)]
    assert why in next(a.message for a in actions if hasattr(a, "message"))


@pytest.mark.parametrize("seconds", [1, 30])
def test_one_that_cannot_be_started_leaves_what_serves_and_rejects_nothing(seconds: int) -> None:
    state, _ = decide(SPEC, SERVES, seen(1, {"stable": READY}, {A: 100}, "rollback"), 1)
    bad = Arm(failure="was killed: out of memory") if seconds == 1 else Arm()
    state, actions = decide(SPEC, state, seen(1 + seconds, {"stable": READY, "candidate": bad}, {A: 100}), 1 + seconds)
    assert (state.phase, state.stable, state.previous, state.rejected, state.back) == ("Failed", A, B, (), "")
    assert "what serves goes on" in state.reasons[0] and not any(isinstance(a, Route) for a in actions)


class Rolled(controller.Cluster):  # type: ignore[misc]
    """A cluster in memory whose controller looks while somebody waits."""

    def served_three(self, keep: int = 600) -> None:
        for digest in (ONE, TWO, THREE):
            self.apply(digest, strategy={"keepSeconds": keep, "shadow": {"requests": 0}})
            self.look()
            self.until("Succeeded")
            for _ in range(3):
                self.look()

    def back(self, tmp_path: Path, **more: Any) -> Back:
        home, log = Home(tmp_path / "home").create(), FolderLog(tmp_path / "audit", tmp_path / "head.json")
        rules = Environment(namespace="ns", rollout="m")
        kube = Watched(self)
        return roll_back(Asked("m", "production", rules, "odd answers", **more), home, None, log, kube=kube)  # type: ignore[arg-type]


class Watched:
    """The cluster's objects; each read lets the controller look once."""

    def __init__(self, cluster: Rolled):
        self.cluster, self.kube = cluster, controller.connect(cluster.api)

    def get(self, *what: Any) -> Any:
        self.cluster.look()
        return self.kube.get(*what)

    def merge(self, *what: Any, **more: Any) -> Any:
        return self.kube.merge(*what, **more)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(controller.kube_module, "_PAUSES", (0.0, 0.0))
    monkeypatch.setattr("sluice.promotion.rollback._EVERY", 0.0)
    monkeypatch.setenv("SLUICE_USER", "ada")


@pytest.mark.parametrize("keep", [600, 0])
def test_the_controller_puts_the_one_before_back_with_no_step_between(tmp_path: Path, keep: int) -> None:
    c = Rolled()
    c.served_three(keep)
    assert c.served() == {"m-33333333-predictor": 100} and ("m-22222222" in c.services()) == (keep > 0)
    c.api.weights.clear()
    began = c.api.now
    done = c.back(tmp_path)
    assert (done.outcome, done.gone, done.serves, done.previous) == ("rolled back", THREE, TWO, ONE)
    assert c.api.now - began < 10, "seconds of the cluster's clock"
    assert c.served() == {"m-22222222-predictor": 100}
    assert all(set(w.values()) <= {0, 100} for w in c.api.weights), "all or nothing, never a part"
    status = c.until("RolledBack")
    assert "odd answers (ada)" in status["message"] and status["previous"] == ONE[:12]
    assert list(status["state"]["rejected"]) == [THREE] and set(status["models"]) >= {ONE, TWO}
    kept = records(FolderLog(tmp_path / "audit", tmp_path / "head.json"))
    assert [(r.entry.kind, r.entry.digest, r.entry.reason, r.entry.user) for r in kept] == [("rollback", THREE, "odd answers", "ada")]
    for _ in range(5):
        c.look()
    assert c.services() == ({"m-22222222", "m-11111111"} if keep else {"m-22222222"})


def test_a_second_asking_says_what_it_would_do_and_again_goes_on(tmp_path: Path) -> None:
    c = Rolled()
    c.served_three()
    c.back(tmp_path)
    second = c.back(tmp_path)
    assert second.outcome == "refused" and f"--again would put {ONE[:12]} there" in second.reasons[0] and second.exit_code == 3
    assert c.served() == {"m-22222222-predictor": 100}
    third = c.back(tmp_path, again=True)
    assert (third.outcome, third.serves) == ("rolled back", ONE) and c.served() == {"m-11111111-predictor": 100}
    with pytest.raises(RolloutError, match="no model before it"):
        c.back(tmp_path, again=True)


def test_two_who_ask_at_once_take_one_model_back(tmp_path: Path) -> None:
    c = Rolled()
    c.served_three()
    kube = controller.connect(c.api)
    for i in range(2):  # both saw the third serve
        kube.merge("ModelRollout", "ns", "m", {"metadata": {"annotations": {"sluice.dev/command": f"rollback:{THREE[:12]}#{i}"}}})
        for _ in range(6):
            c.look()
    assert c.served() == {"m-22222222-predictor": 100}
    assert any("rollback: refused, 333333333333 does not serve" in h["message"] for h in c.status["history"])


def test_a_rollout_on_its_way_is_taken_back_to_the_stable_model(tmp_path: Path) -> None:
    c = Rolled()
    controller.second(c)
    c.until("Step")
    done = c.back(tmp_path)
    assert (done.outcome, done.gone, done.serves) == ("rolled back", TWO, ONE) and c.served() == {"m-11111111-predictor": 100}
    c.apply(THREE)
    assert c.until("Succeeded")["stable"] == THREE[:12], "a newer digest starts as ever"


def test_a_controller_that_dies_on_the_way_back_goes_on_with_it(tmp_path: Path) -> None:
    c = Rolled()
    c.served_three(0)
    kube = controller.connect(c.api)
    kube.merge("ModelRollout", "ns", "m", {"metadata": {"annotations": {"sluice.dev/command": f"rollback:{THREE[:12]}#1"}}})
    for _ in range(12):
        c.look()
        c.replace_controller()
    assert c.status["phase"] == "RolledBack" and c.served() == {"m-22222222-predictor": 100}


def test_the_old_digest_in_the_spec_is_a_rollout_like_any_other() -> None:
    """A promotion of an old model: it has to prove itself against the one that serves. The way back in a hurry is the command."""
    c = Rolled()
    c.served_three()
    c.api.weights.clear()
    c.apply(TWO, strategy={"keepSeconds": 600, "shadow": {"requests": 0}})
    c.look()
    c.until("Succeeded")
    assert {20, 50} <= {w.get("m-22222222-predictor", 0) for w in c.api.weights}
