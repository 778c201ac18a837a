"""The whole loop on a cluster, with nobody touching anything: traffic that shifts, seen by the ModelMonitor, trained again by a PipelineRun on what was
told meanwhile, through the same gates and a canary, to a model that takes the traffic.

Needs Kubeflow Pipelines, and model servers that can log (`PREDICTION_LOG=1 make images`).
"""

from __future__ import annotations

import base64
import http.client
import io
import json
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from sluice.registry.versions import CHAMPION, Registry
from sluice.rollouts.load_generator import answer
from tests.e2e.conftest import PATIENCE
from tests.e2e.forward import forwarded
from tests.e2e.test_kfp import SPACE, endpoint, forget, pipelines, registry, sluice, status, store, unregister
from tests.e2e.test_roads import whole
from tests.integration.rollouts import digits

__all__ = ["endpoint", "pipelines", "registry", "store", "whole"]  # fixtures
NAME = "digits-e2e-loop"
HOST = f"{NAME}.example.com"
BUCKET = "mlpipeline"
#: Requests a second, and how late the label of each comes, in seconds.
RATE, LATE = 20.0, 3.0


def project(prefix: str, secret: str) -> str:
    """The project: its rows are those collected, and what is told of answers."""
    return yaml.safe_dump(
        {
            "name": NAME,
            "task": "image",
            "data": {
                "source": f"labelled://{NAME}?rows=s3://{BUCKET}/{prefix}/rows/*.parquet&log=s3://{BUCKET}/{prefix}/log",
                "split": {"test": 0.25, "validation": 0.1, "seed": 17},
            },
            "model": {"architecture": "cnn", "channels": 1, "size": [8, 8], "width": 16, "augment": False},
            "train": {"epochs": 12, "batch_size": 64, "learning_rate": 3e-3, "seed": 17, "processes": 1},
            "evaluate": {"metric": "accuracy", "minimum": 0.7},
            "export": {"formats": ["fp32"]},
            "rollout": {
                "steps": [50],
                "minimum_requests": 200,
                "latency_slo_ms": 20000,
                "shift": None,
                "ready_seconds": 300 * PATIENCE,
                "step_deadline_seconds": 600 * PATIENCE,
                "settle_seconds": 3,
                "warmup_seconds": 1,
                "verify_seconds": 5,
                "keep_seconds": 5,
                "shadow": {"requests": 50},
            },
            "monitor": {
                "window": {"rows": 200, "minimum": 100},
                "drift": {"baseline": 400},
                "retrain": {"drift": {"threshold": 0.2, "windows": 2}, "cool_down_hours": 0.0},
            },
            "cluster": {"defaults": {"env": {"SLUICE_LOG": f"s3://{BUCKET}/{prefix}/log", "SLUICE_LOG_SECRET": secret}}},
        }
    )


def png(pixels: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


class People:
    """Who asks, through the gateway, and tells a little later what was true; once `turned`, three quarters of their digits lie on their side."""

    def __init__(self, gateway: str, token: str):
        self.gateway, self.token, self.turned = gateway, token, False
        #: Of each answer: when, in which version, whether it was right.
        self.seen: list[tuple[float, str, bool]] = []
        self.failed: list[str] = []
        self.told = 0
        self._due: list[tuple[float, dict[str, Any]]] = []
        self._rng, self._guard, self._halt = np.random.default_rng(5), threading.Lock(), threading.Event()
        x, y = digits.rows()
        self._pictures, self._truth = x[-700:], y[-700:]
        self._threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(3)] + [
            threading.Thread(target=self._tell, daemon=True)
        ]

    def __enter__(self) -> People:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._halt.set()
        for thread in self._threads:
            thread.join(30)

    def right(self, since: float, version: str = "") -> tuple[float, int]:
        """The share of right answers since then, of a version or all, and of how many."""
        found = [ok for at, v, ok in list(self.seen) if at >= since and v.startswith(version)]
        return (float(np.mean(found)) if found else 0.0, len(found))

    def _next(self) -> tuple[bytes, str]:
        with self._guard:
            i = int(self._rng.integers(len(self._truth)))
            turned = self.turned and self._rng.random() < 0.75
            return png(np.rot90(self._pictures[i]).copy() if turned else self._pictures[i]), str(self._truth[i])

    def _post(self, connection: http.client.HTTPConnection, path: str, body: Any, **headers: str) -> http.client.HTTPResponse:
        connection.request("POST", path, json.dumps(body), {"host": HOST, "content-type": "application/json", **headers})
        return connection.getresponse()

    def _ask(self) -> None:
        pause, connection = 3 / RATE, http.client.HTTPConnection(self.gateway, 80, timeout=60)
        while not self._halt.is_set():
            begun = time.monotonic()
            picture, truth = self._next()
            instances = {"instances": [{"b64": base64.b64encode(picture).decode()}]}
            try:
                found = self._post(connection, f"/v1/models/{NAME}:predict", instances)
                said, version = found.read(), found.getheader("x-sluice-version") or ""
                if found.status != 200:
                    self.failed.append(f"{found.status}: {said[:200]!r}")
                else:
                    self.seen.append((time.time(), version, answer(said) == truth))
                    receipt = found.getheader("x-sluice-receipt") or ""
                    # A gateway gives requests names of its own: the answer says which.
                    given = found.getheader("x-request-id") or ""
                    with self._guard:
                        self._due.append((time.time() + LATE, {"request_id": given, "label": truth, "receipt": receipt}))
            except (OSError, http.client.HTTPException) as e:
                self.failed.append(f"{type(e).__name__}: {e}")
                connection.close()
            self._halt.wait(max(0.0, pause - (time.monotonic() - begun)))

    def _tell(self) -> None:
        """As whoever tells labels does: what could not be sent is sent again, for labels told twice count once; what was refused is a failure."""
        unsent = 0
        while not self._halt.wait(1):
            now = time.time()
            due = [item for at, item in self._due if at <= now]
            if not due:
                continue
            try:
                connection = http.client.HTTPConnection(self.gateway, 80, timeout=20)
                found = self._post(connection, f"/v2/models/{NAME}/feedback", {"items": due}, authorization=f"Bearer {self.token}")
                said = found.read()
                connection.close()
            except (OSError, http.client.HTTPException) as e:
                # A new connection each time, and a busy node may lose its first packets; twelve in a row are no accident.
                unsent += 1
                if unsent >= 4 * PATIENCE:
                    self.failed.append(f"feedback, {unsent} times: {type(e).__name__}: {e}")
                continue
            unsent = 0
            with self._guard:
                self._due = [(at, item) for at, item in self._due if at > now]
            if found.status >= 300:
                self.failed.append(f"feedback {found.status}: {said[:300]!r}")
            else:
                self.told += len(due)


