"""When the controller comes back after a look that failed."""

from __future__ import annotations

import asyncio
import http.server
import json
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from serving.rollout import operator
from serving.rollout.kube import ApiFault
from serving.rollout.operator import Schedule

KEY = ("ns", "m")
BODY: dict[str, Any] = {"metadata": {"namespace": "ns", "name": "m", "uid": "u", "generation": 1}}


def test_failed_looks_come_back_soon_at_first_then_less_and_less_and_a_good_one_resets_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(operator, "time", SimpleNamespace(monotonic=lambda: 0.0))
    answers: list[float | Exception] = [ApiFault("made up", 500)] * 12 + [OSError("made up"), 3.0, ApiFault("made up", 500)]

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
            return {"resources": [{"name": plural, "singularName": "", "kind": plural, "verbs": ["list", "watch", "patch"],
                                   "namespaced": plural != "namespaces"}]}  # fmt: skip
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


def watching(refusals: list[int], path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Watched, list[tuple[str, str]]]:
    """`operate` against such a server until the watch is accepted."""
    monkeypatch.setattr(operator, "_PAUSE", 0.05)
    server, looks = Watched(refusals), list[tuple[str, str]]()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    context = {"name": "c", "context": {"cluster": "c", "user": "u"}}
    path.write_text(json.dumps({"apiVersion": "v1", "kind": "Config", "current-context": "c", "users": [{"name": "u", "user": {}}], "contexts": [context],
                                "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}]}))  # fmt: skip
    # $KUBECONFIG was read when the module was loaded.
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(path))

    async def run() -> None:
        schedule = Schedule(lambda namespace, name: looks.append((namespace, name)))
        operating = asyncio.create_task(operator.operate(None, schedule, namespaces=["ns"], clusterwide=False))  # type: ignore[arg-type]
        end = time.monotonic() + 20
        while not operating.done() and not (server.accepted and looks) and time.monotonic() < end:
            await asyncio.sleep(0.02)
        if operating.done():
            await operating
        operating.cancel()
        await asyncio.gather(operating, return_exceptions=True)

    try:
        asyncio.run(run())
    finally:
        server.shutdown()
        server.server_close()
    return server, looks


def test_a_refused_watch_is_begun_anew_by_the_same_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    server, looks = watching([410], tmp_path / "kubeconfig", monkeypatch)
    assert (server.refusals, server.accepted, set(looks)) == ([], 1, {KEY})


def test_watches_that_are_refused_again_and_again_end_the_process_with_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(operator, "_TRIES", 2)
    with pytest.raises(Exception, match="made up"):
        watching([410] * 100, tmp_path / "kubeconfig", monkeypatch)
