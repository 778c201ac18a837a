"""When the controller comes back after a look that failed."""

from __future__ import annotations

import asyncio
import http.server
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from serving.controller import operator
from serving.controller.operator import Schedule
from sluice.core.processes import wait_until
from sluice.kube.client import KubeFault

ROOT = Path(__file__).parents[3]

KEY = ("ns", "m")
BODY: dict[str, Any] = {"metadata": {"namespace": "ns", "name": "m", "uid": "u", "generation": 1}}


def test_failed_looks_come_back_soon_at_first_then_less_and_less_and_a_good_one_resets_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(operator, "time", SimpleNamespace(monotonic=lambda: 0.0))
    answers: list[float | Exception] = [KubeFault("made up", 500)] * 12 + [OSError("made up"), 3.0, KubeFault("made up", 500)]

    def look(namespace: str, name: str) -> float | None:
        found = answers.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    async def made() -> Schedule:
        schedule = Schedule(look)
        schedule.seen("ADDED", BODY)
        return schedule

    schedule = asyncio.run(made())
    waits = []
    for _ in range(15):
        asyncio.run(schedule._one(KEY))
        waits.append(schedule.due[KEY])
    assert waits == [1, 2, 4, 8, *[10] * 9, 3, 1]


def test_watch_events_of_our_own_writes_wake_nobody_and_those_of_people_do():
    async def made() -> None:
        schedule = Schedule(lambda namespace, name: None)
        schedule.seen("ADDED", BODY)
        first = schedule.due[KEY]
        schedule.seen("MODIFIED", {**BODY, "status": {"phase": "Step"}})
        assert schedule.due[KEY] == first
        annotated = {"metadata": {**BODY["metadata"], "annotations": {"sluice.dev/command": "pause#1"}}}
        schedule.seen("MODIFIED", annotated)
        assert schedule.due[KEY] > first
        schedule.seen("DELETED", annotated)
        assert KEY not in schedule.due

    asyncio.run(made())


class Watched(http.server.ThreadingHTTPServer):
    """An API server with one rollout to watch, whose watches are refused with these statuses at first."""

    daemon_threads = True

    def __init__(self, refusals: list[int]):
        self.refusals, self.accepted = refusals, 0
        super().__init__(("127.0.0.1", 0), Watch)


PLURALS = {"sluice.dev/v1alpha1": "modelrollouts", "gateway.networking.k8s.io/v1": "httproutes"}


class Watch(http.server.BaseHTTPRequestHandler):
    server: Watched

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        mine = path.endswith("/ns/modelrollouts")
        if "watch=" not in query:
            self.say(200, self.listed(path, mine))
        elif mine and self.server.refusals:
            self.say(self.server.refusals.pop(0), {"kind": "Status", "message": "made up"})
        else:
            self.server.accepted += mine
            self.send_response(200)
            self.end_headers()
            time.sleep(30)

    def listed(self, path: str, mine: bool) -> dict[str, Any]:
        if path == "/apis":
            versions = {g: {"groupVersion": g, "version": g.split("/")[1]} for g in PLURALS}
            return {"groups": [{"name": g.split("/")[0], "versions": [v], "preferredVersion": v} for g, v in versions.items()]}
        if plural := PLURALS.get(path.removeprefix("/apis/"), "namespaces" if path == "/api/v1" else ""):
            return {
                "resources": [
                    {
                        "name": plural,
                        "singularName": "",
                        "kind": plural,
                        "verbs": ["list", "watch", "patch"],
                        "namespaced": plural != "namespaces",
                    }
                ]
            }
        if path == "/api":
            return {"versions": ["v1"]}
        items = [{"apiVersion": "sluice.dev/v1alpha1", "kind": "ModelRollout", **BODY}] if mine else []
        return {"metadata": {"resourceVersion": "1"}, "items": items}

    def say(self, status: int, body: dict[str, Any]) -> None:
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Callable[..., tuple[Watched, subprocess.Popen[str]]]]:
    """The controller as a process against such a server."""
    running: list[tuple[Watched, subprocess.Popen[str]]] = []

    def start(refusals: list[int], **env: str) -> tuple[Watched, subprocess.Popen[str]]:
        server = Watched(refusals)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        context = {"name": "c", "context": {"cluster": "c", "user": "u"}}
        config = tmp_path / "kubeconfig"
        config.write_text(
            json.dumps(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "c",
                    "users": [{"name": "u", "user": {}}],
                    "contexts": [context],
                    "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
                }
            )
        )
        command = [sys.executable, "-m", "serving.controller", "--namespace", "ns", "--lease", "", "--metrics-port", "0"]
        process = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, "KUBECONFIG": str(config), **env}, stderr=subprocess.PIPE, text=True
        )
        running.append((server, process))
        return running[-1]

    yield start
    for server, process in running:
        process.kill()
        process.communicate()
        server.shutdown()
        server.server_close()


def test_a_refused_watch_is_begun_anew_by_the_same_process_which_still_ends_when_told(
    watched: Callable[..., tuple[Watched, subprocess.Popen[str]]],
):
    server, process = watched([410])
    wait_until(lambda: bool(server.accepted), what="the second watch", seconds=200, process=process)  # type: ignore[arg-type]
    assert server.refusals == []
    process.terminate()
    _, said = process.communicate(timeout=30)
    assert "the watches ended by APIClientError" in said


def test_watches_that_end_again_and_again_end_the_process_with_the_reason(watched: Callable[..., tuple[Watched, subprocess.Popen[str]]]):
    _, process = watched([410] * 9, SLUICE_WATCHES_ENDED="9")
    _, said = process.communicate(timeout=200)
    assert process.returncode == 1
    assert "made up" in said and "again in" not in said
