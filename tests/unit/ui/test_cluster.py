"""The page over a cluster: its resources, MLflow and Kubeflow Pipelines behind one small server; and what is said where one does not answer."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest

from tests.tools.ui_server import Served, served

EVIL = "<script>alert(1)</script>"
OURS = "/apis/sluice.dev/v1alpha1/namespaces/ml"
ROLLOUT = {
    "metadata": {"name": "intents", "namespace": "ml", "generation": 1, "uid": "u"},
    "spec": {"model": {"name": "intents"}, "strategy": {"steps": [10, 50]}},
    "status": {
        "phase": "Step", "stage": "collect", "weight": 10, "verdict": "wait", "observedGeneration": 1, "message": EVIL, "stable": "ab" * 32, "candidate": "cd" * 32,
        "state": {"step": 0, "window": {}, "last_time": 1795867200.0, "phase": "Step", "stable": "ab" * 32, "candidate": "cd" * 32},
        "checks": [{"metric": "errors", "verdict": "wait", "e_within": 3.2, "e_worse": 0.9, "stable": {"n": 90, "bad": 0}, "candidate": {"n": 9, "bad": 0}}],
        "history": [{"sequence": 1, "time": "2026-11-20T10:00:00Z", "kind": "phase", "message": "step 1 of 2: 10 % to the candidate"}],
    },
}  # fmt: skip
MONITOR = {
    "metadata": {"name": "watch", "namespace": "ml"},
    "spec": {"model": "intents"},
    "status": {
        "phase": "Watching", "rows": 5000, "windows": 5, "drift": "0.41", "feature": "age", "message": "age moved",
        "conditions": [{"type": "Drifted", "status": "True", "message": f"age moved {EVIL}"}],
    },
}  # fmt: skip
RUNS = [
    {"run_id": "11-22", "display_name": "intents-20261128-120000-ab12", "state": "SUCCEEDED", "created_at": "2026-11-28T12:00:00Z", "finished_at": "2026-11-28T12:05:00Z"},
    {"run_id": "33-44", "display_name": "intents-20261127-120000-ab13", "state": "FAILED", "created_at": "2026-11-27T12:00:00Z", "error": {"message": EVIL}},
]  # fmt: skip
MODEL = {"name": "intents", "aliases": [{"alias": "champion", "version": "2"}]}
VERSION = {
    "name": "intents", "version": "2", "creation_timestamp": 1795867200000,
    "tags": [{"key": "sluice.digest", "value": "ab" * 32}, {"key": "sluice.metric.accuracy", "value": "0.93"}],
}  # fmt: skip


class Cluster(ThreadingHTTPServer):
    """Answers as the three do; what is in `away` answers with that status instead."""

    daemon_threads = True

    def __init__(self) -> None:
        self.away: dict[str, int] = {}
        self.patches: list[dict[str, Any]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: Any) -> None:
                return

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                path = self.path.partition("?")[0]
                if self.command == "PATCH":
                    outer.patches.append(json.loads(body))
                status = next((s for start, s in outer.away.items() if path.startswith(start)), 200)
                found = {"message": "no"} if status != 200 else outer.found(path)
                data = json.dumps(found or {"message": "not found"}).encode()
                self.send_response(status if found else 404)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PATCH = answer

        super().__init__(("127.0.0.1", 0), Handler)
        Thread(target=self.serve_forever, daemon=True).start()

    def found(self, path: str) -> Any:
        return {
            f"{OURS}/modelrollouts": {"items": [ROLLOUT]},
            f"{OURS}/modelrollouts/intents": ROLLOUT,
            f"{OURS}/modelmonitors": {"items": [MONITOR]},
            "/apis/v2beta1/healthz": {"multi_user": False},
            "/apis/v2beta1/runs": {"runs": RUNS},
            "/apis/v2beta1/runs/11-22": RUNS[0],
            "/apis/v2beta1/runs/33-44": RUNS[1],
            "/api/2.0/mlflow/registered-models/search": {"registered_models": [MODEL]},
            "/api/2.0/mlflow/registered-models/get": {"registered_model": MODEL},
            "/api/2.0/mlflow/model-versions/search": {"model_versions": [VERSION]},
        }.get(path)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    server = Cluster()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def ui(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("cluster")
    at = f"http://127.0.0.1:{cluster.server_address[1]}"
    (folder / "kubeconfig").write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "c",
                "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
                "users": [{"name": "u", "user": {}}],
                "clusters": [{"name": "c", "cluster": {"server": at}}],
            }
        )
    )
    env = {"KUBECONFIG": str(folder / "kubeconfig"), "MLFLOW_TRACKING_URI": at}
    with served(folder / "home", "--namespace", "ml", "--endpoint", at, "--actions", env=env) as found:
        yield found


@pytest.fixture(scope="module")
def reader(ui: Served) -> Iterator[httpx.Client]:
    with ui.client() as client:
        yield client


def test_every_page_shows_what_the_cluster_holds(reader: httpx.Client) -> None:
    for address, words in {
        "/": "intents-20261128-120000-ab12",
        "/?outcome=failed": "intents-20261127-120000-ab13",
        "/models": "version 2",
        "/models/intents": "accuracy",
        "/rollouts": "10 %",
        "/rollouts/intents": "step 1 of 2",
        "/monitors": "age moved",
        "/audit": "Nothing is written",
        "/runs/33-44": "failed",
    }.items():
        answer = reader.get(address)
        assert answer.status_code == 200, (address, answer.text[-900:])
        assert words in answer.text, address
        assert "<script>alert" not in answer.text, address


def test_a_list_tells_what_a_run_came_to_once_its_logs_are_read(reader: httpx.Client) -> None:
    """Kubeflow Pipelines' own word stands there until then: nobody waits for a list."""
    word = re.compile(r'class="badge[^"]*">([^<]+)<')
    until, listed = time.monotonic() + 60, [""]
    while (listed := word.findall(reader.get("/").text)) == ["succeeded", "failed"]:
        assert time.monotonic() < until, listed
        time.sleep(0.1)
    assert listed == ["failed" if r == "33-44" else word.findall(reader.get(f"/runs/{r}").text)[0] for r in ("11-22", "33-44")]