@pytest.fixture(scope="module")
def logging(kube: Any) -> None:
    """Model servers here can log: their image has pyarrow."""
    container = kube.get("servingruntimes.serving.kserve.io", "sluice")["spec"]["containers"][0]
    name = f"sluice-e2e-logs-{uuid.uuid4().hex[:6]}"
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "automountServiceAccountToken": False,
            "restartPolicy": "Never",
            "containers": [
                {
                    "name": "looks",
                    "image": container["image"],
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["python", "-c", "import pyarrow"],
                    "securityContext": container["securityContext"],
                    "resources": {"requests": {"cpu": "5m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
                }
            ],
        },
    }
    with kube.kept(("pod", name)):
        kube.run("apply", "-f", "-", stdin=json.dumps(pod))
        phase = kube.wait(
            lambda: p if (p := kube.get("pod", name)["status"].get("phase")) in ("Succeeded", "Failed") else "", "a look at the image", 120
        )
    if phase == "Failed":
        pytest.skip(f"model servers of {container['image']} cannot log: PREDICTION_LOG=1 make images")


@pytest.fixture(scope="module")
def collected(kube: Any, pipelines: str) -> Iterator[str]:
    """A thousand rows of digits in the store: the prefix they and the log are below."""
    import boto3
    import pyarrow as pa
    import pyarrow.parquet as pq
    from botocore.config import Config

    keys = kube.get("secret", "mlpipeline-minio-artifact", namespace=SPACE)["data"]
    access, secret = (base64.b64decode(keys[k]).decode() for k in ("accesskey", "secretkey"))
    prefix = f"sluice-e2e/loop-{uuid.uuid4().hex[:8]}"
    x, y = digits.rows()
    out = io.BytesIO()
    pq.write_table(pa.table({"image": pa.array([png(i) for i in x[:1000]], pa.binary()), "label": [str(v) for v in y[:1000]]}), out)
    with forwarded(SPACE, "minio-service", 9000) as url:
        client = boto3.client(
            "s3",
            endpoint_url=url,
            aws_access_key_id=access,
            aws_secret_access_key=secret,
            region_name="minio",
            config=Config(retries={"max_attempts": 8, "mode": "standard"}, s3={"addressing_style": "path"}),
        )
        client.put_object(Bucket=BUCKET, Key=f"{prefix}/rows/collected.parquet", Body=out.getvalue())
        yield prefix
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix):
            for found in page.get("Contents", ()):
                client.delete_object(Bucket=BUCKET, Key=found["Key"])


@pytest.fixture
def token(kube: Any) -> Iterator[str]:
    """By which feedback is told through the gateway: the environment's own, or one for the time of the test."""
    there = json.loads(kube.run("get", "secret", "sluice-feedback", "-o", "json", "--ignore-not-found") or "{}").get("data")
    if there:
        yield base64.b64decode(there["token"]).decode()
        return
    made = uuid.uuid4().hex
    with kube.kept(("secret", "sluice-feedback")):
        kube.run("create", "secret", "generic", "sluice-feedback", f"--from-literal=token={made}")
        yield made


