"""PipelineRuns from the resource to a run's end, with the process killed and answers lost at every write."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from serving.controller.runs.reconciler import system_of
from sluice.core.events import mark
from tests.integration.schedules.pipelines_server import form_of
from tests.unit.cluster.replays import recording

KIND = "PipelineRun"
SPEC: dict[str, Any] = {"pipeline": {"name": "digits"}, "parameters": {"epochs": 3}, "retries": 0, "timeoutSeconds": 3600}
CRD = Path(__file__).parents[3] / "manifests/crds/pipelinerun.yaml"


class Killed(BaseException):
    """The process is gone."""


@pytest.fixture
def made(world: Any) -> Any:
    world.state.add_pipeline("digits", "v1", "v2")
    world.put(KIND, SPEC)
    return world


def the_run(world: Any) -> dict[str, Any]:
    assert len(world.state.runs) == 1
    return next(iter(world.state.runs.values()))


def logs_of(recorded: dict[str, Any], run: dict[str, Any]) -> dict[str, str]:
    """What was recorded, as this run's steps would have written it: events begin with the run's id."""
    return {pod: log.replace(mark(recorded["run"]["run_id"]), mark(run["run_id"])) for pod, log in recorded["logs"].items()}


def task(name: str, state: str) -> list[dict[str, Any]]:
    times = {"start_time": "2027-01-15T00:00:00Z", "end_time": "2027-01-15T00:00:09Z"}
    return [{"display_name": name, "state": state, **times}, {"display_name": f"{name}-driver", "state": "SUCCEEDED", **times}]


def test_it_becomes_a_run_of_the_newest_version_and_is_followed_to_its_end(made: Any) -> None:
    assert made.look(KIND) == 2.0
    run = the_run(made)
    newest = max(made.state.versions.values(), key=lambda v: v["created_at"])["pipeline_version_id"]
    assert run["pipeline_version_reference"]["pipeline_version_id"] == newest and run["runtime_config"]["parameters"] == {"epochs": 3}
    made.look(KIND)
    status = made.status(KIND)
    assert status["phase"] == "Running" and status["progress"] == "0/2" and status["url"].endswith(run["run_id"])
    made.state.pass_to(made.state.now + 60)
    made.state.end(run, "SUCCEEDED", [*task("fetch", "SUCCEEDED"), *task("count", "SUCCEEDED")])
    assert made.look(KIND) is None
    status = made.status(KIND)
    assert (status["phase"], status["outcome"], status["progress"], status["seconds"]) == ("Succeeded", "Completed", "2/2", 60)
    assert [s["name"] for s in status["steps"]] == ["count", "fetch"] and made.condition(KIND, "Succeeded")["status"] == "True"


@pytest.mark.parametrize(("many_users", "space"), [(False, "kubeflow"), (True, "ns")])
def test_the_command_for_the_logs_runs_as_pasted(made: Any, tmp_path: Path, many_users: bool, space: str) -> None:
    """In a shell, against a kubectl that says what it was given: the pods' namespace is among it."""
    controller = made.controllers[KIND]
    controller.pipelines = dataclasses.replace(controller.pipelines, multi_user=many_users)
    made.look(KIND)
    made.look(KIND)
    kubectl = tmp_path / "kubectl"
    kubectl.write_text("#!/bin/sh\nprintf '%s\\n' \"$@\"\n")
    kubectl.chmod(0o755)
    said = subprocess.run(
        made.status(KIND)["logs"], shell=True, capture_output=True, text=True, check=True, env={"PATH": f"{tmp_path}:/usr/bin:/bin"}
    )
    given = said.stdout.split()
    assert given[:3] == ["-n", space, "logs"] and f"pipeline/runid={the_run(made)['run_id']}" in given and "--ignore-errors" in given


@pytest.mark.parametrize(
    ("endpoint", "space"),
    [
        ("http://ml-pipeline.kubeflow:8888", "kubeflow"),
        ("http://ml-pipeline.pipes.svc.cluster.local:8888", "pipes"),
        ("https://kfp.pipes.svc", "pipes"),
        ("https://kfp.example.com", "kubeflow"),
        ("http://10.0.0.7:8888", "kubeflow"),
        ("http://localhost:8888", "kubeflow"),
    ],
)
def test_the_installations_namespace_is_read_from_a_services_name(endpoint: str, space: str) -> None:
    assert system_of(endpoint) == space