def test_a_command_goes_by_the_annotation_with_why_and_who(ui: Served, cluster: Cluster) -> None:
    answer = httpx.post(f"{ui.url}/rollouts/intents/pause", data={"reason": "lunch"}, headers={"authorization": f"Bearer {ui.token}"})
    assert answer.status_code == 303
    notes = cluster.patches[-1]["metadata"]["annotations"]
    assert (
        notes["sluice.dev/command"].startswith("pause#") and notes["sluice.dev/reason"] == "lunch (in sluice ui)" and notes["sluice.dev/by"]
    )


@pytest.mark.parametrize(
    ("start", "status", "address", "code", "words"),
    [
        (f"{OURS}/modelrollouts", 403, "/rollouts", 403, "does not let you"),
        (f"{OURS}/modelmonitors", 404, "/monitors", 502, "kubectl apply -k manifests/crds"),
        (f"{OURS}/modelrollouts", 500, "/rollouts/intents", 502, "ModelRollout ml/intents"),
        ("/api/2.0/mlflow", 403, "/models", 502, "tracking.uri"),
        ("/apis/v2beta1/runs/11-22", 401, "/runs/11-22", 403, "does not know who asks (401)"),
        ("/apis/v2beta1/runs/11-22", 404, "/runs/11-22", 404, "has no such thing (404)"),
    ],
)
def test_what_does_not_answer_is_named_and_the_rest_goes_on(
    reader: httpx.Client, cluster: Cluster, start: str, status: int, address: str, code: int, words: str
) -> None:
    cluster.away = {start: status}
    try:
        answer = reader.get(address)
        assert (answer.status_code, words in answer.text) == (code, True), answer.text[-900:]
        assert reader.get("/audit").status_code == 200
    finally:
        cluster.away = {}


def test_names_are_not_paths_of_the_api(reader: httpx.Client) -> None:
    for address in ("/rollouts/..%2f..%2fpods", "/rollouts/a%3Fb", "/runs/..%2f..%2fexperiments", "/rollouts/nobody", "/models/nobody"):
        assert reader.get(address).status_code == 404, address


def test_without_a_registry_the_page_of_models_says_which_address_is_missing(cluster: Cluster, tmp_path: Path) -> None:
    with (
        served(tmp_path, "--namespace", "ml", "--endpoint", "http://127.0.0.1:1", env={"MLFLOW_TRACKING_URI": ""}) as ui,
        ui.client() as client,
    ):
        answer = client.get("/models")
        assert answer.status_code == 502 and "MLFLOW_TRACKING_URI" in answer.text
        assert client.get("/").status_code == 502
