"""PipelineSchedules from the resource to recurring runs and back, with the process killed and answers lost at every write."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.integration.schedules.pipelines_server import form_of

HOUR = 3600.0
KIND = "PipelineSchedule"
SPEC: dict[str, Any] = {"schedule": "0 2 * * *", "timeZone": "UTC", "pipeline": {"name": "digits"}, "parameters": {"epochs": 3}}


class Killed(BaseException):
    """The process is gone."""


@pytest.fixture
def made(world: Any) -> Any:
    world.state.add_pipeline("digits", "v1", "v2")
    world.put(KIND, SPEC)
    return world


def the_one(world: Any) -> dict[str, Any]:
    assert len(world.state.recurring) == 1, list(world.state.recurring.values())
    return next(iter(world.state.recurring.values()))


def test_a_schedule_becomes_one_enabled_recurring_run(made: Any) -> None:
    made.settle(KIND)
    r = the_one(made)
    assert (
        r["status"] == "ENABLED"
        and r["trigger"]["cron_schedule"]["cron"] == "0 0 2 * * *"
        and r["max_concurrency"] == "1"
        and r["no_catchup"] is True
    )
    assert r["runtime_config"]["parameters"] == {"epochs": 3} and r["display_name"].startswith("nightly/ns ")
    status = made.status(KIND)
    assert status["phase"] == "Active" and status["nextTime"] == "2027-01-15T02:00:00Z" and status["recurringRun"] == r["recurring_run_id"]
    assert status["url"] == f"http://ui.example.com/#/recurringrun/details/{r['recurring_run_id']}"
    assert made.condition(KIND, "Synced")["status"] == made.condition(KIND, "Accepted")["status"] == "True"


def test_nothing_is_written_when_nothing_changed(made: Any) -> None:
    made.settle(KIND)
    version, calls = made.api.version, len(made.state.calls)
    for _ in range(3):
        made.look(KIND)
    assert made.api.version == version and {m for m, _ in made.state.calls[calls:]} == {"GET"}


def test_its_runs_are_in_the_status(made: Any) -> None:
    made.settle(KIND)
    made.state.pass_to(made.state.now + 2 * HOUR + 60)
    made.look(KIND)
    status = made.status(KIND)
    assert status["active"] == 1 and status["lastState"] == "Running" and len(status["runs"]) == 1
    made.state.end(next(iter(made.state.runs.values())), "SUCCEEDED")
    made.look(KIND)
    assert made.status(KIND)["active"] == 0 and made.status(KIND)["lastState"] == "Succeeded"


def test_a_change_hands_over_and_the_old_goes_when_its_run_has_ended(made: Any) -> None:
    made.settle(KIND)
    old = the_one(made)["recurring_run_id"]
    made.state.pass_to(made.state.now + 2 * HOUR + 60)
    made.put(KIND, {**SPEC, "schedule": "30 4 * * *", "parameters": {"epochs": 9}})
    made.settle(KIND)
    assert len(made.state.recurring) == 2 and made.state.recurring[old]["status"] == "DISABLED"
    assert "when their runs have ended" in made.status(KIND)["message"]
    made.state.end(next(iter(made.state.runs.values())), "SUCCEEDED")
    made.settle(KIND)
    assert the_one(made)["runtime_config"]["parameters"] == {"epochs": 9} and old not in made.state.recurring
    made.state.pass_to(made.state.now + 26 * HOUR)
    assert [r["_tick"] % 86400 / HOUR for r in made.state.runs.values()] == [2.0, 4.5, 4.5][: len(made.state.runs)]


def test_a_recurring_run_of_another_hand_in_the_experiment_is_left_alone(made: Any) -> None:
    made.settle(KIND)
    mine = the_one(made)
    made.state.recurring["theirs"] = {**mine, "recurring_run_id": "theirs", "display_name": "somebody's", "_base": made.state.now}
    made.put(KIND, {**SPEC, "schedule": "0 3 * * *"})
    made.settle(KIND)
    assert len(made.state.recurring) == 2 and made.state.recurring["theirs"]["status"] == "ENABLED"


def test_what_someone_did_in_the_dashboard_is_undone(made: Any) -> None:
    made.settle(KIND)
    first = the_one(made)
    first["status"] = "DISABLED"
    made.settle(KIND)
    assert the_one(made)["status"] == "ENABLED"
    made.state.recurring.clear()
    made.settle(KIND)
    assert the_one(made)["status"] == "ENABLED"


def test_suspending_starts_nothing_and_resuming_runs_nothing_that_was_missed(made: Any) -> None:
    made.settle(KIND)
    made.put(KIND, {**SPEC, "suspend": True})
    made.settle(KIND)
    assert made.status(KIND)["phase"] == "Suspended" and "nextTime" not in made.status(KIND)
    made.state.pass_to(made.state.now + 50 * HOUR)
    made.put(KIND, SPEC)
    made.settle(KIND)
    assert made.state.runs == {} and the_one(made)["status"] == "ENABLED" and made.status(KIND)["phase"] == "Active"
    made.state.pass_to(made.state.now + 24 * HOUR)
    assert len(made.state.runs) == 1


def test_catching_up_runs_what_was_missed(made: Any) -> None:
    made.put(KIND, {**SPEC, "catchUp": True, "concurrencyPolicy": "Allow"})
    made.settle(KIND)
    made.put(KIND, {**SPEC, "catchUp": True, "concurrencyPolicy": "Allow", "suspend": True})
    made.settle(KIND)
    made.state.pass_to(made.state.now + 50 * HOUR)
    made.put(KIND, {**SPEC, "catchUp": True, "concurrencyPolicy": "Allow"})
    made.settle(KIND)
    assert sorted(r["_tick"] % 86400 for r in made.state.runs.values()) == [2 * HOUR] * 3


def test_replace_ends_the_run_before(made: Any) -> None:
    made.put(KIND, {**SPEC, "concurrencyPolicy": "Replace"})
    made.settle(KIND)
    made.state.pass_to(made.state.now + 27 * HOUR)
    made.settle(KIND)
    assert [r["state"] for r in sorted(made.state.runs.values(), key=lambda r: r["created_at"])] == ["FAILED", "RUNNING"]


@pytest.mark.parametrize("excess", ["Archive", "Delete"])
def test_history_keeps_as_many_as_it_should(made: Any, excess: str) -> None:
    made.put(KIND, {**SPEC, "schedule": "0 * * * *", "history": {"succeeded": 2, "failed": 1, "excess": excess}})
    made.settle(KIND)
    for n in range(9):
        made.state.pass_to(made.state.now + HOUR)
        for r in made.state.runs.values():
            if r["state"] == "RUNNING":
                made.state.end(r, "FAILED" if n % 3 == 0 else "SUCCEEDED")
    made.settle(KIND)
    left = [r for r in made.state.runs.values() if r["storage_state"] == "AVAILABLE"]
    assert sorted(r["state"] for r in left) == ["FAILED", "SUCCEEDED", "SUCCEEDED"]
    assert len(made.state.runs) == (9 if excess == "Archive" else 3)


def test_a_project_in_a_config_map_names_the_pipeline_and_its_change_is_a_new_recurring_run(made: Any) -> None:
    where = "/api/v1/namespaces/ns/configmaps/projects"
    text = "name: digits\ntask: image\ndata: {source: 'sklearn://digits'}\nmodel: {channels: 1, size: [8, 8]}\n"
    made.put(KIND, {"schedule": "0 2 * * *", "project": {"configMapKeyRef": {"name": "projects", "key": "digits.yaml"}}})
    made.look(KIND)
    assert made.status(KIND)["phase"] == "Refused" and "there is no such ConfigMap" in made.status(KIND)["message"]
    made.api.put(where, {"kind": "ConfigMap", "metadata": {"name": "projects", "namespace": "ns"}, "data": {"digits.yaml": text}})
    made.settle(KIND)
    assert the_one(made)["runtime_config"]["parameters"] == {"project": text}
    first = the_one(made)["recurring_run_id"]
    made.api.objects[where]["data"]["digits.yaml"] = text + "train: {epochs: 4}\n"
    made.settle(KIND)
    assert the_one(made)["recurring_run_id"] != first and "epochs: 4" in the_one(made)["runtime_config"]["parameters"]["project"]
    # a wrong one is refused in words, and the last good one goes on
    made.api.objects[where]["data"]["digits.yaml"] = text + "train: {epoch: 4}\n"
    made.look(KIND)
    assert "epochs" in made.condition(KIND, "Accepted")["message"] and made.condition(KIND, "Accepted")["status"] == "False"
    assert the_one(made)["status"] == "ENABLED"


def test_what_a_form_is_filled_in_with_goes_with_the_version_that_asked_for_it(world: Any) -> None:
    raw = {"name": "form", "task": "image", "data": {"source": "sklearn://digits"}, "train": {"epochs": 20}}
    key = world.state.add_pipeline("form", form=form_of(raw))
    world.put(KIND, {"schedule": "0 2 * * *", "pipeline": {"name": "form"}, "parameters": {"rollout_steps": [5]}})
    world.settle(KIND)
    first = the_one(world)
    assert first["runtime_config"]["parameters"] == {k: v["defaultValue"] for k, v in form_of(raw).items()} | {"rollout_steps": [5]}
    assert first["pipeline_version_reference"]["pipeline_version_id"] in world.state.versions
    # a newer version has other settings of its own, which none of the old one's may overrule
    world.state.add_version(key, "v2", 50, form_of({**raw, "train": {"epochs": 40}}))
    world.settle(KIND)
    again = the_one(world)
    assert again["pipeline_version_reference"] != first["pipeline_version_reference"]
    assert again["runtime_config"]["parameters"]["train_epochs"] == 40 and again["runtime_config"]["parameters"]["rollout_steps"] == [5]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schedule": "0 25 * * *"}, "hour lies between 0 and 23"),
        ({"timeZone": "Mars/Olympus"}, "no such time zone"),
        ({"schedule": "0 0 1 * *", "timeZone": "Asia/Tokyo"}, "falls on another day"),
        ({"project": {"inline": "name: x"}, "parameters": {"project": "y"}}, "given by spec.project already"),
        ({"project": {"inline": "- a"}}, "a project file is a mapping"),
    ],
)
def test_a_spec_that_makes_no_sense_is_refused_in_words_and_mended_by_a_change(made: Any, change: dict[str, Any], said: str) -> None:
    made.put(KIND, {**SPEC, **change})
    made.look(KIND)
    assert said in made.status(KIND)["message"] and made.status(KIND)["phase"] == "Refused" and made.state.recurring == {}
    made.put(KIND, SPEC)
    made.settle(KIND)
    assert the_one(made)["status"] == "ENABLED" and made.condition(KIND, "Accepted")["status"] == "True"


@pytest.mark.parametrize(
    ("status", "reason"),
    [(0, "PipelinesUnreachable"), (401, "PipelinesUnauthorized"), (404, "NotFound"), (409, "Conflict"), (500, "PipelinesBroken")],
)
def test_a_fault_of_kubeflow_pipelines_is_said_and_waited_out(made: Any, status: int, reason: str) -> None:
    made.settle(KIND)
    before = the_one(made)["recurring_run_id"]
    made.state.fault = lambda method, path: "drop" if status == 0 else (status, b'{"message": "so it is"}')
    pauses = [made.look(KIND) for _ in range(8)]
    assert pauses[:3] == [5.0, 10.0, 20.0] and pauses[-1] == 300.0
    synced = made.condition(KIND, "Synced")
    assert (synced["status"], synced["reason"]) == ("False", reason) and (
        status == 0 or ("digits" if status == 404 else "so it is") in synced["message"]
    )
    assert made.status(KIND)["phase"] == "Active"
    made.state.fault = lambda method, path: None
    made.settle(KIND)
    assert made.condition(KIND, "Synced")["status"] == "True" and the_one(made)["recurring_run_id"] == before


def test_what_kubeflow_pipelines_refuses_is_not_asked_again_and_again(made: Any) -> None:
    made.put(KIND, {**SPEC, "parameters": {"wrong": 1}})
    assert made.look(KIND) == 300.0
    assert made.condition(KIND, "Synced")["reason"] == "Rejected" and "not one of the pipeline's" in made.status(KIND)["message"]


def test_deleting_ends_its_runs_and_then_takes_the_recurring_run_along(made: Any) -> None:
    made.settle(KIND)
    made.state.pass_to(made.state.now + 2 * HOUR + 60)
    made.delete(KIND)
    for _ in range(4):
        made.look(KIND)
    assert made.get(KIND) is None and made.state.recurring == {}
    assert [r["state"] for r in made.state.runs.values()] == ["FAILED"]


def test_deleting_while_kubeflow_pipelines_is_away_waits_unless_told_to_leave_it(made: Any) -> None:
    made.settle(KIND)
    made.state.fault = lambda method, path: "drop"
    made.delete(KIND)
    assert made.look(KIND) == 5.0
    assert made.status(KIND)["phase"] == "Terminating" and "abandon" in made.status(KIND)["message"]
    made.annotate(KIND, "abandon")
    made.look(KIND)
    assert made.get(KIND) is None and len(made.state.recurring) == 1


def test_who_does_not_lead_writes_nothing(made: Any) -> None:
    made.leading = False
    made.look(KIND)
    assert {m for m, _ in made.state.calls} <= {"GET"} and made.status(KIND) == {}


def story(world: Any) -> None:
    """A schedule made, changed while a run goes on, suspended, resumed."""
    world.settle(KIND)
    world.state.pass_to(world.state.now + 2 * HOUR + 60)
    world.put(KIND, {**SPEC, "schedule": "0 3 * * *"})
    world.settle(KIND)
    for r in world.state.runs.values():
        world.state.end(r, "SUCCEEDED") if r["state"] == "RUNNING" else None
    world.settle(KIND)
    world.put(KIND, {**SPEC, "schedule": "0 3 * * *", "suspend": True})
    world.settle(KIND)
    world.put(KIND, {**SPEC, "schedule": "0 3 * * *"})
    world.settle(KIND)
    world.state.pass_to(world.state.now + 20 * HOUR)
    world.settle(KIND)


def writes(world: Any) -> list[tuple[str, str]]:
    kube = [c for c in world.api.calls if c[0] != "GET" and not c[1].endswith("/events")]
    return kube + [c for c in world.state.calls if c[0] != "GET"]


@pytest.mark.parametrize("how", ["before", "after"])
def test_killed_at_any_write_it_ends_the_same(made: Any, how: str) -> None:
    """The whole story once for each write, that write's process killed: before it, or after it with its answer lost."""
    import copy

    from tests.integration.schedules.conftest import NOW

    start = copy.deepcopy((made.api.objects, made.state.pipelines, made.state.versions))

    def fresh() -> None:
        made.api.objects, made.state.pipelines, made.state.versions = copy.deepcopy(start)
        made.state.now = NOW
        for store in (made.state.recurring, made.state.runs, made.state.experiments, made.state.calls, made.api.calls):
            store.clear()

    fresh()
    story(made)
    expected = outcome(made)
    total = len(writes(made))
    assert total >= 12
    for n in range(total):
        fresh()
        count = {"n": -1}

        def hit(method: str, path: str, count: dict[str, int] = count, n: int = n) -> bool:
            if method != "GET" and not path.endswith("/events"):
                count["n"] += 1
                return count["n"] == n
            return False

        def kube(method: str, path: str) -> None:
            if hit(method, path):
                raise OSError("gone") if method == "POST" else Killed

        def guarded(kind: str, name: str = "nightly") -> float | None:
            try:
                return made.controllers[kind].reconcile("ns", name)
            except Killed:
                return 1.0

        made.api.fault, made.api.after = (kube, lambda m, p: None) if how == "before" else (lambda m, p: None, kube)
        made.state.fault = lambda m, p: ("drop" if how == "before" else "lose") if hit(m, p) else None
        made.look = guarded
        story(made)
        made.api.fault = made.api.after = lambda m, p: None
        made.state.fault = lambda m, p: None
        assert outcome(made) == expected, (n, how)


def outcome(world: Any) -> str:
    """What is left, without names that differ from time to time."""
    recurring = [(r["display_name"], r["status"], r["trigger"]["cron_schedule"]["cron"]) for r in world.state.recurring.values()]
    ticks = sorted(r["_tick"] for r in world.state.runs.values())
    return json.dumps([recurring, ticks, world.status(KIND)["phase"], world.status(KIND)["hash"]])
