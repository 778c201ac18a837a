"""`sluice rollout`: exit status, one JSON object, and errors that name the nearest rollout."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from sluice.cli import main
from sluice.rollouts.state import Note, State
from sluice.rollouts.store import Store

CHECK = {
    "metric": "errors",
    "reason": "errors 30 of 300 (10.00%) against 0 of 2700 (0.00%): shown to be more than 0 points worse",
    "e_worse": 812.0,
    "e_within": 0.0,
    "verdict": "fail",
    "tolerance": 0.0,
    "margin": 0.02,
    "stable": {"n": 2700, "bad": 0},
    "candidate": {"n": 300, "bad": 30},
}


def write(home: Path, name: str, phase: str, outcome: str | None) -> None:
    """A rollout as its driver leaves it."""
    store = Store(home, name)
    store.fresh()
    state = State(stable="a" * 64, phase=phase, reasons=(CHECK["reason"],), sequence=2)  # type: ignore[arg-type]
    store.note(Note(1, "phase", "step 1 of 2: 10 % to the candidate", {"phase": "Step"}), 100.0)
    store.note(Note(2, "verdict", f"fail: {CHECK['reason']}", {"verdict": "fail", "checks": [CHECK]}), 104.5)
    store.save(state, view={"tests": [CHECK], "weight": 0}, plan={"steps": [10, 50]}, started=100.0, stable="a" * 64, candidate="b" * 64)
    if outcome:
        store.finish({"outcome": outcome})


def said(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


@pytest.mark.parametrize(("phase", "outcome", "code"), [("Succeeded", "promoted", 0), ("RolledBack", "rolled_back", 4), ("Step", None, 1)])
def test_watch_ends_with_the_status_of_the_rollout_and_prints_one_object(
    phase: str, outcome: str | None, code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    write(tmp_path, "intents", phase, outcome)
    assert main(["rollout", "watch", "intents", "--json", "--home", str(tmp_path)]) == code
    found = said(capsys)
    assert (found["phase"], found["outcome"], found["exit_code"]) == (phase, outcome, code)


def test_explain_gives_each_decision_with_its_numbers_and_status_the_present(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    write(tmp_path, "intents", "RolledBack", "rolled_back")
    assert main(["rollout", "explain", "intents", "--home", str(tmp_path)]) == 0
    explained = capsys.readouterr().out
    assert "0.0 s  step 1 of 2: 10 % to the candidate" in explained
    assert "4.5 s  fail: errors 30 of 300" in explained and "evidence against 812; for 0" in explained
    assert main(["rollout", "status", "intents", "--home", str(tmp_path)]) == 0
    status = capsys.readouterr().out
    assert status.startswith("intents: RolledBack") and "step 1 of 2" not in status
    assert main(["rollout", "explain", "intents", "--json", "--home", str(tmp_path)]) == 0
    assert [e["sequence"] for e in said(capsys)["events"]] == [1, 2]


@pytest.mark.parametrize("command", ["status", "watch", "explain", "pause", "promote"])
def test_unknown_name_is_the_users_mistake_and_the_nearest_is_named(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    write(tmp_path, "intents", "RolledBack", "rolled_back")
    assert main(["rollout", command, "intent", "--json", "--home", str(tmp_path)]) == 2
    found = said(capsys)
    assert (found["field"], found["value"]) == ("NAME", "'intent'") and "did you mean 'intents'" in found["fix"]


def test_steering_a_rollout_that_is_over_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    write(tmp_path, "intents", "RolledBack", "rolled_back")
    assert main(["rollout", "abort", "intents", "--home", str(tmp_path)]) == 2
    assert "is not running" in capsys.readouterr().err


# -- on a cluster ----------------------------------------------------------------------------------

BASE = "/apis/sluice.dev/v1alpha1/namespaces/ml/modelrollouts"


class ApiServer(ThreadingHTTPServer):
    """Answers for the ModelRollouts it holds, over plain HTTP, and takes merge patches of annotations."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *args: Any) -> None:
                return

            def answer(self, code: int, value: Any) -> None:
                body = json.dumps(value).encode()
                self.send_response(code)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self) -> None:
                name = self.path.partition("?")[0].removeprefix(BASE).strip("/")
                if not name:
                    self.answer(200, {"items": list(outer.objects.values())})
                elif name in outer.objects:
                    self.answer(200, outer.objects[name])
                else:
                    self.answer(404, {"kind": "Status", "message": "not found"})

            def do_PATCH(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                found = outer.objects[self.path.partition("?")[0].removeprefix(BASE + "/")]
                found["metadata"].setdefault("annotations", {}).update(body["metadata"]["annotations"])
                self.answer(200, found)

        super().__init__(("127.0.0.1", 0), Handler)
        Thread(target=self.serve_forever, daemon=True).start()


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    server = ApiServer()
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "users": [{"name": "u", "user": {}}],
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{server.server_address[1]}"}}],
    }
    path = tmp_path / "kubeconfig.json"
    path.write_text(json.dumps(config))
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(path))
    yield server
    server.shutdown()
    server.server_close()


