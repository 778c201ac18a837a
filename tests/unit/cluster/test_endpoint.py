"""What happens when Kubeflow Pipelines is not there, does not let us in, or is something else; and how it is found."""

from __future__ import annotations

import http.server
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from sluice import Client
from sluice.cli import main
from sluice.core.errors import ProjectError
from sluice.core.processes import free_port
from sluice.kfp.client import Api
from sluice.kfp.connection import connect
from sluice.kfp.errors import Conflict, EndpointFault, NotFound, Rejected, Unauthorised, Unreachable
from sluice.kfp.submit import _ensure


class Door(http.server.BaseHTTPRequestHandler):
    """Answers every request with what the test set, and keeps what it was asked."""

    status, body, headers_out = 200, b"{}", {}
    seen: list[tuple[str, str, dict[str, str]]] = []

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("content-length") or 0))
        Door.seen.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}))
        self.send_response(Door.status)
        for key, value in Door.headers_out.items():
            self.send_header(key, value)
        self.send_header("content-length", str(len(Door.body)))
        self.end_headers()
        self.wfile.write(Door.body)

    do_GET = do_POST = _answer

    def log_message(self, *args: Any) -> None:
        return


@pytest.fixture
def door() -> Iterator[str]:
    Door.status, Door.body, Door.headers_out, Door.seen = 200, b"{}", {}, []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Door)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def _no_ambient_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KF_PIPELINES_ENDPOINT", "KF_PIPELINES_TOKEN", "KF_PIPELINES_UI_ENDPOINT", "KUBECONFIG"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("status", "headers", "body", "kind", "code"),
    [
        (401, {}, b"no", Unauthorised, 2),
        (403, {}, b'{"message": "cannot create runs"}', Unauthorised, 2),
        (302, {"location": "https://login.example/"}, b"", Unauthorised, 2),
        (404, {}, b'{"message": "Run x not found"}', NotFound, 2),
        (409, {}, b"{}", Conflict, 2),
        (400, {}, b'{"error_message": "bad filter"}', Rejected, 2),
        (500, {}, b"oops", EndpointFault, 1),
        (200, {}, b"<html>log in</html>", EndpointFault, 1),
        (200, {}, b"[]", EndpointFault, 1),
    ],
)
def test_every_refusal_is_its_own_error_with_a_fix(
    door: str, status: int, headers: dict[str, str], body: bytes, kind: type[Exception], code: int
) -> None:
    Door.status, Door.headers_out, Door.body = status, headers, body
    with pytest.raises(kind) as caught:
        Api(connect(door), tries=1).run("x")
    error: Any = caught.value
    assert type(error) is kind and error.exit_code == code and error.fix
    if body.startswith(b"{") and len(body) > 2:
        assert next(iter(json.loads(body).values())) in error.message


def test_nothing_there_is_told_as_that() -> None:
    with pytest.raises(Unreachable, match="does not answer") as caught:
        Api(connect(f"http://127.0.0.1:{free_port()}"), tries=2).health()
    assert "ml-pipeline" in str(caught.value.fix)


def test_an_endpoint_that_takes_the_request_and_says_nothing_runs_into_the_time_limit() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(Unreachable, match="timed out"):
            Api(connect(f"http://127.0.0.1:{silent.getsockname()[1]}"), timeout=0.3, tries=1).health()


def test_a_read_is_tried_again_after_a_server_fault_and_a_write_is_not(door: str) -> None:
    Door.status = 500
    with pytest.raises(EndpointFault):
        Api(connect(door), tries=2).health()
    assert len(Door.seen) == 2
    with pytest.raises(EndpointFault):
        Api(connect(door), tries=2).create_experiment("x", None)
    assert [m for m, _, _ in Door.seen] == ["GET", "GET", "POST"]


