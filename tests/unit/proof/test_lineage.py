"""OpenLineage events against a real HTTP server: their shape, what is in them, and an endpoint that fails."""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from sluice.core import events
from sluice.core.errors import ProjectError, SluiceError
from sluice.core.gate import Gate
from sluice.project import Project, parse
from sluice.steps import execute, lineage

_FACETS = {
    "type": "object",
    "additionalProperties": {
        "type": "object",
        "required": ["_producer", "_schemaURL"],
        "properties": {"_producer": {"type": "string", "format": "uri"}, "_schemaURL": {"type": "string", "format": "uri"}},
    },
}
_DATASETS = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["namespace", "name"],
        "additionalProperties": False,
        "properties": {
            "namespace": {"type": "string", "minLength": 1},
            "name": {"type": "string", "minLength": 1},
            "facets": _FACETS,
            "inputFacets": _FACETS,
            "outputFacets": _FACETS,
        },
    },
}
#: What OpenLineage 2-0-2 asks of a run's event.
RUN_EVENT = {
    "type": "object",
    "required": ["eventType", "eventTime", "producer", "schemaURL", "run", "job"],
    "properties": {
        "eventType": {"enum": ["START", "RUNNING", "COMPLETE", "ABORT", "FAIL", "OTHER"]},
        "eventTime": {"type": "string", "format": "date-time", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$"},
        "producer": {"type": "string", "format": "uri"},
        "schemaURL": {"type": "string", "format": "uri"},
        "run": {
            "type": "object",
            "required": ["runId"],
            "properties": {"runId": {"type": "string", "pattern": "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"}, "facets": _FACETS},
        },
        "job": {
            "type": "object",
            "required": ["namespace", "name"],
            "properties": {"namespace": {"type": "string"}, "name": {"type": "string"}, "facets": _FACETS},
        },
        "inputs": _DATASETS,
        "outputs": _DATASETS,
    },
}


class Endpoint:
    """Takes events as an OpenLineage server does; `status` is what it answers, `pause` how long it thinks."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.status, self.pause, self.url = 201, 0.0, ""


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    found = Endpoint()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            time.sleep(found.pause)
            found.events.append(json.loads(body) | {"path": self.path})
            found.headers.append(dict(self.headers))
            with contextlib.suppress(OSError):
                self.send_response(found.status)
                self.end_headers()
                self.wfile.write(b"no room" if found.status >= 400 else b"")

        def log_message(self, *_: Any) -> None:
            return

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    found.url = f"http://127.0.0.1:{server.server_port}"
    yield found
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lineage, "_down", set())
    monkeypatch.setattr(execute, "_opened", [])
    monkeypatch.setattr(execute, "_steps", [])
    monkeypatch.setattr(execute, "_done", [])
    for name in (lineage.URL_ENV, lineage.KEY_ENV, lineage.NAMESPACE_ENV, execute.RUNNER_PID, execute.AUDIT_ENV):
        monkeypatch.delenv(name, raising=False)


def project(tmp_path: Path, url: str | None, source: str = "rows.csv") -> Project:
    return parse({"name": "demo", "task": "text", "data": {"source": source}, "tracking": {"openlineage": url}}, base_dir=tmp_path)


PREPARED = {"digest": "d" * 64, "rows": {"train": 8, "test": 4}, "columns": {"text": "text", "label": "category"}}
REGISTERED = {"digest": "e" * 64, "uri": "s3://store/models/sha256/" + "e" * 64}


def test_a_promoted_run_is_told_from_its_source_to_its_package(endpoint: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = uuid.uuid4()
    monkeypatch.setenv(events.NONCE_ENV, run.hex)
    monkeypatch.setenv(lineage.KEY_ENV, "secret")
    p = project(tmp_path, endpoint.url)
    lineage.begun(p, "validate_data")
    for gate in (
        Gate("validate_data", "pass"),
        Gate("preprocess", "pass", (), PREPARED),
        Gate("train", "pass"),
        Gate("register", "pass", (), REGISTERED),
        Gate("rollout", "pass", ("ready",), {"outcome": "promoted"}),
    ):
        lineage.begun(p, gate.step) if gate.step != "validate_data" else None
        lineage.ended(p, gate)
    for e in endpoint.events:
        jsonschema.validate(e, RUN_EVENT)
    assert [e["eventType"] for e in endpoint.events] == ["START", "RUNNING", "RUNNING", "COMPLETE"]
    assert {e["run"]["runId"] for e in endpoint.events} == {str(run)} and {e["path"] for e in endpoint.events} == {"/api/v1/lineage"}
    start, prepared, registered, over = endpoint.events
    source = ("file", str(tmp_path / "rows.csv"))
    assert [(d["namespace"], d["name"]) for d in (*start["inputs"], *prepared["inputs"])] == [source, source]
    (rows,) = prepared["outputs"]
    assert rows["facets"]["version"]["datasetVersion"] == "sha256:" + "d" * 64
    assert rows["facets"]["schema"]["fields"] == [{"name": "text", "type": "text"}, {"name": "label", "type": "category"}]
    assert rows["outputFacets"]["outputStatistics"]["rowCount"] == 12
    (package,) = registered["outputs"]
    assert (package["namespace"], package["name"]) == ("s3://store", "models/sha256/" + "e" * 64)
    assert over["run"]["facets"]["sluice_outcome"]["outcome"] == "promoted"
    assert endpoint.headers[0]["Authorization"] == "Bearer secret"


def test_a_refusal_completes_the_run_and_a_failure_fails_it(endpoint: Endpoint, tmp_path: Path) -> None:
    p = project(tmp_path, endpoint.url)
    lineage.ended(p, Gate("evaluate", "refuse", ("accuracy 0.5",), {}))
    lineage.failed(p, "train", "no space")
    refused, failed = endpoint.events
    for e in endpoint.events:
        jsonschema.validate(e, RUN_EVENT)
    assert refused["eventType"] == "COMPLETE" and refused["run"]["facets"]["sluice_outcome"]["outcome"] == "refused"
    assert failed["eventType"] == "FAIL" and failed["run"]["facets"]["errorMessage"]["message"] == "train: no space"


def test_a_step_tells_its_end_and_its_failure(endpoint: Endpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    p = project(tmp_path, endpoint.url)

    def work() -> Gate:
        execute.opened(p)
        raise SluiceError("no rows")

    with pytest.raises(SystemExit):
        execute.run_step(work, str(tmp_path / "a" / "b" / "gate.json"), step="validate_data")
    assert [e["eventType"] for e in endpoint.events] == ["START", "FAIL"]


@pytest.mark.parametrize(("status", "pause"), [(500, 0.0), (201, 1.5)])
def test_an_endpoint_that_fails_is_said_once_and_stops_nothing(
    endpoint: Endpoint, tmp_path: Path, status: int, pause: float, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(lineage, "_SECONDS", 0.5)
    endpoint.status, endpoint.pause = status, pause
    p = project(tmp_path, endpoint.url)
    begun = time.monotonic()
    lineage.begun(p, "validate_data")
    lineage.ended(p, Gate("preprocess", "pass", (), PREPARED))
    assert time.monotonic() - begun < 1.5
    said = capsys.readouterr()
    assert said.err.count("did not take the START event, the run goes on") == 1
    assert '"kind":"note"' in said.out


def test_nobody_there_is_said_too_and_without_an_address_nothing_is_sent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lineage.begun(project(tmp_path, "http://127.0.0.1:9"), "validate_data")
    assert "did not take" in capsys.readouterr().err
    lineage.begun(project(tmp_path, None), "validate_data")
    assert capsys.readouterr().err == ""


def test_evidence_of_another_shape_stops_nothing(endpoint: Endpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lineage.ended(project(tmp_path, endpoint.url), Gate("preprocess", "pass", (), {}))
    assert "could not be told, the run goes on: KeyError" in capsys.readouterr().err and endpoint.events == []


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("s3://bucket/a/b.csv", ("s3://bucket", "a/b.csv")),
        ("https://ada:secret@example.com:8443/rows.csv", ("https://example.com:8443", "rows.csv")),
        ("sklearn://digits", ("sklearn", "digits")),
        ("/data/rows.csv", ("file", "/data/rows.csv")),
        ("file:///data/a%20b.csv", ("file", "/data/a b.csv")),
        ("data/*.csv", ("file", "/project/data/*.csv")),
    ],
)
def test_datasets_are_named_as_openlineage_names_them(uri: str, name: tuple[str, str]) -> None:
    assert lineage.named(uri, Path("/project")) == name


def test_the_address_is_the_projects_then_the_variables_and_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(lineage.URL_ENV, "https://lineage.example.com/own/path")
    assert lineage.address(project(tmp_path, "http://marquez:5000")) == "http://marquez:5000/api/v1/lineage"
    assert lineage.address(project(tmp_path, None)) == "https://lineage.example.com/own/path"
    with pytest.raises(ProjectError, match="no address of an OpenLineage endpoint"):
        project(tmp_path, "marquez:5000")
