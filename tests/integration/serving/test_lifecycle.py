"""Starting, stopping, dying: exit statuses, drains, restarts."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.integration.serving.server import ROOT, Server, eventually, serving
from tests.unit.serving import builders


def start(*argv: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "serving.runtime", *map(str, argv)], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )


def test_requests_in_flight_are_answered_after_sigterm_and_the_exit_is_clean(packages: dict[str, Path], tmp_path: Path) -> None:
    with serving(tmp_path / "log", packages["slow"], "--workers", "2") as server:
        statuses: list[int] = []

        def ask() -> None:
            statuses.append(server.request("POST", "/v1/models/slow:predict", {"instances": [1.0]})[0])

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for t in threads:
            t.start()
        eventually(lambda: server.metric("sluice_inference_in_flight") >= 1)
        status = server.terminate()
        for t in threads:
            t.join(30)
        # A request that arrived when no socket listened any more is refused, never cut off; those taken are answered.
        assert status == 0 and statuses and set(statuses) == {200}


def test_it_is_unready_before_it_stops_listening(packages: dict[str, Path], tmp_path: Path) -> None:
    with serving(tmp_path / "log", packages["points"], "--workers", "1", "--drain-delay", "1.5") as server:
        assert server.request("GET", "/v2/health/ready")[0] == 200
        server.process.send_signal(signal.SIGTERM)
        eventually(lambda: server.request("GET", "/v2/health/ready")[0] == 503)
        assert server.request("GET", "/v2/health/live")[0] == 200
        assert server.request("POST", "/v1/models/points:predict", {"instances": [[1, 2, 3, 4]]})[0] == 200
        assert server.process.wait(30) == 0


def test_a_killed_worker_is_replaced_and_counts_are_kept(packages: dict[str, Path], tmp_path: Path) -> None:
    with serving(tmp_path / "log", packages["points"], "--workers", "2") as server:
        for _ in range(10):
            server.predict("points", [1, 2, 3, 4])
        # An answer is sent, then counted: a worker killed between the two has answered one more than it tells.
        eventually(lambda: server.metric("sluice_inference_requests_total", code="200") == 10)
        old = {p.pid for p in server.workers()}
        server.workers()[0].kill()
        eventually(lambda: len(server.workers()) == 2 and {p.pid for p in server.workers()} != old and server.metric("sluice_workers") == 2)
        assert server.metric("sluice_worker_restarts_total") == 1
        # The dead worker's requests are still counted: rates never see a counter fall.
        assert server.metric("sluice_inference_requests_total", code="200") == 10
        assert server.metric("sluice_inference_in_flight") == 0


def test_killing_a_worker_under_load_fails_at_most_what_it_held(packages: dict[str, Path], tmp_path: Path) -> None:
    clients = 6
    with serving(tmp_path / "log", packages["points"], "--workers", "2") as server:
        halt, answered = threading.Event(), []
        failed: list[list[str]] = [[] for _ in range(clients)]

        def ask(failed: list[str]) -> None:
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
            while not halt.is_set():
                try:
                    connection.request("POST", "/v1/models/points:predict", body=b'{"instances":[[1,2,3,4]]}')
                    got = connection.getresponse()
                    got.read()
                    (answered if got.status == 200 else failed).append(str(got.status))
                except (OSError, http.client.HTTPException) as e:
                    failed.append(type(e).__name__)
                    connection.close()

        threads = [threading.Thread(target=ask, args=(mine,)) for mine in failed]
        for t in threads:
            t.start()
        eventually(lambda: len(answered) > 200)
        victim = server.workers()[0]
        victim.kill()
        eventually(
            lambda: (
                len(server.workers()) == 2 and victim.pid not in {p.pid for p in server.workers()} and server.metric("sluice_workers") == 2
            )
        )
        seen = len(answered)
        eventually(lambda: len(answered) > seen + 200)
        halt.set()
        for t in threads:
            t.join(30)
        # One request a connection at a time; and its next, where it comes while the kernel still closes what the killed process listened at.
        assert all(len(mine) <= 2 for mine in failed), failed


def test_the_parents_death_takes_the_workers_with_it(packages: dict[str, Path], tmp_path: Path) -> None:
    with serving(tmp_path / "log", packages["points"], "--workers", "2") as server:
        workers = server.workers()
        server.process.kill()
        eventually(lambda: not any(w.is_running() and w.status() != "zombie" for w in workers))


def test_a_taken_port_is_an_error_that_says_so(packages: dict[str, Path]) -> None:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        done = start(packages["points"], "--port", str(s.getsockname()[1]))
    assert done.returncode == 2 and "in use" in done.stderr and "--port" in done.stderr


def test_two_servers_do_not_share_a_port(packages: dict[str, Path], tmp_path: Path) -> None:
    with serving(tmp_path / "log", packages["points"], "--workers", "1") as server:
        done = start(packages["points"], "--port", str(server.port))
        assert done.returncode == 2 and "in use" in done.stderr


@pytest.mark.parametrize(
    ("how", "says"), [("missing", "is not there"), ("digest", "not the one asked for"), ("empty", "no package"), ("option", "--workers")]
)
def test_what_cannot_be_served_ends_with_status_2_and_a_reason(how: str, says: str, tmp_path: Path) -> None:
    package = builders.classifier(tmp_path / "p")
    (tmp_path / "empty").mkdir()
    argv: list[str | Path] = {
        "missing": [tmp_path / "none"],
        "digest": [package.root, "--digest", "0" * 64],
        "empty": [tmp_path / "empty"],
        "option": [package.root, "--workers", "0"],
    }[how]  # type: ignore[assignment]
    done = start(*argv, "--port", "0")
    assert done.returncode == 2 and says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_plain_onnx_file_is_served_as_tensors(packages: dict[str, Path], tmp_path: Path) -> None:
    with serving(tmp_path / "log", f"plain={packages['points'] / 'model.onnx'}", "--workers", "1") as server:
        body = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [0, 9, 0, 0]}]}
        output = server.post("/v2/models/plain/infer", body)["outputs"][0]
        assert output["name"] == "probabilities" and output["data"][1] > 0.99
        assert server.predict("plain", [0, 9, 0, 0])[0][1] > 0.99


def test_several_models_in_one_server(server: Server) -> None:
    assert server.get("/v2/models")["models"] == sorted(["points", "intents", "digits", "churn", "echo", "words"])
    index = json.loads(server.request("POST", "/v2/repository/index")[2])
    assert {m["state"] for m in index} == {"READY"} and len({m["version"] for m in index}) == 6


def test_an_idle_keep_alive_connection_does_not_hold_up_the_drain(packages: dict[str, Path], tmp_path: Path) -> None:
    with (
        serving(tmp_path / "log", packages["points"], "--workers", "1", "--drain", "3600") as server,
        socket.create_connection(("127.0.0.1", server.port)) as s,
    ):
        s.sendall(b"GET /v2/health/live HTTP/1.1\r\nhost: x\r\n\r\n")
        assert s.recv(4096).startswith(b"HTTP/1.1 200")
        assert server.terminate() == 0