def test_a_token_file_is_read_anew_for_each_request(door: str, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("first\n")
    api = Api(connect(door, token_file=file))
    api.health()
    file.write_text("second\n")
    api.health()
    assert [h["authorization"] for _, _, h in Door.seen] == ["Bearer first", "Bearer second"]
    assert "first" not in repr(api.connection)


def test_names_are_quoted_in_paths_and_filters(door: str) -> None:
    api = Api(connect(door + "/pipeline/"))
    api.run("../x y")
    api.pipeline('a"b', "team")
    paths = [p for _, p, _ in Door.seen]
    assert paths[0] == "/pipeline/apis/v2beta1/runs/..%2Fx%20y"
    assert "namespace=team" in paths[1] and "%5C%22" in paths[1]


def test_a_failure_in_the_middle_of_a_log_is_not_part_of_it(door: str) -> None:
    api = Api(connect(door))
    Door.body = b'hello\nworld\n{"error_message":"gone","error_details":"x"}'
    assert api.log("r", "p") == "hello\nworld\n"
    Door.body = b'{"error_message":"no such pod"}'
    assert api.log("r", "p") is None
    Door.body = b""
    assert api.log("r", "p") == ""


@pytest.mark.parametrize(
    "endpoint", ["kubeflow:8888", "ftp://x", "http://", "http://h:99999", "http://u:p@h/", "http://h/?q=1", "http://h/#/runs"]
)
def test_what_is_no_endpoint_is_refused_before_anything_is_sent(endpoint: str) -> None:
    with pytest.raises(ProjectError) as caught:
        connect(endpoint)
    assert caught.value.field == "--endpoint" and caught.value.fix


@pytest.mark.parametrize("content", [b"", b"two words\n", b"\xff\xfe"])
def test_a_token_file_without_a_token_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "token"
    file.write_bytes(content)
    with pytest.raises(ProjectError, match="token"):
        connect("http://h", token_file=file)
    with pytest.raises(ProjectError, match="cannot be read"):
        connect("http://h", token_file=tmp_path / "none")
    with pytest.raises(ProjectError, match="both"):
        connect("http://h", token="x", token_file=file)


def test_a_kubeconfig_leads_through_the_api_servers_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "one",
        "clusters": [{"name": "c", "cluster": {"server": "https://cluster.example:6443"}}],
        "users": [{"name": "u", "user": {"token": "abc"}}],
        "contexts": [{"name": "one", "context": {"cluster": "c", "user": "u"}}],
    }
    file = tmp_path / "config"
    file.write_text(json.dumps(config))
    monkeypatch.setenv("KUBECONFIG", str(file))
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(file))
    found = connect("kubeconfig")
    assert found.url == "https://cluster.example:6443/api/v1/namespaces/kubeflow/services/ml-pipeline:8888/proxy"
    assert (found.token(), found.verify) == ("abc", True)
    monkeypatch.setenv("SLUICE_KFP_NAMESPACE", "ml")
    assert "/namespaces/ml/services/" in connect("kubeconfig", namespace="team").url, "the user's namespace is not where the API is"
    with pytest.raises(ProjectError, match="kubeconfig"):
        connect("kubeconfig", context="other")