@pytest.fixture
def gone(kube: Any, registry: Registry) -> Iterator[None]:
    """Nothing of this name, before and after."""

    def clean() -> None:
        kube.run("delete", "modelmonitor", NAME, "--ignore-not-found", "--timeout=60s")
        kube.run("delete", "pipelinerun", "-l", f"sluice.dev/monitor={NAME}", "--timeout=120s")
        forget(kube, registry, NAME)

    clean()
    yield
    clean()
    unregister(registry, NAME)


def monitor(kube: Any) -> dict[str, Any]:
    return dict(kube.get("modelmonitor", NAME).get("status") or {})


def runs(kube: Any) -> list[dict[str, Any]]:
    return list(kube.get("pipelineruns", "-l", f"sluice.dev/monitor={NAME}")["items"])


@pytest.mark.timeout(PATIENCE * 1800)
def test_traffic_that_shifts_ends_as_a_new_model_with_nobody_touching_anything(
    kube: Any,
    whole: None,
    logging: None,
    store: None,
    endpoint: str,
    registry: Registry,
    gateway: str,
    collected: str,
    token: str,
    gone: None,
    tmp_path: Path,
) -> None:
    begun, said = time.time(), []

    def tell(text: str) -> float:
        said.append(f"{time.time() - begun:6.0f} s  {text}")
        print(said[-1], flush=True)
        return time.time()

    account = kube.get("serviceaccount", "sluice-predictor").get("secrets") or [{"name": "sluice-store"}]
    path = tmp_path / "sluice.yaml"
    path.write_text(project(collected, account[0]["name"]))
    code, outcome, wrong = sluice("submit", str(path), "--wait", "--endpoint", endpoint)
    assert (code, outcome.get("outcome")) == (0, "promoted"), wrong + json.dumps(outcome)
    first = registry.by_alias(NAME, CHAMPION)
    assert first is not None
    tell(f"a first model serves: {first.digest[:12]}; reasons: {outcome.get('reasons')}")
    assert kube.get("modelmonitor", NAME)["spec"]["log"] == f"s3://{BUCKET}/{collected}/log"

    with People(gateway, token) as people:
        kube.wait(lambda: people.told or people.failed, "labels that are taken", 120)
        assert not people.failed, people.failed[:3]
        quiet = kube.wait(lambda: m if (m := monitor(kube)).get("windows", 0) >= 4 else None, "four windows", 300)
        assert not runs(kube) and not quiet.get("alarm"), quiet
        before, n = people.right(0)
        tell(f"{quiet['rows']} rows read in {quiet['windows']} windows, drift {quiet['drift']}; {100 * before:.1f} % of {n} right")
        people.turned, shifted = True, time.time()
        tell("three quarters of the digits come turned")
        (run,) = kube.wait(lambda: runs(kube), "a PipelineRun that the monitor made", 400)
        tell(f"PipelineRun {run['metadata']['name']}: {run['metadata']['annotations']['sluice.dev/reason']}")
        worst, n = people.right(shifted)
        tell(f"alarm: {monitor(kube).get('alarm', '')}; {100 * worst:.1f} % of {n} right since")

        def ended() -> dict[str, Any] | None:
            found = dict(kube.get("pipelinerun", run["metadata"]["name"]).get("status") or {})
            return found if found.get("phase") in ("Succeeded", "Failed", "Terminated") else None

        found = kube.wait(ended, "the end of the retraining", 1200)
        assert (found["phase"], found["outcome"]) == ("Succeeded", "Promoted"), (found, status(kube, NAME))
        champion = registry.by_alias(NAME, CHAMPION)
        assert champion is not None and champion.digest != first.digest
        assert status(kube, NAME)["stable"] == champion.digest[:12]
        now = tell(f"promoted, through gates and canary: {champion.digest[:12]}")
        kube.wait(lambda: people.right(now, champion.digest)[1] >= 200, "answers of the new model", 120)
        after, n = people.right(now, champion.digest)
        outcome = kube.wait(lambda: m if (m := monitor(kube)).get("outcome") == "promoted" else None, "the monitor's word of it", 120)
        tell(f"{100 * after:.1f} % of {n} right; the monitor says {outcome['outcome']}, of {outcome['run']}")
    assert after > worst + 0.1 and after > 0.7, said
    assert len(runs(kube)) == 1, "one episode, one retraining"
    assert not people.failed, (len(people.failed), people.failed[:5], said)
    tell(f"{len(people.seen)} requests and {people.told} labels, none failed")
    report = {v[:12]: people.right(0, v)[1] for v in (first.digest, champion.digest)}
    assert sum(report.values()) == len(people.seen) and min(report.values()) > 0, report
