"""Counters and outcomes as Prometheus answers them: what counts, and what is no evidence."""

from __future__ import annotations

import http.server
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from serving.controller.rollouts import evidence as sources
from serving.controller.rollouts import resource
from serving.controller.rollouts.evidence import Prometheus
from sluice.core.errors import SluiceError

ONE = "1" * 64


class FakePrometheus(http.server.ThreadingHTTPServer):
    """Answers instant queries with what `samples` holds: name -> value, aged by `age` seconds."""

    def __init__(self) -> None:
        self.value, self.age, self.mode, self.group = "40", 1.0, "fine", ""
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *args: Any) -> None:
                return

            def do_GET(self) -> None:
                body = outer.answer(self.path)
                self.send_response(500 if outer.mode == "broken" else 200)
                self.end_headers()
                self.wfile.write(body)

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def answer(self, path: str) -> bytes:
        if self.mode == "html":
            return b"<html>"
        if self.mode == "broken":
            return b'{"status": "error", "error": "out of memory"}'
        if "timestamp" in path:
            found = [] if self.mode == "empty" else [{"metric": {"pod": "p"}, "value": [0, str(time.time() - self.age)]}]
        else:
            metric = {
                "__name__": "sluice_inference_requests_total",
                "pod": "p",
                "namespace": "ns",
                "code": "200",
                **({"group": self.group} if self.group else {}),
            }
            found = [] if self.mode == "empty" else [{"metric": metric, "value": [0, self.value]}]
        return json.dumps({"status": "success", "data": {"resultType": "vector", "result": found}}).encode()


@pytest.fixture
def prometheus() -> Iterator[FakePrometheus]:
    server = FakePrometheus()
    yield server
    server.shutdown()
    server.server_close()


POD = {"metadata": {"name": "p", "namespace": "ns"}, "spec": {"containers": []}, "status": {}}


def ask(server: FakePrometheus) -> tuple[dict[str, Any], str | None]:
    return Prometheus(f"http://127.0.0.1:{server.server_address[1]}").counts([POD], resource.read(rollout_with_uid()), ONE)


def rollout_with_uid() -> dict[str, Any]:
    return {
        "apiVersion": "sluice.dev/v1alpha1",
        "kind": "ModelRollout",
        "metadata": {"name": "m", "namespace": "ns", "uid": "u"},
        "spec": {
            "model": {"uri": "s3://models/one", "digest": ONE},
            "traffic": {"backend": "Gateway", "gateway": {"name": "g"}, "hostname": "m.example.com"},
        },
    }


def test_prometheus_counts_by_pod(prometheus: FakePrometheus):
    counts, said = ask(prometheus)
    assert said is None and counts["p"]["requests"] == 40


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"value": "NaN"}, "lies about p"),
        ({"value": "-3"}, "lies about p"),
        ({"age": 500.0}, "nothing of p since 500 s"),
        ({"mode": "empty"}, "nothing of p"),
        ({"mode": "broken"}, "out of memory"),
        ({"mode": "html"}, "Prometheus"),
    ],
)
def test_prometheus_that_is_empty_stale_broken_or_lies_is_no_evidence(prometheus: FakePrometheus, change: dict[str, Any], word: str):
    for name, value in change.items():
        setattr(prometheus, name, value)
    counts, said = ask(prometheus)
    assert counts == {} and said is not None and word in said


def test_prometheus_that_is_gone_is_no_evidence(prometheus: FakePrometheus):
    prometheus.shutdown()
    prometheus.server_close()
    counts, said = ask(prometheus)
    assert counts == {} and said is not None


def test_business_outcomes_must_be_one_finite_number(prometheus: FakePrometheus):
    url = f"http://127.0.0.1:{prometheus.server_address[1]}"
    assert sources.business(url, {"outcomes": "n", "sum": "s"}, ONE) == {"p": {"outcomes": 40, "outcome_sum": 40, "outcome_squares": 40}}
    prometheus.group = "7"
    assert sources.business(url, {"outcomes": "n", "sum": "s"}, ONE)["p"] == {
        "outcomes": 40,
        "outcome_sum": 40,
        "outcome_squares": 40,
        "n@7": 40,
        "s@7": 40,
    }
    prometheus.group = "somebody@example.com"
    with pytest.raises(SluiceError, match="spread whole users over a few dozen groups"):
        sources.business(url, {"outcomes": "n", "sum": "s"}, ONE)
    prometheus.value = "NaN"
    with pytest.raises(SluiceError, match="finite"):
        sources.business(url, {"outcomes": "n", "sum": "s"}, ONE)
