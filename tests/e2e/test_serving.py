"""The digits package behind KServe and the gateway, and the next one let in by the controller."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections import Counter
from typing import Any

_PREDICT = "/v1/models/digits:predict"


class Load:
    """Requests through the gateway from a few connections, counted by status and by the version that answered."""

    def __init__(self, gateway: str, host: str, body: bytes, threads: int = 2, pause: float = 0.02, path: str = _PREDICT):
        self.seen: Counter[tuple[int, str]] = Counter()
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._args, self._pause = (gateway, host, body, path), pause
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(threads)]

    def __enter__(self) -> Load:
        for t in self._threads:
            t.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for t in self._threads:
            t.join(20)

    def _run(self) -> None:
        while not self._stop.is_set():
            key = once(*self._args)
            with self._lock:
                self.seen[key] += 1
            time.sleep(self._pause)


def once(gateway: str, host: str, body: bytes, path: str = _PREDICT) -> tuple[int, str]:
    connection = http.client.HTTPConnection(gateway, 80, timeout=15)
    try:
        connection.request("POST", path, body, {"host": host, "content-type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        return answer.status, (answer.getheader("x-sluice-version") or "")[:12]
    except OSError as e:
        return 0, type(e).__name__
    finally:
        connection.close()


def test_a_package_is_served_through_the_gateway_in_its_version(kube: Any, gateway: str, served: str, request_body: bytes) -> None:
    kube.wait(lambda: once(gateway, kube.host, request_body)[0] == 200, "an answer", 30)
    connection = http.client.HTTPConnection(gateway, 80, timeout=15)
    connection.request("POST", "/v1/models/digits:predict", request_body, {"host": kube.host, "content-type": "application/json"})
    answer = connection.getresponse()
    found = json.loads(answer.read())["predictions"][0]
    assert found["label"] == "0"
    assert answer.getheader("x-sluice-version") == served


def test_the_open_inference_protocol_answers_too(kube: Any, gateway: str, served: str) -> None:
    connection = http.client.HTTPConnection(gateway, 80, timeout=15)
    connection.request("GET", "/v2/models/digits", headers={"host": kube.host})
    answer = connection.getresponse()
    body = json.loads(answer.read())
    assert answer.status == 200
    assert body["name"] == "digits"


def test_a_second_model_takes_over_by_evidence_and_no_request_fails(
    kube: Any, gateway: str, served: str, packages: list[str], request_body: bytes
) -> None:
    with Load(gateway, kube.host, request_body) as load:
        time.sleep(5)
        kube.run("apply", "-f", "-", stdin=kube.manifest(packages[1]))
        kube.wait(
            lambda: (
                status(kube).get("phase") in ("Succeeded", "RolledBack", "Failed")
                and status(kube).get("stable", "")[:12] == packages[1][:12]
            ),
            "the rollout's end",
            600,
        )
        time.sleep(3)
    failed = {k: n for k, n in load.seen.items() if k[0] != 200}
    assert not failed, failed
    versions = {v for _, v in load.seen}
    assert versions == {packages[0][:12], packages[1][:12]}
    print(f"\n{sum(load.seen.values())} requests, none failed: {dict(load.seen)}")


def status(kube: Any) -> dict[str, Any]:
    return kube.get("modelrollout", kube.rollout).get("status") or {}