@pytest.mark.parametrize(
    ("status", "headers", "opens"),
    [
        (200, {"content-type": "text/html; charset=utf-8"}, True),
        (302, {"location": "/dex/auth"}, True),
        (404, {"content-type": "text/plain"}, False),
        (200, {"content-type": "application/json"}, False),
    ],
)
def test_a_runs_link_is_one_that_opens_or_names_what_it_takes(
    door: str, status: int, headers: dict[str, str], opens: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    Door.status, Door.headers_out = status, headers
    api = Api(connect(door))
    assert api.run_url("r1") == (f"{door}/#/runs/details/r1" if opens else "")
    assert opens or "KF_PIPELINES_UI_ENDPOINT" in api.run_page("r1")
    api.run_page("r2")
    assert len(Door.seen) == 1, "it is asked once"
    monkeypatch.setenv("KF_PIPELINES_UI_ENDPOINT", "https://kubeflow.example/_/pipeline/")
    assert Api(connect(door)).run_url("r1") == "https://kubeflow.example/_/pipeline/#/runs/details/r1"


class Pipelines(Door):
    """Kubeflow Pipelines as far as `sluice submit` goes; no dashboard."""

    made: dict[str, list[dict[str, Any]]] = {}

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        path = self.path.partition("?")[0].rpartition("/")[2]
        if self.command == "POST":
            kind, name = (
                ("versions", parse_qs(self.path.partition("?")[2])["name"][0])
                if path == "upload_version"
                else (path, json.loads(body)["display_name"])
            )
            at = len(Pipelines.made.setdefault(kind, []))
            found: dict[str, Any] = {f"{'pipeline_version' if kind == 'versions' else kind[:-1]}_id": f"{kind}-{at}", "display_name": name}
            Pipelines.made[kind].append({**found, **(json.loads(body) if kind == "runs" else {})})
        elif path in ("pipelines", "versions", "experiments", "runs"):
            wanted = json.loads(parse_qs(self.path.partition("?")[2])["filter"][0])["predicates"][0]["string_value"]
            found = {
                "pipeline_versions" if path == "versions" else path: [
                    x for x in Pipelines.made.get(path, []) if x["display_name"] == wanted
                ]
            }
        else:
            found = {}
        text = json.dumps(found).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = _answer


def test_the_same_file_is_the_same_version_whatever_a_run_of_it_is_started_with(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Pipelines.made = {}
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pipelines)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    file, image = tmp_path / "sluice.yaml", "registry.example/p@sha256:" + "0" * 64
    file.write_text("{name: mine, task: image, data: {source: 'sklearn://digits'}, train: {epochs: 20}}")
    where = ["--endpoint", f"http://127.0.0.1:{server.server_address[1]}", "--image", image, "--unchecked", "--offline"]
    try:
        assert main(["submit", str(file), *where, "--json"]) == 0
        first = json.loads(capsys.readouterr().out)
        assert (
            main(["submit", str(file), *where, "--set", "train.epochs=5", "--set", "model.width=8", "--set", "data.source=two words"]) == 0
        )
        out = capsys.readouterr().out
        assert main(["compile", str(file), "-o", str(tmp_path / "p.yaml"), "--image", image, "--unchecked", "--offline", "--json"]) == 0
    finally:
        server.shutdown()
        server.server_close()
    assert json.loads(capsys.readouterr().out)["version"] == first["version"] and f"{first['version']} (there before)" in out
    assert [len(Pipelines.made[k]) for k in ("pipelines", "versions", "runs")] == [1, 1, 2]
    assert first["url"] == "" and "KF_PIPELINES_UI_ENDPOINT" in out
    plain, changed = (r["runtime_config"]["parameters"] for r in Pipelines.made["runs"])
    assert {k: (plain[k], changed[k]) for k in plain if plain[k] != changed[k]} == {
        "train_epochs": (20, 5),
        "set": ("", "model.width=8"),
        "data_source": ("sklearn://digits", "two words"),
    }


def test_submit_says_which_endpoint_does_not_answer_and_ends_with_a_fault(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    project = tmp_path / "sluice.yaml"
    project.write_text("{name: mine, task: image, data: {source: 'sklearn://digits'}}")
    image = "registry.example/p@sha256:" + "0" * 64
    url = f"http://127.0.0.1:{free_port()}"
    assert main(["submit", str(project), "--image", image, "--unchecked", "--endpoint", url, "--json"]) == 1
    out, err = capsys.readouterr()
    assert json.loads(out)["error"] == "Unreachable"
    assert url in err


def test_an_installation_of_many_users_wants_a_namespace(door: str, tmp_path: Path) -> None:
    Door.body = b'{"multi_user": true}'
    with pytest.raises(ProjectError, match="many users"):
        Client(tmp_path, endpoint=door).history()
    Client(tmp_path, endpoint=door, namespace="team").history()
    assert "namespace=team" in Door.seen[-1][1]


def test_a_token_that_is_not_taken_is_told_from_none(door: str, tmp_path: Path) -> None:
    Door.status = 401
    for token, said in ((None, "--token-file FILE"), ("abc", "--audience pipelines.kubeflow.org")):
        with pytest.raises(Unauthorised) as refused:
            Client(tmp_path, endpoint=door, token=token).history()
        assert said in (refused.value.fix or "")


def test_the_sdk_raises_what_the_endpoint_answers(door: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Door.status = 403
    client = Client(tmp_path, endpoint=door, token="abc")
    for call in (
        lambda: client.status("x"),
        lambda: client.get("x"),
        lambda: client.report("x"),
        client.history,
        lambda: client.terminate("x"),
    ):
        with pytest.raises(Unauthorised):
            call()
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(ProjectError, match="registered"):
        client.models("x")


class Shelf:
    """Something to be created once, with answers that get lost on the way."""

    def __init__(self, *, lost: int = 0, refused: int = 0):
        self.lost, self.refused, self.made = lost, refused, 0

    def find(self) -> dict[str, Any] | None:
        return {"id": self.made} if self.made else None

    def create(self) -> dict[str, Any]:
        if self.refused:
            self.refused -= 1
            raise EndpointFault("failed (500)")
        self.made += 1
        if self.lost:
            raise Unreachable("connection reset after the request was read")
        return {"id": self.made}


@pytest.mark.parametrize("shelf", [Shelf(), Shelf(lost=1), Shelf(refused=2), Shelf(lost=1, refused=1)])
def test_what_is_created_is_created_once_though_answers_get_lost(shelf: Shelf) -> None:
    assert _ensure(shelf.find, shelf.create, look_first=False) == {"id": 1}
    assert _ensure(shelf.find, shelf.create) == {"id": 1}
    assert shelf.made == 1


def test_what_cannot_be_created_is_given_up_with_its_reason() -> None:
    shelf = Shelf(refused=99)
    with pytest.raises(EndpointFault, match="500"):
        _ensure(shelf.find, shelf.create)
    assert (shelf.made, shelf.refused) == (0, 96)
