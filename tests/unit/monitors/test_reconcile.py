"""The controller of ModelMonitor: what it tells, when it trains again, and that being killed changes nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from serving.controller.monitors.resource import ASKED, monitor, outcome
from sluice.core.errors import SluiceError
from sluice.kube.client import KubeFault
from sluice.monitor.retrain import run_name
from tests.unit.monitors.conftest import BASE, DIGEST, RUN, Died, World
from tests.unit.rollouts.memory_api import error, now_and_then

RETRAIN = {"drift": {"windows": 3}, "run": RUN}
FIRST = run_name("digits", "uid-1", 1)


def test_it_reads_on_and_tells_what_it_saw(world: World) -> None:
    world.put()
    world.log.scores = [0.05, 0.1, 0.4]
    assert world.look() == pytest.approx(0.1)
    assert world.condition("Synced")["reason"] == "Behind"
    assert world.look() == 30.0
    status = world.status
    assert (status["version"], status["rows"], status["windows"], status["drift"], status["feature"]) == (
        DIGEST[:12],
        1500,
        3,
        "0.4",
        "pixel",
    )
    assert status["alarm"] == "window 2 moved" and status["lastAlarm"] == "1970-01-01T00:16:42Z"
    assert world.condition("Drifted")["message"] == "pixel is 0.4 away" and world.condition("Synced")["status"] == "True"
    version = world.api.version
    world.look()
    assert world.api.version == version, "nothing new is nothing written"
    shown = {(x.name, x.labels.get("feature"), x.labels.get("method")): x.value for f in world.gauges.collect() for x in f.samples}
    assert shown["sluice_drift_score", "pixel", "psi"] == 0.4 and shown["sluice_monitor_rows_total", None, None] == 1500
    assert not world.runs(), "without retrain none is made"


def test_drift_that_lasts_makes_one_run_that_is_followed_to_its_end(world: World) -> None:
    world.put(retrain=RETRAIN)
    world.log.scores = [0.4] * 6
    world.look(4)
    run = world.runs()[FIRST]
    assert list(world.runs()) == [FIRST] and run["spec"] == RUN
    assert run["metadata"]["annotations"]["sluice.dev/reason"] == "drift: drift is 0.4, over 0.25, in windows 0 to 2"
    assert world.condition("Retraining")["status"] == "True" and world.status["outcome"] == "running"
    world.end(FIRST, "Succeeded", "Refused", "accuracy 0.71 is below 0.8")
    world.look()
    assert world.status["outcome"] == "refused" and world.status["retrainings"] == {"drift/refused": 1}
    assert world.condition("Retraining")["reason"] == "BacksOff"
    world.log.scores += [0.4] * 4
    # Those windows began before the retraining had ended: they are the old model's.
    world.look(3)
    assert list(world.runs()) == [FIRST]


@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_at_any_call_it_reads_each_window_into_the_verdict_once_and_makes_one_run(world: World, moment: str, tmp_path: Any) -> None:
    for kill in range(60):
        one = World(tmp_path / f"{moment}{kill}")
        one.put(retrain=RETRAIN)
        one.log.scores = [0.1, 0.4, 0.4, 0.4, 0.4]
        calls = 0

        def hook(method: str, path: str, kill: int = kill) -> None:
            nonlocal calls
            calls += 1
            if calls == kill + 1:
                raise Died

        if moment == "before":
            one.api.fault = hook
        else:
            one.api.after = hook
        died = False
        for _ in range(12):
            try:
                one.look()
            except Died:
                died = True
                one.start()
        assert list(one.runs()) == [FIRST], kill
        assert one.status["windows"] == 5 and one.status["made"] == FIRST, kill
        if not died:
            break
    else:
        pytest.fail("more calls than the test kills")
    assert kill > 10


def test_a_thousand_requests_with_an_api_that_fails_and_a_controller_that_dies_make_one_run(world: World) -> None:
    world.put(retrain={**RETRAIN, "alerts": ["SluiceModelDrifted"]})
    world.api.fault = now_and_then(0.15, 7)
    for n in range(1000):
        key = f"{ASKED}{n % 9:016x}"
        world.annotate(key, json.dumps({"by": "alert", "at": 9000.0 + n % 9, "why": "drifted"}))
        try:
            world.look()
        except KubeFault:
            world.now += 1
        if n % 13 == 0:
            world.start()
    assert list(world.runs()) == [FIRST]
    world.api.fault = lambda method, path: None
    world.look(2)
    assert not [k for k in world.get()["metadata"]["annotations"] if k.startswith(ASKED)]
    # Those told again after the end are of before it.
    world.end(FIRST, "Succeeded", "Promoted")
    world.look()
    for n in range(9):
        world.annotate(f"{ASKED}{n:016x}", json.dumps({"by": "alert", "at": 9000.0 + n}))
    world.now += 3 * 86400
    world.look(3)
    assert list(world.runs()) == [FIRST] and world.status["retrainings"] == {"alert/promoted": 1}


def test_by_hand_once_for_each_command(world: World) -> None:
    world.put(retrain={"run": RUN})
    world.annotate("sluice.dev/command", "retrain#1")
    world.look(3)
    assert list(world.runs()) == [FIRST]
    world.end(FIRST, "Failed", "Failed", "no space left")
    world.look(3)
    assert list(world.runs()) == [FIRST] and world.condition("Retraining")["reason"] == "BacksOff"
    world.annotate("sluice.dev/command", "retrain#2")
    world.look(2)
    assert len(world.runs()) == 2, "a person does not wait for the back-off"


def test_a_run_somebody_deletes_is_not_made_again(world: World) -> None:
    world.put(retrain={"run": RUN})
    world.annotate("sluice.dev/command", "retrain#1")
    world.look(2)
    del world.api.objects[f"{BASE}/pipelineruns/{FIRST}"]
    world.look(3)
    assert not world.runs() and world.status["outcome"] == "deleted"


def test_a_store_that_is_away_is_said_and_caught_up_with_and_the_schedule_goes_on(world: World) -> None:
    world.put(retrain={"schedule": "*/10 * * * *", "run": RUN})
    world.log.scores = [0.1] * 2
    world.look()
    world.log.away = True
    waits = [world.look() for _ in range(9)]
    assert waits[0] == 5.0 and waits[-1] == 300.0 and world.condition("Synced")["reason"] == "LogUnreadable"
    assert world.status["rows"] == 1000 and len(world.runs()) == 1, "what was known stays; the tick came"
    world.log.away = False
    world.log.scores += [0.1] * 20
    world.look(11)
    assert world.status["windows"] == 22 and world.condition("Synced")["status"] == "True"
    assert world.log.judged == list(range(22))


def test_the_model_that_serves_is_watched_whichever_it_is(world: World) -> None:
    world.put(package=None, rollout="digits")
    world.look()
    assert "no such ModelRollout" in world.status["message"]
    rollout = {"kind": "ModelRollout", "metadata": {"name": "digits", "namespace": "ns"}, "spec": {}}
    world.api.put(f"{BASE}/modelrollouts/digits", rollout)
    world.look()
    assert world.status["phase"] == "Waiting"
    world.log.scores = [0.1, 0.1]
    for digest in ("1" * 64, "2" * 64):
        rollout["status"] = {"state": {"stable": digest}, "models": {digest: f"s3://m/{digest}"}}
        world.look()
        assert world.status["version"] == digest[:12] and world.status["windows"] == 2
    assert world.log.judged == [0, 1, 0, 1], "another model is another beginning"


def test_what_was_read_is_kept_by_few_objects(world: World) -> None:
    world.put()
    world.log.scores = [0.1] * 30
    world.look(16)
    kept = sorted(p.name for p in (world.folder / "monitors/ns/digits").iterdir())
    assert len(kept) == 3 and kept[-1] == world.status["memory"]


def test_suspended_and_deleted(world: World) -> None:
    world.put(suspend=True)
    assert world.look() is None and world.status["phase"] == "Suspended"
    world.put()
    world.look()
    world.api.remove(f"{BASE}/modelmonitors/digits")
    assert world.controller.reconcile("ns", "digits") is None and not world.api.objects
    world.controller.reconcile("ns", "digits")
    assert not [s for f in world.gauges.collect() for s in f.samples]


def test_whoever_does_not_lead_writes_nothing(world: World) -> None:
    world.put(retrain=RETRAIN)
    world.look()
    world.log.scores, world.leading, version = [0.4] * 4, False, world.api.version
    world.look(3)
    assert world.api.version == version and not world.runs()


def test_a_faster_writer_wins_and_the_look_never_happened(world: World) -> None:
    world.put(retrain=RETRAIN)
    world.log.scores = [0.4] * 2

    def meddle(method: str, path: str) -> None:
        if method == "PUT" and path.endswith("/status"):
            world.api.fault = lambda m, p: None
            raise error(409)

    world.look()
    world.log.scores += [0.4] * 2
    world.api.fault = meddle
    assert world.look() == 2.0 and world.status["windows"] == 2 and not world.runs()
    world.look()
    assert world.status["windows"] == 4 and list(world.runs()) == [FIRST]


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ({"retrain": {"schedule": "0 25 * * *", "run": RUN}}, "spec.retrain.schedule: hour lies between 0 and 23"),
        ({"retrain": {"schedule": "0 2 * * *", "timeZone": "Berlin", "run": RUN}}, "spec.retrain.timeZone: no such time zone"),
        ({"retrain": {"perDay": 900, "run": RUN}}, "spec.retrain.per_day"),
        ({"rollout": "digits"}, "spec.rollout or spec.package"),
        (
            {"retrain": {"run": {"project": {"inline": "x"}, "parameters": {"project": "y"}}}},
            "spec.retrain.run.parameters.project: is given",
        ),
        ({"retrain": {"run": {}}}, "spec.retrain.run: names neither"),
        ({"log": "pvc://models/log"}, "spec.log: is where the controller cannot read"),
        ({"labels": {"log": "gs://b/log"}}, "spec.labels.log: is where the controller cannot read"),
        ({"quality": {"detector": "adwin"}}, "spec.quality.detector: is none that the controller has"),
    ],
)
def test_a_spec_that_makes_no_sense_is_refused_in_the_status(world: World, spec: dict, told: str) -> None:
    world.put(**spec)
    assert world.look() == 60.0
    assert world.status["phase"] == "Refused" and told in world.status["message"]
    assert world.condition("Accepted")["status"] == "False"
    with pytest.raises(SluiceError):
        monitor(world.get())


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({"phase": "Running"}, None),
        ({"phase": "Succeeded", "outcome": "Promoted"}, "promoted"),
        ({"phase": "Succeeded", "outcome": "Completed"}, "completed"),
        ({"phase": "Succeeded", "outcome": "StoppedByGate after evaluate"}, "refused"),
        ({"phase": "Failed", "outcome": "RolledBack"}, "rolled_back"),
        ({"phase": "Failed", "outcome": ""}, "failed"),
        ({"phase": "Terminated", "outcome": "Terminated"}, "terminated"),
    ],
)
def test_what_a_run_came_to(status: dict, expected: str | None) -> None:
    found = outcome(status)
    assert (found[0] if found else None) == expected
