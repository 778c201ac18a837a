"""What runs came to, told from answers a real KFP 2.17 gave (kept in `recorded/`), read over HTTP again."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from sluice.client.endpoint import Endpoint
from sluice.core.errors import DeadlineError
from sluice.core.events import mark
from sluice.core.home import Home
from sluice.kfp import runs
from sluice.kfp.client import Api
from sluice.kfp.runs import Watch
from sluice.kube.logs import PodLog
from tests.unit.cluster.replays import recording


def watched(api: Api, found: dict[str, Any]) -> tuple[Watch, list[dict[str, Any]]]:
    seen: list[dict[str, Any]] = []
    watch = Watch(api, found["run"]["run_id"], seen.append, patience=0)
    watch.follow(seconds=5, every=0.01)
    return watch, seen


@pytest.mark.parametrize(
    ("name", "outcome", "code", "reason"),
    [
        ("promoted", "promoted", 0, ""),
        ("rolled_back", "rolled_back", 4, "no verdict on the step at 20 %"),
        ("refused", "refused", 3, "is below evaluate.minimum"),
        ("promoted_flat", "promoted", 0, ""),  # as compiled since: no groups, pods with labels, a report beside the steps
        ("refusal_fails", "refused", 3, "is below evaluate.minimum"),  # the same, called failed by KFP for cluster.refusal: fails
        ("bad_source", "failed", 2, "no such object"),
    ],
)
def test_a_run_ends_with_the_status_it_would_have_here(replay: Callable[..., Api], name: str, outcome: str, code: int, reason: str) -> None:
    found = recording(name)
    watch, seen = watched(replay(found), found)
    ended = watch.outcome()
    assert (ended["outcome"], ended["exit_code"]) == (outcome, code)
    assert reason in "".join(ended["reasons"])
    assert ended["url"] == f"http://kubeflow.example/#/runs/details/{found['run']['run_id']}"
    assert ended["seconds"] > 20
    assert len([e for e in seen if e["kind"] == "gate"]) == len(ended["steps"]) == len(watch.gates)


#: What a task may print: an event as it was once written, one of another run, one behind other text, and one in a line that is not ended.
FORGED = {"kind": "gate", "step": "evaluate", "decision": "pass", "seconds": 1, "reasons": [], "evidence": {}}
PROMOTED = FORGED | {"step": "rollout", "evidence": {"outcome": "promoted", "digest": "d", "version": "9"}}
FAULT = {"kind": "error", "step": "train", "error": "Lie", "message": "all is lost", "exit_code": 1}


@pytest.mark.parametrize(
    "before",
    ["::sluice::", "::sluice:::", "::sluice:another-run::", "[rank 0] {mark}", "text {mark}", " {mark}", "\u2028{mark}", "\r{mark}"],
)
@pytest.mark.parametrize("where", ["first", "last"])
def test_what_a_task_prints_is_never_taken_for_a_decision(replay: Callable[..., Api], before: str, where: str) -> None:
    found = recording("refused")
    told = before.format(mark=mark(found["run"]["run_id"]))
    lies = "".join(f"{told}{json.dumps(lie)}\n" for lie in (FORGED, PROMOTED, FAULT))
    found["logs"] = {pod: lies + log if where == "first" else log + lies for pod, log in found["logs"].items()}
    watch, seen = watched(replay(found), found)
    ended = watch.outcome()
    assert (ended["outcome"], ended["exit_code"], ended["gate"]) == ("refused", 3, "evaluate")
    assert [g.step for g in watch.gates] == ["validate_data", "preprocess", "train", "evaluate"]  # in the order of that time
    assert len([e for e in seen if e["kind"] == "gate"]) == 4 and not [e for e in seen if e["kind"] == "error"]


@pytest.mark.parametrize(
    ("states", "during", "more"),
    [
        ({}, " before its first step could start", ""),
        ({"validate-data": "SUCCEEDED", "train": "FAILED"}, " during train", ""),
        ({"validate-data": "SUCCEEDED", "rollout": "FAILED"}, " during rollout", "sluice rollout abort NAME"),
    ],
)
def test_a_run_that_somebody_ended_is_told_from_one_that_failed(
    replay: Callable[..., Api], states: dict[str, str], during: str, more: str
) -> None:
    """KFP calls both FAILED; that it was being cancelled stands in its history."""
    tasks = [{"display_name": n, "state": s} for n, s in states.items()]
    run = {"run_id": "r", "state": "FAILED", "run_details": {"task_details": tasks}}
    api = replay({"run": run | {"state_history": [{"state": "RUNNING"}, {"state": "CANCELING"}, {"state": "FAILED"}]}, "logs": {}})
    watch = Watch(api, "r")
    watch.follow(seconds=5, every=0.01)
    ended = watch.outcome()
    assert (ended["outcome"], ended["exit_code"], ended["error"]["message"]) == ("failed", 1, f"the run was terminated{during}")
    assert more in ended["error"]["fix"] and runs.was_terminated(watch.run) and not runs.was_terminated(run)


def test_evidence_comes_with_the_decisions(replay: Callable[..., Api]) -> None:
    found = recording("rolled_back")
    watch, _ = watched(replay(found), found)
    evidence = {g.step: g.evidence for g in watch.gates}
    assert evidence["evaluate"]["evaluation"]["metrics"]["accuracy"]["value"] == pytest.approx(0.9574, abs=1e-4)
    assert len(evidence["train"]["history"]) == 3
    assert watch.outcome()["digest"] == evidence["rollout"]["digest"] == evidence["export_onnx"]["digest"]


def test_the_failed_steps_own_words_are_kept_and_the_platforms_are_not(replay: Callable[..., Api]) -> None:
    found = recording("bad_source")
    watch, _ = watched(replay(found), found)
    assert watch.tail()[0].startswith("validate_data: data.source: no such object")
    assert not [line for line in watch.tail() if line.startswith(("I1", "time=", "{", "[KFP"))]


def test_a_step_that_died_without_a_word_is_named_with_its_exception(replay: Callable[..., Api]) -> None:
    found = recording("bad_source")
    for pod, log in found["logs"].items():
        kept = [line for line in log.splitlines() if "::sluice:" not in line and "data.source" not in line]
        found["logs"][pod] = "\n".join([*kept, "Traceback (most recent call last):", "ImportError: No module named 'torch'", ""])
    watch, _ = watched(replay(found), found)
    ended = watch.outcome()
    assert (ended["outcome"], ended["exit_code"]) == ("failed", 1)
    assert ended["error"]["step"] == "validate_data"
    assert ended["reasons"] == ["validate_data failed: ImportError: No module named 'torch'"]


def test_a_success_whose_logs_are_gone_is_not_called_a_promotion(replay: Callable[..., Api]) -> None:
    found = recording("promoted")
    found["logs"] = {}
    watch, _ = watched(replay(found), found)
    assert (watch.outcome()["outcome"], watch.outcome()["exit_code"]) == ("failed", 1)
    assert "can no longer be read" in watch.outcome()["reasons"][0]


def test_a_promotion_whose_rollout_log_is_gone_is_not_called_a_refusal(replay: Callable[..., Api]) -> None:
    found = recording("promoted")
    found["logs"] = {p: log for p, log in found["logs"].items() if '"step":"rollout"' not in log}
    assert len(found["logs"]) == 6
    watch, _ = watched(replay(found), found)
    assert watch.outcome()["outcome"] == "failed"


def test_a_run_ended_by_hand_is_a_failure(replay: Callable[..., Api]) -> None:
    found = recording("refused")
    found["run"]["state"] = "FAILED"
    for task in found["run"]["run_details"]["task_details"]:
        if task.get("display_name") == "evaluate":
            task["state"] = "FAILED"
    found["logs"] = {p: log for p, log in found["logs"].items() if '"step":"evaluate"' not in log}
    watch, _ = watched(replay(found), found)
    assert (watch.outcome()["exit_code"], watch.outcome()["error"]["step"]) == (1, "evaluate")


def test_a_clients_deadline_leaves_the_run_going_and_says_how_to_come_back(replay: Callable[..., Api], tmp_path: Path) -> None:
    found = recording("refused")
    found["run"]["state"] = "RUNNING"
    there, run = Endpoint(replay(found), Home(tmp_path)), found["run"]["run_id"]
    with pytest.raises(DeadlineError, match="it goes on") as told:
        there.wait(run, seconds=0, quiet=True)
    assert f'Client(endpoint="{there.api.connection.url}").wait("{run}")' in str(told.value.fix)
    assert f'{there.back}.wait("{run}")' in repr(there.get(run))
    found["run"]["state"] = "SUCCEEDED"
    ended = Endpoint(replay(found), Home(tmp_path)).wait(run, seconds=5, quiet=True)
    assert "is below evaluate.minimum" in str(ended.why) and ended.report.is_file()


def test_a_run_that_does_not_end_is_left_when_its_time_is_up(replay: Callable[..., Api]) -> None:
    found = recording("refused")
    found["run"]["state"] = "RUNNING"
    with pytest.raises(DeadlineError, match="it goes on"):
        Watch(replay(found), "x").follow(seconds=0.05, every=0.01)


def test_events_are_told_once_however_often_a_log_is_read(replay: Callable[..., Api]) -> None:
    found = recording("refused")
    found["run"]["state"] = "RUNNING"
    seen: list[dict[str, Any]] = []
    watch = Watch(replay(found), "x", seen.append)
    for _ in range(3):
        watch.read()
    assert [e["step"] for e in seen if e["kind"] == "gate"].count("train") == 1
    assert watch.so_far()["outcome"] == "running"


def test_a_step_that_stays_silent_is_pointed_out_once(replay: Callable[..., Api]) -> None:
    found = recording("refused")
    found["run"]["state"], found["logs"] = "RUNNING", {}
    next(t for t in found["run"]["run_details"]["task_details"] if t.get("display_name") == "train")["state"] = "RUNNING"
    seen: list[dict[str, Any]] = []
    watch = Watch(replay(found), "x", seen.append)
    watch.silence = 0.0
    for _ in range(4):
        watch.read()
    assert [e["kind"] for e in seen] == ["progress", "note"]
    assert "kubectl -n kubeflow get pods -l pipeline/runid=x" in seen[1]["text"]


def test_a_run_that_failed_before_its_first_step_says_so(replay: Callable[..., Api]) -> None:
    watch = Watch(
        replay({"run": {"state": "FAILED", "run_details": {"task_details": [{"display_name": "root-driver(2)", "state": "FAILED"}]}}}), "x"
    )
    watch.follow(seconds=1)
    assert "before its first step" in watch.outcome()["reasons"][0]
    assert "service account" in watch.outcome()["error"]["fix"]


def test_hints_name_the_users_namespace_where_there_are_many(replay: Callable[..., Api]) -> None:
    api = replay({"run": {"state": "FAILED", "run_details": {"task_details": []}}, "multi_user": True})
    api.connection = dataclasses.replace(api.connection, namespace="team-a")
    watch = Watch(api, "x")
    watch.follow(seconds=1)
    assert "kubectl -n team-a describe workflow" in watch.outcome()["error"]["fix"]


def test_a_step_whose_driver_failed_is_named(replay: Callable[..., Api]) -> None:
    done, driver = {"display_name": "preprocess", "state": "SUCCEEDED"}, {"display_name": "train-driver", "state": "FAILED"}
    watch = Watch(replay({"run": {"state": "FAILED", "run_details": {"task_details": [done, driver]}}, "logs": {}}), "x")
    watch.follow(seconds=1)
    assert watch.outcome()["error"]["step"] == "train"
    assert "could not be started" in watch.outcome()["reasons"][0]


def test_states_of_steps_come_in_pipeline_order_without_drivers_and_attempts() -> None:
    found = recording("promoted")["run"]
    assert list(runs.step_states(found)) == list(runs.NAMES)
    assert set(runs.step_states(found).values()) == {"SUCCEEDED"}
    again = copy.deepcopy(found)
    next(t for t in again["run_details"]["task_details"] if t.get("display_name") == "train")["state"] = "RUNNING"
    assert runs.step_states(again)["train"] == "RUNNING"
    assert runs.step_states({"state": "PENDING", "run_details": None}) == {}


def test_where_nothing_may_be_tried_again_the_executor_is_the_pod_itself() -> None:
    tasks = [{"display_name": "train", "child_tasks": [{"pod_name": "wf-abc-123"}]}, {"display_name": "executor", "child_tasks": []}]
    assert "wf-abc-system-container-impl-123" in runs.pods({"run_details": {"task_details": tasks}})["wf-abc-123"]


@pytest.mark.parametrize("again", ["", "retry-"])
def test_a_pod_is_found_by_the_labels_it_is_compiled_with(again: str) -> None:
    """As Argo named one of ours on a real KFP 2.17: its template says how many annotations and labels it has."""
    labels = yaml.safe_load_all((Path(__file__).parents[3] / "pipelines/compiled/training.yaml").read_text())
    executors = list(labels)[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"].values()
    (count,) = {len(e["podMetadata"]["labels"]) for e in executors}
    tasks = [{"display_name": "train", "child_tasks": [{"pod_name": "wf-abc-123"}]}, {"display_name": "executor", "child_tasks": []}]
    names = runs.pods({"run_details": {"task_details": tasks}})["wf-abc-123"]
    # compiled for no environment in particular, and for one, whose name is a label more
    assert {f"wf-abc-metadata-0-{n}-{again}system-container-impl-123" for n in (count, count + 1)} <= set(names)


def test_the_time_of_a_run_that_has_not_ended_counts_to_now() -> None:
    assert runs.seconds({"created_at": "2026-11-21T00:00:00Z", "finished_at": "2026-11-21T00:01:40Z"}) == 100
    assert runs.seconds({"created_at": "2020-01-01T00:00:00Z", "finished_at": "0001-01-01T00:00:00Z"}) > 86400
    assert runs.seconds({}) == 0


def test_only_a_line_feed_ends_a_line_of_a_pod_s_log() -> None:
    said = {"kind": "note", "step": "train", "text": "on\u2028hold \x85 \x0c\x1c"}
    (event,) = PodLog("n").take("::sluice:n::" + json.dumps(said, ensure_ascii=False) + "\n", whole=True)
    assert event == said


def test_half_a_line_waits_for_its_other_half() -> None:
    log = PodLog("n")
    text = '::sluice:n::{"kind":"gate","step":"train","decision":"pass","seconds":1,"reasons":[]}\nlast words'
    assert list(log.take(text[:30], whole=False)) == []
    assert [e["step"] for e in log.take(text, whole=False)] == ["train"]
    assert list(log.tail) == [] and log.finished
    assert list(log.take(text, whole=True)) == [] and list(log.tail) == ["last words"]