DIGITS: dict[str, Any] = {"name": "form", "task": "image", "data": {"source": "sklearn://digits"}, "train": {"epochs": 20}}


@pytest.mark.parametrize(
    ("spec", "epochs", "project_epochs", "minimum", "left"),
    [
        ({"pipeline": {"name": "form"}}, 20, 20, 0, ""),
        ({"pipeline": {"name": "form"}, "parameters": {"train_epochs": 3}}, 3, 20, 0, ""),
        ({"pipeline": {"name": "form"}, "parameters": {"set": "train.epochs=4 model.width=8"}}, 4, 20, 0, "model.width=8"),
        ({"project": {"inline": json.dumps({**DIGITS, "train": {"epochs": 40}, "evaluate": {"minimum": 0.9}})}}, 40, 40, 0.9, ""),
        ({"project": {"inline": json.dumps({**DIGITS, "train": {"epochs": 40}})}, "parameters": {"train_epochs": 20}}, 20, 20, 0, ""),
        ({"pipeline": {"name": "form"}, "parameters": {"project": json.dumps({**DIGITS, "train": {"epochs": 5}})}}, 5, 5, 0, ""),
    ],
)
def test_a_run_of_a_version_with_a_form_shows_all_it_was_filled_in_with(
    world: Any, spec: dict[str, Any], epochs: int, project_epochs: int, minimum: float, left: str
) -> None:
    world.state.add_pipeline("form", form=form_of(DIGITS))
    world.put(KIND, {"retries": 0, "timeoutSeconds": 3600, **spec})
    world.look(KIND)
    sent = the_run(world)["runtime_config"]["parameters"]
    assert set(sent) == set(form_of(DIGITS))
    assert (sent["train_epochs"], sent["project"]["train"]["epochs"], sent["evaluate_minimum"], sent["set"]) == (
        epochs,
        project_epochs,
        minimum,
        left,
    )


def test_a_wrong_value_in_a_form_is_refused_in_words_before_anything_is_started(world: Any) -> None:
    world.state.add_pipeline("form", form=form_of(DIGITS))
    world.put(KIND, {"pipeline": {"name": "form"}, "parameters": {"rollout_steps": [50, 10]}, "retries": 0, "timeoutSeconds": 3600})
    world.look(KIND)
    status = world.status(KIND)
    assert (
        status["phase"] == "Refused"
        and "rollout_steps: rollout.steps" in status["message"]
        and "fix:" in status["message"]
        and not world.state.runs
    )


def test_a_watch_prints_a_line_for_a_change_and_none_for_a_look(made: Any) -> None:
    shown = [
        c["jsonPath"].split(".")[2:]
        for c in yaml.safe_load(CRD.read_text())["spec"]["versions"][0]["additionalPrinterColumns"]
        if c["jsonPath"].startswith(".status.") and not c.get("priority") and "[" not in c["jsonPath"]
    ]
    lines: list[Any] = []

    def note(method: str, path: str) -> None:
        if method == "PUT" and path.endswith("/status"):
            lines.append([made.status(KIND).get(name) for (name,) in shown])

    made.api.after = note
    made.look(KIND)
    run = the_run(made)
    for tasks in (
        [],
        task("fetch", "RUNNING"),
        [*task("fetch", "SUCCEEDED"), *task("count", "RUNNING")],
        [*task("fetch", "SUCCEEDED"), *task("count", "SUCCEEDED")],
    ):
        run["run_details"] = {"task_details": tasks}
        run["state"] = "RUNNING"
        for _ in range(4):
            made.look(KIND)
    made.state.end(run, "SUCCEEDED", run["run_details"]["task_details"])
    made.look(KIND)
    assert len(lines) >= 5 and all(a != b for a, b in itertools.pairwise(lines)), lines
    assert [x[2] for x in lines if x[2]] == ["fetch", "count"], lines


def test_a_run_that_is_over_costs_one_read_and_no_write(made: Any) -> None:
    made.look(KIND)
    made.state.end(the_run(made), "SUCCEEDED")
    made.look(KIND)
    calls, version = len(made.state.calls), made.api.version
    assert made.look(KIND) is None
    assert len(made.state.calls) == calls and made.api.version == version


