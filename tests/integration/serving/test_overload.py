"""More than can be served: some get 429 at once, the rest an answer; deadlines; answers that never mix."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.integration.serving.server import Server, eventually, serving
from tests.unit.serving import builders


def together(count: int, work: Any) -> list[Any]:
    """Results of `count` threads that call `work(i)`."""
    out: list[Any] = [None] * count

    def one(i: int) -> None:
        out[i] = work(i)

    threads = [threading.Thread(target=one, args=(i,)) for i in range(count)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(120)
    return out


def test_beyond_the_queue_requests_get_429_with_retry_after_and_the_rest_are_answered(packages: dict[str, Path], tmp_path: Path) -> None:
    with serving(tmp_path / "log", packages["slow"], "--workers", "1", "--queue", "4", "--max-batch", "1") as server:
        answers = together(24, lambda i: server.request("POST", "/v1/models/slow:predict", {"instances": [float(i)]}))
        statuses = [a[0] for a in answers]
        assert set(statuses) == {200, 429} and statuses.count(200) >= 4
        for i, (status, headers, body) in enumerate(answers):
            if status == 429:
                assert int(headers["retry-after"]) >= 1
            else:
                assert json.loads(body)["predictions"][0]["value"] == pytest.approx(i, abs=1e-4)
        assert server.metric("sluice_inference_requests_total", code="429") == statuses.count(429)
        assert server.metric("sluice_queue_depth") == 0 and server.metric("sluice_inference_in_flight") == 0


def test_health_and_metrics_are_answered_while_the_model_runs(tmp_path: Path) -> None:
    package = builders.slow(tmp_path / "p", size=1600, layers=6)
    with serving(tmp_path / "log", package.root, "--workers", "1") as server:
        done = threading.Event()
        answers: list[int] = []

        def ask() -> None:
            answers.append(server.request("POST", "/v1/models/slow:predict", {"instances": [1.0]}, timeout=60)[0])
            done.set()

        threading.Thread(target=ask).start()
        eventually(lambda: server.metric("sluice_inference_in_flight") == 1)
        assert server.request("GET", "/v2/health/live")[0] == 200
        assert not done.is_set()
        assert done.wait(60) and answers == [200]


def test_a_request_whose_deadline_passes_in_the_queue_gets_504_and_no_run(packages: dict[str, Path], tmp_path: Path) -> None:
    with serving(tmp_path / "log", packages["slow"], "--workers", "1", "--max-batch", "1") as server:

        def ask(i: int) -> int:
            deadline = {"x-sluice-deadline-ms": "1"} if i % 2 else {}
            return server.request("POST", "/v1/models/slow:predict", {"instances": [float(i)]}, deadline)[0]

        statuses = together(16, ask)
        assert set(statuses[::2]) == {200} and 504 in statuses[1::2]
        runs = server.metric("sluice_batch_size_count")
        assert runs == statuses.count(200)


def test_requests_whose_clients_hung_up_are_not_run(tmp_path: Path) -> None:
    package = builders.slow(tmp_path / "p", size=1200, layers=6)
    with serving(tmp_path / "log", package.root, "--workers", "1", "--max-batch", "1") as server:
        body = b'{"instances":[1.0]}'
        request = b"POST /v1/models/slow:predict HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)
        sockets = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(12)]
        for s in sockets:
            s.sendall(request)
        eventually(lambda: server.metric("sluice_inference_in_flight") >= 1)
        for s in sockets:
            s.close()
        eventually(lambda: server.metric("sluice_inference_in_flight") == 0 and server.metric("sluice_inference_requests_total") == 12, 60)
        assert server.metric("sluice_inference_requests_total", code="499") == 12 - server.metric(
            "sluice_inference_requests_total", code="200"
        )
        assert server.metric("sluice_batch_size_count") < 12


def test_waiting_requests_share_runs_and_answers_do_not_mix(server: Server) -> None:
    """A stamp in, the same stamp out, 50,000 times: single rows, several rows, texts of all lengths between them."""
    per, clients = 1250, 8
    wrong: list[Any] = []

    def client(c: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        r = np.random.default_rng(c)
        for i in range(per):
            rows = [float(c * 100_000 + i * 10 + k) for k in range(r.integers(3, 8))]
            request_id = f"c{c}-{i}"
            connection.request("POST", "/v1/models/echo:predict", json.dumps({"instances": rows}), {"x-request-id": request_id})
            got = connection.getresponse()
            values = [p["value"] for p in json.loads(got.read())["predictions"]]
            if values != rows or got.getheader("x-request-id") != request_id:
                wrong.append((rows, values))
        connection.close()

    together(clients, client)
    assert wrong == []
    assert server.metric("sluice_batch_size_sum", model="echo") >= 50_000 - 10_000
    assert server.metric("sluice_batch_size_count", model="echo") <= per * clients


def test_texts_of_mixed_length_asked_together_get_their_own_answers(server: Server) -> None:
    r = np.random.default_rng(2)
    words = ["send", "money", "home", "what", "is", "my", "balance", "book", "a", "flight"]
    texts = [" ".join(r.choice(words, size=n)) for n in r.integers(1, 16, size=200)]
    alone = [server.predict("intents", t)[0]["probabilities"] for t in texts]

    def client(c: int) -> bool:
        for i in range(c, len(texts), 10):
            found = server.predict("intents", texts[i], texts[(i + 7) % 200], texts[(i + 90) % 200])
            for k, p in zip((i, (i + 7) % 200, (i + 90) % 200), found, strict=True):
                np.testing.assert_allclose(list(p["probabilities"].values()), list(alone[k].values()), rtol=1e-5)
        return True

    assert together(10, client) == [True] * 10


def test_a_model_with_dynamic_scales_answers_alike_alone_and_in_company(packages: dict[str, Path], tmp_path: Path) -> None:
    with serving(tmp_path / "log", packages["dynamic"], "--workers", "1") as server:
        rows = [[0.1, 0.2, 0.3, 0.4], [100.0, -50.0, 3.0, 7.0]]
        alone = [server.predict("dynamic", row)[0] for row in rows]
        assert server.predict("dynamic", *rows) == alone


def test_a_number_that_is_none_is_the_models_fault(tmp_path: Path) -> None:
    with serving(tmp_path / "log", builders.nan(tmp_path / "p").root, "--workers", "1") as server:
        assert server.predict("constant", 4.0) == [{"value": 2.0}]
        status, headers, body = server.request("POST", "/v1/models/constant:predict", {"instances": [-1.0]})
        assert status == 500 and headers["x-sluice-version"] and b"number that is none" in body
        assert server.metric("sluice_inference_requests_total", code="500") == 1


def test_one_clients_bad_row_does_not_fail_those_it_shared_a_run_with(tmp_path: Path) -> None:
    slow, nan = builders.slow(tmp_path / "slow", size=1200, layers=6), builders.nan(tmp_path / "nan")
    with serving(tmp_path / "log", slow.root, nan.root, "--workers", "1") as server:

        def ask(i: int) -> int:
            if i == 0:  # holds the lane while the others gather behind it
                return server.request("POST", "/v1/models/slow:predict", {"instances": [1.0]})[0]
            time.sleep(0.02)
            return server.request("POST", "/v1/models/constant:predict", {"instances": [-1.0 if i == 5 else 4.0]})[0]

        for _ in range(5):
            statuses = together(10, ask)
            assert statuses[5] == 500 and statuses[:5] + statuses[6:] == [200] * 9
        assert server.metric("sluice_inference_requests_total", model="constant", code="500") == 5
