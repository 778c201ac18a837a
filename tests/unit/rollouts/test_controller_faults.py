"""The controller, a candidate that does not start, and what a person reads of it: status, `explain`, the step's error, the report."""

from __future__ import annotations

from typing import Any

import pytest

from serving.controller.kube import connect
from serving.controller.rollouts.backends import base
from serving.controller.rollouts.reconcile import IDLE, PERSIST, STILL
from sluice.core.errors import SluiceError
from sluice.rollouts import cluster as cluster_view
from sluice.rollouts import control
from sluice.steps.step import STEPS
from tests.unit.rollouts import test_handover as handover
from tests.unit.rollouts.test_controller import ONE, TWO, Cluster, second
from tests.unit.rollouts.test_faults import NO_CREDENTIALS, TABLE, TRACE, crashed, pod

NO_SECRET = TABLE["no secret"][0]["status"]


def found(c: Any, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What `sluice rollout ... -n` sees."""
    monkeypatch.setattr(cluster_view, "connect", lambda: connect(c.api))
    return cluster_view.status("ns", "m")


def test_a_crash_leaves_its_last_lines_in_the_status_and_in_explain(monkeypatch: pytest.MonkeyPatch) -> None:
    c = Cluster()
    c.api.status[TWO[:12]] = pod(main=crashed(TRACE))["status"]
    second(c)
    status = c.until("RolledBack")
    assert list(status["state"]["rejected"]) == [TWO] and status["log"] == TRACE.strip() and "CrashLoopBackOff" in status["message"]
    ended = next(x for x in status["conditions"] if x["type"] == "Succeeded")
    assert ended["status"] == "False" and ended["message"].endswith(TRACE.strip())
    said = control.explain(found(c, monkeypatch))
    assert "the last lines the candidate wrote" in said and "| Error: model.onnx: is not what the manifest says" in said
    assert c.look() is not None and c.served() == {"m-11111111-predictor": 100}


def test_a_container_that_leaves_no_message_is_asked_for_its_log() -> None:
    c = Cluster()
    c.api.status[TWO[:12]] = pod(main=crashed(""))["status"]
    c.api.logs["m-22222222-pod"] = "loading\nSegmentation fault\n"
    second(c)
    assert c.until("RolledBack")["log"] == "loading\nSegmentation fault"
    assert len([p for _, p in c.api.calls if p.endswith("/log")]) == 1


def test_missing_credentials_are_said_at_once_reject_nothing_and_the_rollout_goes_on_when_they_are_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    c = Cluster()
    c.api.status[TWO[:12]] = pod(init=crashed(NO_CREDENTIALS))["status"]
    second(c, strategy={"readySeconds": 30})
    c.look()
    assert (
        c.status["phase"] == "Pending"
        and "Unable to locate credentials" in c.status["message"]
        and "to mend it: give the predictor's service account" in c.status["message"]
    )
    status = c.until("Failed")
    assert not status["state"]["rejected"] and "botocore" in status["log"] and c.served() == {"m-11111111-predictor": 100}
    assert c.services() == {"m-11111111", "m-22222222"}, "the candidate stays, so that it can be seen when what was missing is there"
    assert c.look() == STILL
    shown = found(c, monkeypatch)
    assert not shown["running"] and control.ended(shown) == 1 and "no fault of its own" in control.explain(shown)
    del c.api.status[TWO[:12]]
    c.look()
    assert c.status["phase"] == "Pending"
    assert c.until("Succeeded")["stable"] == TWO[:12]
    for _ in range(12):
        c.look()
    assert c.look() == IDLE and c.services() == {"m-22222222"}


def test_a_changed_predictor_starts_what_failed_anew() -> None:
    c = Cluster()
    c.api.status[TWO[:12]] = NO_SECRET
    second(c, strategy={"readySeconds": 10})
    c.until("Failed")
    c.apply(TWO, strategy={"readySeconds": 10}, serving={"predictor": {"serviceAccountName": "other"}})
    c.look()
    assert c.status["phase"] == "Pending"
    made = c.api.objects["/apis/serving.kserve.io/v1beta1/namespaces/ns/inferenceservices/m-22222222"]
    assert made["spec"]["predictor"]["serviceAccountName"] == "other"


def test_a_pod_without_a_reason_has_it_from_the_events_and_no_pod_from_the_quotas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "_SILENT", 0.0)
    c = Cluster()
    c.api.status[TWO[:12]] = pod()["status"]
    mount = {
        "type": "Warning",
        "reason": "FailedMount",
        "message": 'MountVolume.SetUp failed for volume "s" : secret "x" not found',
        "involvedObject": {"name": "m-22222222-pod"},
        "lastTimestamp": "2026-01-01T00:00:01Z",
    }
    c.api.events.append(mount)
    second(c)
    c.look()
    assert "a volume cannot be mounted" in c.status["message"] and 'secret "x" not found' in c.status["message"]
    c.api.unmade.add(TWO[:12])
    c.api.events[:] = [
        {**mount, "reason": "FailedCreate", "involvedObject": {"name": f"m-{n}-predictor-7d"}, "message": f"{n} exceeded quota: sluice"}
        for n in ("33333333", "22222222")
    ]
    for _ in range(int(PERSIST) + 2):
        c.look()
    assert "22222222 exceeded quota" in c.status["message"]


def test_a_role_without_the_right_to_read_events_says_less_and_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "_SILENT", 0.0)
    c = Cluster()
    c.api.status[TWO[:12]] = pod()["status"]

    def fault(method: str, path: str) -> None:
        if path.endswith("/events") and method == "GET":
            raise handover.memory.error(403)

    c.api.fault = fault
    second(c, strategy={"readySeconds": 10})
    assert "was not ready after" in c.until("RolledBack")["message"]


def test_first_model_that_fails_takes_its_route_with_it_and_the_next_one_is_a_first_model_again() -> None:
    c = Cluster()
    c.api.behaviour[ONE[:12]] = {"errors": 0.9}
    c.apply(ONE, strategy={"verifySeconds": 120})
    status = c.until("RolledBack")
    assert status["message"].startswith("errors") and status["message"].endswith("nothing serves now: there was no model before it")
    for _ in range(3):
        c.look()
    assert c.look() == IDLE and c.services() == set()
    assert not [p for p in c.api.objects if "httproutes" in p]
    c.apply(TWO)
    begun = c.api.now
    c.look()
    assert c.until("Succeeded")["stable"] == TWO[:12] and c.api.now - begun < 10


def test_the_step_that_handed_over_a_package_that_cannot_start_fails_with_the_reason_and_tries_again() -> None:
    cluster = handover.Cluster()
    cluster.hand_over(ONE)
    cluster.api.status[TWO[:12]] = NO_SECRET
    with pytest.raises(SluiceError) as e:
        cluster.hand_over(TWO, ready_seconds=10)
    assert 'secret "sluice-store" not found' in e.value.message and e.value.fix == "make what it names, or change spec.serving.predictor"
    del cluster.api.status[TWO[:12]]
    assert cluster.hand_over(TWO, ready_seconds=10).outcome == "promoted"


def test_the_last_lines_stand_in_the_report() -> None:
    cluster = handover.Cluster()
    cluster.hand_over(ONE)
    cluster.api.status[TWO[:12]] = pod(main=crashed("<oops>\n"))["status"]
    result = cluster.hand_over(TWO)
    assert result.outcome == "rolled_back" and result.evidence["said"] == "<oops>"
    assert "&lt;oops&gt;" in STEPS.get("rollout")().section(result.evidence)