@pytest.mark.parametrize(
    ("name", "logs", "phase", "word", "why"),
    [
        ("promoted", True, "Succeeded", "Promoted", ""),
        ("promoted", False, "Succeeded", "Completed", ""),
        ("refused", True, "Succeeded", "Refused", "accuracy"),
        ("refused", False, "Succeeded", "StoppedByGate after evaluate", ""),
        ("bad_source", True, "Failed", "Failed", "fix: "),
        ("bad_source", False, "Failed", "Failed", "validate_data failed"),
    ],
)
def test_the_outcome_is_what_the_steps_wrote_or_else_what_the_states_tell(
    made: Any, name: str, logs: bool, phase: str, word: str, why: str
) -> None:
    made.look(KIND)
    recorded = recording(name)
    made.state.end(the_run(made), recorded["run"]["state"], recorded["run"]["run_details"]["task_details"])
    made.state.logs = logs_of(recorded, the_run(made)) if logs else {}
    made.look(KIND)
    status = made.status(KIND)
    assert (status["phase"], status["outcome"]) == (phase, word) and why in status["message"], status["message"]


def test_a_run_that_fails_for_a_refusal_is_refused_and_not_tried_again(made: Any) -> None:
    made.put(KIND, {**SPEC, "retries": 2})
    made.look(KIND)
    recorded = recording("refused")
    tasks = [*recorded["run"]["run_details"]["task_details"], *task("report", "SUCCEEDED"), *task("refusal", "FAILED")]
    made.state.end(the_run(made), "FAILED", tasks)
    made.state.logs = logs_of(recorded, the_run(made))
    made.settle(KIND)
    status = made.status(KIND)
    assert (status["phase"], status["outcome"], len(made.state.runs)) == ("Failed", "Refused", 1) and "accuracy" in status["message"]


def test_a_failed_run_is_tried_again_as_often_as_it_may(made: Any) -> None:
    made.put(KIND, {**SPEC, "retries": 2})
    for n in range(3):
        made.settle(KIND, until=lambda n=n: len(made.state.runs) == n + 1)
        run = list(made.state.runs.values())[-1]
        assert run["display_name"].endswith(f"-{n + 1}")
        made.state.end(run, "FAILED", task("fetch", "FAILED"))
    made.settle(KIND)
    status = made.status(KIND)
    assert (status["phase"], status["attempt"]) == ("Failed", 3) and len(made.state.runs) == 3
    assert [(a["attempt"], a["state"], a["failed"]) for a in status["attempts"]] == [
        (1, "FAILED", ["fetch"]),
        (2, "FAILED", ["fetch"]),
        (3, "FAILED", ["fetch"]),
    ]
    assert "fetch" in status["message"]


def test_a_command_tries_it_again_and_counts_once(made: Any) -> None:
    made.look(KIND)
    made.state.end(the_run(made), "FAILED")
    made.look(KIND)
    made.annotate(KIND, "retry#1")
    made.settle(KIND)
    assert len(made.state.runs) == 2 and made.status(KIND)["attempt"] == 2
    made.state.end(list(made.state.runs.values())[-1], "FAILED")
    made.settle(KIND)
    assert len(made.state.runs) == 2 and made.status(KIND)["phase"] == "Failed"
    made.annotate(KIND, "retry#2")
    made.settle(KIND)
    assert len(made.state.runs) == 3


def test_a_command_ends_it(made: Any) -> None:
    made.put(KIND, {**SPEC, "retries": 3})
    made.look(KIND)
    made.annotate(KIND, "terminate#1")
    made.settle(KIND)
    assert made.status(KIND)["phase"] == made.status(KIND)["outcome"] == "Terminated" and the_run(made)["state"] == "FAILED"


def test_past_its_time_it_is_given_up(made: Any) -> None:
    made.look(KIND)
    made.state.pass_to(made.state.now + 3700)
    made.settle(KIND)
    status = made.status(KIND)
    assert (
        status["phase"] == "Failed"
        and "timeoutSeconds" in status["message"]
        and made.condition(KIND, "Succeeded")["reason"] == "DeadlineExceeded"
    )


