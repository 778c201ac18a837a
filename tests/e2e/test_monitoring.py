"""Prometheus scrapes what it is told to, every rule is evaluated, and what alerts and dashboards ask for is there."""

from __future__ import annotations

import http.client
import json
import urllib.parse
from collections.abc import Iterator
from typing import Any

import pytest

from tests.tools import dashboards, prometheus
from tests.unit.monitoring.test_dashboards import metrics

TRAINING = """
import time
from sluice.learners.torch.telemetry import Telemetry
told = Telemetry(lambda event: None, "e2e", 9464)
told.emit({"kind": "step", "epoch": 1, "step": 4, "steps": 20, "loss": 0.7, "samples_per_second": 50.0, "seconds_left": 12.0})
time.sleep(600)
"""


#: Series that something else than a served model tells of.
_OTHERS = ("sluice_llm_", "sluice:llm_", "sluice_monitor_", "sluice_model_quality", "sluice_retraining_", "sluice_train_")


def ask(kube: Any, path: str) -> Any:
    """Prometheus' API, through the API server's proxy."""
    return json.loads(kube.run("get", "--raw", f"/api/v1/namespaces/monitoring/services/prometheus:9090/proxy{path}"))["data"]


def query(kube: Any, expr: str) -> list[Any]:
    return list(ask(kube, "/api/v1/query?" + urllib.parse.urlencode({"query": expr}))["result"])


def pools(kube: Any) -> dict[str, set[str]]:
    """Health of the targets of each monitor of this environment."""
    found: dict[str, set[str]] = {}
    for target in ask(kube, "/api/v1/targets?state=active")["activeTargets"]:
        _, namespace, monitor, _ = target["scrapePool"].split("/")
        if namespace == kube.namespace:
            found.setdefault(monitor, set()).add(target["health"])
    return found


def test_every_target_is_scraped(kube: Any, served: str) -> None:
    wanted = {"sluice-models", "sluice-controller", "sluice-gateway", "sluice-kserve"}

    def up() -> bool:
        found = pools(kube)
        return all(found.get(monitor) == {"up"} for monitor in wanted)

    kube.wait(up, f"{sorted(wanted)} up", 120)


@pytest.fixture
def trainer(kube: Any) -> Iterator[str]:
    """A pod that stands where a TrainJob's first node stands, and serves what a training serves."""
    name = "metrics-of-a-training"
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "labels": {
                "app.kubernetes.io/component": "training",
                "batch.kubernetes.io/job-completion-index": "0",
                "jobset.sigs.k8s.io/jobset-name": "e2e",
            },
        },
        "spec": {
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 1,
            "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [
                {
                    "name": "node",
                    "image": "sluice/pipeline:0.1.0",
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["python3", "-c", TRAINING],
                    "ports": [{"name": "metrics", "containerPort": 9464}],
                    "resources": {"requests": {"cpu": "5m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}},
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "readOnlyRootFilesystem": True,
                        "capabilities": {"drop": ["ALL"]},
                    },
                }
            ],
        },
    }
    kube.run("delete", "pod", name, "--ignore-not-found", "--timeout=60s")
    kube.run("apply", "-f", "-", stdin=json.dumps(pod))
    kube.run("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=120s")
    yield name
    kube.run("delete", "pod", name, "--timeout=60s")


def test_a_training_is_scraped_through_its_policy(kube: Any, trainer: str) -> None:
    kube.wait(lambda: query(kube, 'sluice_train_step{project="e2e",trainjob="e2e"}'), "sluice_train_step", 120)
    assert query(kube, 'sluice_train_samples_per_second{project="e2e"}')[0]["value"][1] == "50"


def test_every_rule_is_loaded_and_evaluates(kube: Any, served: str) -> None:
    def healthy() -> bool:
        groups = [g for g in ask(kube, "/api/v1/rules")["groups"] if f"/{kube.namespace}-sluice" in g["file"]]
        rules = [r for g in groups for r in g["rules"]]
        assert not [r for r in rules if r["health"] == "err"], [r["lastError"] for r in rules if r["health"] == "err"]
        return {g["name"] for g in groups} == {g["name"] for g in prometheus.groups()} and all(r["health"] == "ok" for r in rules)

    kube.wait(healthy, "rules evaluated", 120)


def request(kube: Any, gateway: str, body: bytes) -> int:
    connection = http.client.HTTPConnection(gateway, 80, timeout=15)
    try:
        connection.request("POST", "/v1/models/digits:predict", body, {"host": kube.host, "content-type": "application/json"})
        return connection.getresponse().status
    finally:
        connection.close()


def test_no_alert_looks_at_nothing(kube: Any, served: str, gateway: str, request_body: bytes) -> None:
    """Every metric of an alert has series once a model is asked; those of a prompt, a monitor and a training have them where there is one.

    A cluster without GPUs has none of DCGM's, one whose kubelets nobody scrapes none of theirs.
    """
    absent = [n for n in ("DCGM_FI_DEV_GPU_UTIL", "kubelet_volume_stats_capacity_bytes") if not query(kube, f"count({n})")]
    others = (*_OTHERS, *(n.partition("_")[0] + "_" for n in absent))
    wanted = {n for g in prometheus.groups() for r in g["rules"] for n in metrics(r["expr"])}
    wanted = {n for n in wanted if not n.startswith(others)}
    assert len(wanted) > 12

    def there() -> bool:
        request(kube, gateway, request_body)
        return not [n for n in wanted if not query(kube, f"count({n})")]

    kube.wait(there, f"series of {sorted(wanted)}", 180)


def test_every_panel_is_answered(kube: Any, served: str) -> None:
    drawn = 0
    for board, panel in dashboards.panels():
        for target in panel["targets"]:
            drawn += bool(query(kube, dashboards.filled(target["expr"], "1m"))) and board in ("sluice-models", "sluice-rollouts")
    assert drawn > 15


def test_a_served_model_is_counted(kube: Any, served: str) -> None:
    kube.wait(lambda: query(kube, "sluice_model_info"), "sluice_model_info", 60)