def resource(phase: str, *, generation: int = 3, observed: int = 3, accepted: str = "True") -> dict[str, Any]:
    history = [{"sequence": 7, "time": "2026-11-20T10:00:00Z", "kind": "verdict", "message": f"fail: {CHECK['reason']}", "checks": [CHECK]}]
    status = {
        "phase": phase,
        "message": CHECK["reason"],
        "observedGeneration": observed,
        "stable": "a" * 12,
        "history": history,
        "conditions": [{"type": "Accepted", "status": accepted}],
        "state": {"step": 0},
    }
    return {
        "metadata": {"name": "intents", "namespace": "ml", "generation": generation},
        "spec": {"strategy": {"steps": [10]}},
        "status": status,
    }


@pytest.mark.parametrize(
    ("found", "code"),
    [
        (resource("Succeeded"), 0),
        (resource("RolledBack"), 4),
        (resource("Failed"), 1),
        (resource("Succeeded", accepted="False"), 1),
    ],
)
def test_watch_on_a_cluster_ends_as_on_this_machine(
    cluster: ApiServer, found: dict[str, Any], code: int, capsys: pytest.CaptureFixture[str]
):
    cluster.objects["intents"] = found
    assert main(["rollout", "watch", "intents", "-n", "ml", "--json"]) == code
    assert said(capsys)["exit_code"] == code


def test_spec_the_controller_has_not_seen_yet_is_not_taken_for_the_end(cluster: ApiServer, capsys: pytest.CaptureFixture[str]):
    cluster.objects["intents"] = resource("Succeeded", generation=4)
    assert main(["rollout", "status", "intents", "-n", "ml", "--json"]) == 0
    found = said(capsys)
    assert found["running"] and found["outcome"] is None


def test_explain_and_commands_reach_the_cluster(cluster: ApiServer, capsys: pytest.CaptureFixture[str]):
    cluster.objects["intents"] = resource("Step")
    assert main(["rollout", "explain", "intents", "-n", "ml"]) == 0
    assert "evidence against 812" in capsys.readouterr().out
    for command in ("pause", "resume", "abort", "promote", "retry"):
        assert main(["rollout", command, "intents", "-n", "ml"]) == 0
        assert cluster.objects["intents"]["metadata"]["annotations"]["sluice.dev/command"].startswith(f"{command}#")


def test_unknown_name_on_a_cluster_names_the_nearest(cluster: ApiServer, capsys: pytest.CaptureFixture[str]):
    cluster.objects["intents"] = resource("Step")
    assert main(["rollout", "status", "intent", "-n", "ml", "--json"]) == 2
    assert "did you mean 'intents'" in said(capsys)["fix"]


def test_cluster_that_does_not_answer_is_a_fault_in_words(cluster: ApiServer, capsys: pytest.CaptureFixture[str]):
    cluster.shutdown()
    cluster.server_close()
    assert main(["rollout", "status", "intents", "-n", "ml"]) == 1
    assert "the API server does not answer" in capsys.readouterr().err


def test_without_the_kubernetes_client_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setitem(sys.modules, "kubernetes", None)
    assert main(["rollout", "status", "intents", "-n", "ml"]) == 2
    assert "sluice-ml[cluster]" in capsys.readouterr().err
