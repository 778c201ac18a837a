"""The run's report, written by one of its own tasks from what a real KFP 2.17 said of real runs."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components.report import logic
from sluice.kfp import ending
from sluice.kfp.account import OwnToken
from sluice.kfp.client import Api
from sluice.kfp.connection import connect
from sluice.kfp.ending import await_end
from sluice.kfp.errors import Unauthorised
from sluice.kfp.runs import Watch, is_over
from sluice.kube.client import Kube
from sluice.steps.step import NAMES as STEPS
from tests.unit.cluster.kubernetes_api import Api as Kubernetes
from tests.unit.cluster.kubernetes_api import serving as kubernetes
from tests.unit.cluster.replays import Recording, beside, recording, serving, skipped

Replay = Callable[[Recording], Api]
#: What is not there yet when a run is refused by `evaluate`.
REFUSED = skipped("register", "rollout")


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "_PAUSE", 0.01)


class Written:
    """What the step wrote: its figures, its page and the word for the task that may fail behind it."""

    def __init__(self, folder: Path, api: Api, found: Recording):
        page, refusal = folder / "page", folder / "refusal"
        self.figures = logic.run(
            {"name": "given"}, str(found["run"].get("run_id", "x")), 60, page_path=str(page), refusal_path=str(refusal), api=api
        )
        self.page, self.refusal = page.read_text(), refusal.read_text()


@pytest.fixture
def written(replay: Replay, tmp_path: Path) -> Callable[[Recording], Written]:
    return lambda found: Written(tmp_path, replay(found), found)


def silent(found: Recording, step: str, *lines: str) -> Recording:
    """A recording in which a step failed with these last lines and without an event."""
    for task in found["run"]["run_details"]["task_details"]:
        if task.get("display_name") == step:
            task["state"] = "FAILED"
    name = step.replace("-", "_")
    found["logs"] = {
        pod: "\n".join(["[KFP Executor 1 INFO]: Looking for component `" + name + "` in x", *lines, ""])
        if f'"step":"{name}"' in log
        else log
        for pod, log in found["logs"].items()
    }
    return found


@pytest.mark.parametrize(
    ("name", "more", "word", "gate", "reason", "refusal"),
    [
        ("promoted", (), "promoted", "rollout", "", "no"),
        ("rolled_back", (), "rolled_back", "rollout", "no verdict on the step at 20 %", "yes"),
        ("refused", REFUSED, "refused", "evaluate", "is below evaluate.minimum", "yes"),
        ("bad_source", (), "failed", "validate_data", "no such object", "no"),
        ("promoted_flat", (), "promoted", "rollout", "", "no"),
        ("refusal_fails", (), "refused", "evaluate", "is below evaluate.minimum", "yes"),
    ],
)
def test_every_end_of_a_run_can_be_told_from_the_others(
    written: Callable[[Recording], Written], name: str, more: tuple[dict[str, Any], ...], word: str, gate: str, reason: str, refusal: str
) -> None:
    found = written(beside(recording(name), more=more))
    assert found.figures["outcome"] == word and found.figures["promoted"] == (word == "promoted")
    assert found.figures["gate"] == gate and reason in str(found.figures.get("reason", ""))
    assert found.refusal == refusal
    assert f'<span class="badge {word}">' in found.page and reason in found.page
    assert 'href="http://kubeflow.example/#/runs/details/' in found.page


def test_the_figures_a_run_turned_on_have_the_same_names_in_every_run(written: Callable[[Recording], Written]) -> None:
    found = written(beside(recording("rolled_back")))
    assert found.figures | {"reason": ""} == {
        "outcome": "rolled_back",
        "promoted": 0.0,
        "gate": "rollout",
        "reason": "",
        "accuracy": pytest.approx(0.9574, abs=1e-4),
        "accuracy_minimum": 0.5,
        "accuracy_champion": pytest.approx(0.9468, abs=1e-4),
        "accuracy_difference": pytest.approx(0.0106, abs=1e-4),
        "accuracy_low": pytest.approx(-0.0107, abs=1e-4),
        "accuracy_high": pytest.approx(0.0333, abs=1e-4),
        "version": "2",
    }
    assert "Against the champion" in found.page and "traffic to the candidate over time" in found.page


def test_a_failed_step_is_shown_with_its_last_lines(written: Callable[[Recording], Written]) -> None:
    found = written(
        beside(
            silent(recording("rolled_back"), "train", "epoch 1", "Traceback (most recent call last):", "MemoryError: 8 GiB & more"),
            without=("export-onnx", "evaluate", "register", "rollout"),
        )
    )
    assert (found.figures["outcome"], found.figures["promoted"], found.figures["gate"]) == ("failed", 0.0, "train")
    assert "train failed: MemoryError: 8 GiB &amp; more" in found.page
    assert "Its last lines</h2><pre>epoch 1\nTraceback" in found.page
    assert found.page.count("not reached") == 4 and "1,504 train" not in found.page


def test_a_run_that_never_started_says_which_step_could_not(written: Callable[[Recording], Written]) -> None:
    found = recording("bad_source")
    found["run"]["run_details"]["task_details"] = [
        {"display_name": "validate-data-driver", "state": "FAILED"},
        {"display_name": "validate-data"},
    ]
    told = written(beside(found | {"logs": {}}))
    assert (told.figures["outcome"], told.figures["gate"]) == ("failed", "validate_data")
    assert "could not be started: its driver failed" in told.page and "given" in told.page


def test_what_cannot_be_read_is_said_and_not_guessed(written: Callable[[Recording], Written]) -> None:
    found = written(beside(recording("promoted") | {"logs": {}}))
    assert found.figures["outcome"] == "unknown" and "promoted" not in found.figures
    assert found.refusal == "no"
    assert "what the last one decided cannot be read" in found.page and found.page.count("done, not read") == 7
    assert 'class="badge promoted"' not in found.page


def test_a_step_whose_log_is_gone_is_named_beside_the_outcome(written: Callable[[Recording], Written]) -> None:
    found = recording("promoted")
    found["logs"] = {pod: log for pod, log in found["logs"].items() if '"step":"train"' not in log}
    told = written(beside(found))
    assert told.figures["outcome"] == "promoted"
    assert "Not in this report" in told.page and "train left nothing to read: its pod and log are gone" in told.page


def test_a_step_answered_from_the_cache_is_called_so_and_not_waited_for(written: Callable[[Recording], Written]) -> None:
    found = recording("promoted")
    found["logs"] = {pod: log for pod, log in found["logs"].items() if '"step":"train"' not in log}
    told = written(beside(found, more=({"display_name": "executor", "state": "SKIPPED"},)))
    assert "train was answered from the cache" in told.page


def test_no_right_to_ask_is_said_with_what_gives_it(written: Callable[[Recording], Written]) -> None:
    found = written(recording("promoted") | {"status": 403})
    assert found.figures["outcome"] == "unknown" and "promoted" not in found.figures
    assert "could not be asked" in found.page and "403" in str(found.figures["reason"])


def test_a_report_that_cannot_even_look_for_the_endpoint_still_writes_its_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KF_PIPELINES_ENDPOINT", "ftp://nowhere")
    figures = logic.run({}, "x", 1, page_path=str(tmp_path / "page"), refusal_path=str(tmp_path / "refusal"))
    assert figures["outcome"] == "unknown" and "is no URL" in str(figures["reason"])
    assert "is no URL of an endpoint" in (tmp_path / "page").read_text()


def test_a_page_too_large_gives_way_to_the_outcome_alone(written: Callable[[Recording], Written], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logic, "LARGEST", 1000)
    found = written(beside(recording("refused"), more=REFUSED))
    assert "larger than" in found.page and "is below evaluate.minimum" in found.page and len(found.page) < 20_000


class Time:
    """A clock that sleeping moves."""

    def __init__(self, then: Callable[[float], None] = lambda now: None):
        self.now, self.then = 0.0, then

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.then(self.now)


def test_it_waits_until_the_others_are_done_and_reads_each_when_it_is(replay: Replay) -> None:
    """The steps end one after another; a pod's log is gone soon after, as on a node that is drained."""
    whole, found = recording("promoted"), beside(recording("promoted"))
    every = found["run"]["run_details"]["task_details"]
    ends = {t["display_name"]: t["end_time"] for t in every if str(t.get("display_name")).replace("-", "_") in STEPS}
    order = sorted(ends, key=ends.__getitem__)

    def at(done: int) -> None:
        cut = beside(recording("promoted"), without=tuple(order[done:]))
        logs = {p: log for p, log in whole["logs"].items() if done and f'"step":"{order[done - 1].replace("-", "_")}"' in log}
        last = ends[order[done - 1]] if done else ""
        tasks = [
            t
            for t in cut["run"]["run_details"]["task_details"]
            if not str(t.get("display_name")).startswith("executor") or t["end_time"] <= last
        ]
        found["run"]["run_details"]["task_details"], found["logs"] = tasks, logs

    at(0)
    api = replay(found)
    time = Time(lambda now: (at(min(7, int(now // 100))), replay(found))[0])
    told = await_end(api, "x", seconds=10_000, clock=time, sleep=time.sleep)
    assert told.outcome["outcome"] == "promoted" and 700 <= time.now < 720
    assert [g.step for g in told.gates] == list(STEPS) and told.unread == ()


def test_a_run_that_does_not_end_is_left_when_its_time_is_up(replay: Replay) -> None:
    time = Time()
    told = await_end(replay(beside(recording("promoted"), without=("rollout",))), "x", seconds=600, clock=time, sleep=time.sleep)
    assert told.outcome["outcome"] == "unknown" and "had not ended after 600 s" in told.unread[0] and 600 < time.now < 630
    assert len(told.gates) == 6  # what was read by then is kept


def test_an_endpoint_that_is_away_for_a_while_is_waited_for(replay: Replay) -> None:
    found = beside(recording("refused"), more=REFUSED) | {"status": 503}
    api = replay(found)
    time = Time(lambda now: now > 100 and replay(found | {"status": 200}))
    assert await_end(api, "x", seconds=10_000, patience=300, clock=time, sleep=time.sleep).outcome["outcome"] == "refused"
    replay(found)
    time = Time()
    told = await_end(api, "x", seconds=10_000, patience=50, clock=time, sleep=time.sleep)
    assert told.outcome["outcome"] == "unknown" and "could not be asked for 50 s" in told.unread[0]


def test_between_two_steps_a_run_is_not_over() -> None:
    assert not is_over({"state": "RUNNING", "run_details": {"task_details": []}})
    assert not is_over(beside(recording("promoted"), without=("rollout",))["run"])
    assert is_over(beside(recording("promoted"))["run"])
    assert is_over(beside(recording("refused"), more=REFUSED)["run"])
    assert not is_over(
        beside(recording("refused"), more=({"display_name": "register-driver", "state": "RUNNING"}, {"display_name": "refusal-driver"}))[
            "run"
        ]
    )


def test_a_first_try_that_failed_before_one_that_did_not_is_no_end() -> None:
    tries = ({"display_name": "train-driver(0)", "state": "FAILED"}, {"display_name": "train(0)", "state": "FAILED"})
    assert not is_over(beside(recording("promoted"), without=("rollout",), more=tries)["run"])


def test_a_run_that_fails_because_it_was_refused_is_refused_to_whoever_follows_it(replay: Replay) -> None:
    """`cluster.refusal: fails`: KFP calls the run failed; `sluice submit --wait` ends with 3 as ever."""
    found = beside(
        recording("refused"),
        more=(*REFUSED, {"display_name": "refusal-driver", "state": "SUCCEEDED"}, {"display_name": "refusal", "state": "FAILED"}),
    )
    found["run"]["state"] = "FAILED"
    watch = Watch(replay(found), "x")
    watch.follow(seconds=5, every=0.01)
    assert (watch.outcome()["outcome"], watch.outcome()["exit_code"]) == ("refused", 3)
    with pytest.raises(SystemExit, match="rolled back: its report says why"):
        logic.fail("rolled_back")


def test_of_a_huge_log_only_the_end_is_read(replay: Replay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "LOG", 100_000)
    found = beside(recording("rolled_back"))
    found["logs"] = {pod: "noise " * 500_000 + "\n" + log for pod, log in found["logs"].items()}
    api = replay(found)
    pod = next(iter(found["logs"]))
    assert api.log("x", pod, 1000) == found["logs"][pod][-1000:] and len(api.log("x", pod) or "") > 3_000_000
    assert await_end(api, "x", seconds=10).outcome["outcome"] == "rolled_back"


def test_a_pod_asks_for_a_token_of_its_own_account_and_renews_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    claims = {"kubernetes.io": {"namespace": "team-a", "serviceaccount": {"name": "default-editor"}}}
    mounted = tmp_path / "token"
    mounted.write_text(f"x.{base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip('=')}.y")
    api, asked, now = Kubernetes(), [], [0.0]

    def answer(method: str, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        asked.append((path, body["spec"]["audiences"]))
        return (
            (201, {"status": {"token": f"token-{len(asked)}"}})
            if len(asked) < 3
            else (403, {"message": "may not create serviceaccounts/token"})
        )

    monkeypatch.setattr(api, "answer", answer)
    with kubernetes(api, tmp_path) as path:
        monkeypatch.setenv("KUBECONFIG", str(path))
        token = OwnToken(Kube(), mounted, lambda: now[0])
        assert [token(), token()] == ["token-1", "token-1"]
        assert asked == [("/api/v1/namespaces/team-a/serviceaccounts/default-editor/token", ["pipelines.kubeflow.org"])]
        now[0] = 3000.0
        assert token() == "token-2"
        now[0] = 6000.0
        with pytest.raises(Unauthorised, match="may not create") as caught:
            token()
    assert "kubectl -n team-a create role" in str(caught.value.fix)
    with pytest.raises(Unauthorised, match="no account to show"):
        OwnToken(None, tmp_path / "none")()


def test_the_component_itself_writes_artifacts_that_kubeflow_pipelines_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By kfp's own executor, in a process of its own, against an endpoint at an address: 3 s, most of them kfp's import."""
    from kfp import dsl, local

    from components.report.component import report

    local.init(runner=local.SubprocessRunner(use_venv=False), pipeline_root=str(tmp_path / "root"), raise_on_error=True)
    with serving() as (url, kept):
        kept.update(beside(recording("refused"), more=REFUSED))
        monkeypatch.setenv("KF_PIPELINES_ENDPOINT", url)
        monkeypatch.setenv("KF_PIPELINES_UI_ENDPOINT", "http://dashboard.example")
        task = report(project={"name": "digits", "task": "image"}, run_id="abc", seconds=60)
    assert task.outputs["Output"] == "refused" and task.outputs["refusal"] == "yes"
    assert task.outputs["outcome"].metadata["promoted"] == 0.0 and task.outputs["outcome"].metadata["gate"] == "evaluate"
    assert isinstance(task.outputs["page"], dsl.HTML)
    page = Path(task.outputs["page"].path).read_text()
    assert 'href="http://dashboard.example/#/runs/details/' in page and "<h1>digits</h1>" in page
    assert connect(url).ui == "http://dashboard.example"
