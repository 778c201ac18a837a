"""The decision about one run, and what a person is told of it: pure functions, on answers a real Kubeflow Pipelines gave."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.controller.runs.runs import Plan, Seen, Step, advance, outcome, state_of, steps

RECORDED = Path(__file__).parents[1] / "cluster" / "recorded"
PLAN = Plan(attempt=1, retries=0, deadline=1000.0)


def recorded(name: str) -> dict[str, Any]:
    return json.loads((RECORDED / f"{name}.json").read_text())["run"]


@pytest.mark.parametrize(
    ("plan", "found", "expected"),
    [
        (PLAN, [], Step("Pending", 1, call="create")),
        (PLAN, [Seen("a", "PENDING")], Step("Pending", 1)),
        (PLAN, [Seen("a", "RUNNING")], Step("Running", 1)),
        (PLAN, [Seen("a", "SUCCEEDED")], Step("Succeeded", 1)),
        (PLAN, [Seen("a", "FAILED")], Step("Failed", 1)),
        (PLAN, [Seen("a", "CANCELED")], Step("Failed", 1, "canceled in Kubeflow Pipelines")),
        (replace(PLAN, retries=1), [Seen("a", "FAILED")], Step("Pending", 2, "attempt 1 failed; 1 left")),
        (replace(PLAN, retries=1, attempt=2), [Seen("a", "FAILED")], Step("Failed", 2)),
        (replace(PLAN, retries=1), [Seen("a", "CANCELED")], Step("Failed", 1, "canceled in Kubeflow Pipelines")),
        (replace(PLAN, started=True), [], Step("Failed", 1, "the run is no longer in Kubeflow Pipelines: it was deleted there")),
        (replace(PLAN, over="Failed"), [], Step("Failed", 1)),
        (replace(PLAN, over="Failed", command="retry"), [], Step("Pending", 2, "tried again by command")),
    ],
)
def test_what_comes_next(plan: Plan, found: list[Seen], expected: Step) -> None:
    assert advance(plan, found, 10.0) == expected


def test_a_command_ends_it_once_and_it_is_not_tried_again() -> None:
    plan = replace(PLAN, command="terminate", retries=5)
    step = advance(plan, [Seen("a", "RUNNING")], 10.0)
    assert (step.phase, step.call, step.id, step.ending) == ("Terminating", "terminate", "a", "Terminated")
    later = replace(plan, command="", ending="Terminated")
    assert advance(later, [Seen("a", "CANCELING")], 11.0).call == ""
    assert advance(later, [Seen("a", "FAILED")], 12.0).phase == "Terminated"
    assert advance(plan, [], 10.0).phase == "Terminated"


def test_past_its_deadline_it_is_given_up() -> None:
    step = advance(replace(PLAN, retries=5), [Seen("a", "RUNNING")], 1001.0)
    assert (step.phase, step.call, step.ending) == ("Terminating", "terminate", "DeadlineExceeded")
    assert advance(replace(PLAN, retries=5, ending="DeadlineExceeded"), [Seen("a", "FAILED")], 1002.0).phase == "Failed"
    assert advance(PLAN, [], 1001.0).phase == "Failed"


def test_of_two_runs_of_one_attempt_the_older_stays() -> None:
    step = advance(PLAN, [Seen("a", "RUNNING", 1), Seen("b", "RUNNING", 2)], 10.0)
    assert (step.call, step.id) == ("terminate", "b")
    assert advance(PLAN, [Seen("a", "RUNNING", 1), Seen("b", "FAILED", 2)], 10.0) == Step("Running", 1)


def test_a_run_that_failed_for_a_refusal_is_not_tried_again() -> None:
    plan = replace(PLAN, retries=3)
    assert advance(plan, [Seen("a", "FAILED", 1)], 10.0).phase == "Pending"
    assert advance(plan, [Seen("a", "FAILED", 1, refused=True)], 10.0) == Step("Failed", 1)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 3), st.integers(0, 4), st.integers(0, 2**32))
def test_lost_calls_and_lost_statuses_never_make_a_run_too_many(retries: int, fails: int, seed: int) -> None:
    """Looks whose status is lost, or whose process dies after the call: one run an attempt, and no attempt after the last."""
    dice, world, plan = random.Random(seed), {}, replace(PLAN, retries=retries)
    for _ in range(300):
        found = world.get(plan.attempt, [])
        step = advance(plan, found, 10.0)
        if step.call == "create":
            world.setdefault(step.attempt, []).append(Seen(f"{step.attempt}", "RUNNING"))
        elif found and found[0].state == "RUNNING":
            world[plan.attempt] = [replace(found[0], state="FAILED" if plan.attempt <= fails else "SUCCEEDED")]
        if dice.random() < 0.6:
            plan = replace(
                plan,
                attempt=step.attempt,
                started=bool(world.get(step.attempt)),
                over=step.phase if step.phase in ("Succeeded", "Failed") else "",
            )
        if plan.over:
            break
    assert all(len(runs) == 1 for runs in world.values())
    assert len(world) == min(fails, retries) + 1
    assert plan.over == ("Succeeded" if fails <= retries else "Failed")


@pytest.mark.parametrize(
    ("name", "names", "what"),
    [
        ("promoted", ["validate-data", "preprocess", "train", "evaluate", "export-onnx", "register", "rollout"], "Completed"),
        ("refused", ["validate-data", "preprocess", "train", "evaluate"], "StoppedByGate after evaluate"),
    ],
)
def test_steps_are_those_people_know_in_the_order_they_ran(name: str, names: list[str], what: str) -> None:
    run = recorded(name)
    shown = steps(run)
    assert [s["name"] for s in shown] == names and {s["state"] for s in shown} == {"SUCCEEDED"} and all(s["seconds"] > 0 for s in shown)
    assert outcome("Succeeded", run, shown) == what


def test_a_gate_without_a_group_of_its_own_is_seen_by_the_steps_behind_it() -> None:
    run = recorded("refused")
    tasks = [t for t in run["run_details"]["task_details"] if not str(t.get("display_name")).startswith("condition-")]
    behind = [
        {"display_name": "register-driver", "state": "SUCCEEDED"},
        {"display_name": "register", "state": "SKIPPED"},
        {"display_name": "rollout-driver"},
        {"display_name": "rollout"},
    ]
    run["run_details"]["task_details"] = [*tasks, *behind]
    shown = steps(run)
    assert [s["name"] for s in shown if s["state"] == "SKIPPED"] == ["register", "rollout"]
    assert outcome("Succeeded", run, shown) == "StoppedByGate after evaluate"


def test_a_failed_step_is_named() -> None:
    shown = steps(recorded("bad_source"))
    assert [(s["name"], s["state"]) for s in shown] == [("validate-data", "FAILED")]
    assert outcome("Failed", recorded("bad_source"), shown) == "Failed"


def test_right_after_the_end_no_step_reads_as_going_on() -> None:
    run = recorded("promoted")
    for task in run["run_details"]["task_details"]:
        if task.get("display_name") == "rollout":
            task |= {"state": "RUNNING", "end_time": "0001-01-01T00:00:00Z"}
    assert steps(run)[-1]["state"] == "SUCCEEDED"


def test_a_run_that_a_person_ended_in_kubeflow_pipelines_is_not_tried_again() -> None:
    """KFP 2.17 calls it FAILED, as one whose step failed."""
    run = {"state": "FAILED", "state_history": [{"state": "RUNNING"}, {"state": "CANCELING"}, {"state": "FAILED"}]}
    assert (state_of(run), state_of({"state": "FAILED"}), state_of({})) == ("CANCELED", "FAILED", "PENDING")
    assert advance(replace(PLAN, retries=3), [Seen("a", state_of(run))], 10.0).phase == "Failed"