def test_deleting_it_ends_the_run(made: Any) -> None:
    made.look(KIND)
    made.delete(KIND)
    assert made.look(KIND) == 2.0 and made.get(KIND) is not None
    assert made.look(KIND) is None and made.get(KIND) is None
    assert the_run(made)["state"] == "FAILED"


def test_a_resource_made_anew_under_the_same_name_is_another_run(made: Any) -> None:
    made.look(KIND)
    made.delete(KIND)
    made.look(KIND), made.look(KIND)
    made.api.objects["x"] = {"kind": "x", "metadata": {}}
    made.put(KIND, SPEC)
    made.settle(KIND)
    assert len(made.state.runs) == 2 and made.status(KIND)["phase"] == "Running"


def test_a_run_deleted_in_kubeflow_pipelines_is_said_so_and_not_made_again(made: Any) -> None:
    made.look(KIND), made.look(KIND)
    made.state.runs.clear()
    made.settle(KIND)
    assert made.status(KIND)["phase"] == "Failed" and "deleted there" in made.status(KIND)["message"] and made.state.runs == {}


def test_one_archived_by_hand_is_still_followed(made: Any) -> None:
    made.look(KIND)
    the_run(made)["storage_state"] = "ARCHIVED"
    made.settle(KIND)
    assert made.status(KIND)["phase"] == "Running" and len(made.state.runs) == 1


def test_a_pipeline_that_comes_later_is_waited_for(world: Any) -> None:
    world.put(KIND, SPEC)
    assert world.look(KIND) == 5.0
    assert world.status(KIND)["phase"] == "Pending" and "no such pipeline (got 'digits')" in world.status(KIND)["message"]
    world.state.add_pipeline("digits")
    world.settle(KIND)
    assert world.status(KIND)["phase"] == "Running" and world.condition(KIND, "Synced")["status"] == "True"


def test_what_is_refused_for_its_parameters_fails_with_the_reason(made: Any) -> None:
    made.put(KIND, {**SPEC, "parameters": {"wrong": 1}}, "bad")
    made.settle(KIND, "bad")
    status = made.status(KIND, "bad")
    assert status["phase"] == "Failed" and "not one of the pipeline's" in status["message"] and made.state.runs == {}


@pytest.mark.parametrize("how", ["before", "after"])
def test_killed_at_any_write_it_makes_each_attempt_once(made: Any, how: str) -> None:
    from tests.integration.schedules.conftest import NOW

    made.put(KIND, {**SPEC, "retries": 1})
    start = copy.deepcopy((made.api.objects, made.state.pipelines, made.state.versions))
    total = 1
    n = -1
    while n < total:
        made.api.objects, made.state.pipelines, made.state.versions = copy.deepcopy(start)
        made.state.now = NOW
        for store in (made.state.runs, made.state.experiments, made.state.calls, made.api.calls):
            store.clear()
        seen = {"n": -1}

        def hit(method: str, path: str, seen: dict[str, int] = seen, n: int = n) -> bool:
            if method == "GET" or path.endswith("/events"):
                return False
            seen["n"] += 1
            return seen["n"] == n

        def kube(method: str, path: str) -> None:
            if hit(method, path):
                raise Killed

        def look(kind: str, name: str = "nightly") -> float | None:
            try:
                return made.controllers[kind].reconcile("ns", name)
            except Killed:
                return 1.0

        quiet = lambda method, path: None  # noqa: E731
        made.api.fault, made.api.after = (kube, quiet) if how == "before" else (quiet, kube)
        made.state.fault = lambda m, p: ("drop" if how == "before" else "lose") if hit(m, p) else None
        made.look = look
        for attempt in (1, 2):
            made.settle(
                KIND, until=lambda attempt=attempt: made.status(KIND).get("attempt") == attempt and bool(made.status(KIND).get("runId"))
            )
            running = [r for r in made.state.runs.values() if r["state"] == "RUNNING"]
            assert len(running) == 1, (n, running)
            made.state.end(running[0], "FAILED" if attempt == 1 else "SUCCEEDED")
        made.settle(KIND)
        assert [r["state"] for r in made.state.runs.values()] == ["FAILED", "SUCCEEDED"], n
        assert made.status(KIND)["phase"] == "Succeeded" and made.status(KIND)["attempt"] == 2
        total = seen["n"] if n < 0 else total
        n += 1
    assert total >= 6
