"""A TrainJob of two nodes, started from a step's pod with the step's own rights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).with_name("train_step.py")


def step(kube: Any, name: str, *args: str) -> dict[str, Any]:
    """Run the script as a pipeline step would run; its RESULT line."""
    kube.run("delete", "pod", name, "--ignore-not-found", "--timeout=60s")
    kube.run("delete", "configmap", name, "--ignore-not-found")
    kube.run("create", "configmap", name, f"--from-file=step.py={SCRIPT}")
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app.kubernetes.io/component": "step"}},
           "spec": {"serviceAccountName": "sluice-pipeline", "restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "priorityClassName": "sluice-training",
                    "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "fsGroup": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
                    "containers": [{"name": "step", "image": "sluice/pipeline:0.1.0", "imagePullPolicy": "IfNotPresent",
                                    "command": ["python3", "/step/step.py", *args],
                                    "env": [{"name": "SLUICE_TRAIN_CLAIM", "value": "sluice-store"}, {"name": "SLUICE_TRAIN_MOUNT", "value": "/store"}],
                                    "resources": {"requests": {"cpu": "10m", "memory": "512Mi"}, "limits": {"memory": "2Gi"}},
                                    "securityContext": {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}},
                                    "volumeMounts": [{"name": "store", "mountPath": "/store"}, {"name": "tmp", "mountPath": "/tmp"},
                                                     {"name": "step", "mountPath": "/step"}]}],
                    "volumes": [{"name": "store", "persistentVolumeClaim": {"claimName": "sluice-store"}}, {"name": "tmp", "emptyDir": {}},
                                {"name": "step", "configMap": {"name": name}}]}}  # fmt: skip
    kube.run("apply", "-f", "-", stdin=json.dumps(pod))
    kube.wait(lambda: kube.get("pod", name)["status"]["phase"] in ("Succeeded", "Failed"), name, 600)
    log = kube.run("logs", name)
    kube.run("delete", "pod", name, "--wait=false")
    kube.run("delete", "configmap", name)
    found = [line for line in log.splitlines() if line.startswith("RESULT ")]
    assert found, log[-3000:]
    return dict(json.loads(found[0].removeprefix("RESULT ")))


@pytest.fixture(autouse=True)
def _store(packages: list[str]) -> None:
    """The claim is bound."""


def test_two_nodes_train_one_model(kube: Any) -> None:
    found = step(kube, "train-step")
    assert found["world_size"] == 2  # the second node has nothing to say when all goes well
    assert found["accuracy"] > 0.5
    assert {"model.safetensors", "training.json", "state.json"} <= set(found["files"])


def test_a_failing_node_is_named_with_its_status(kube: Any) -> None:
    found = step(kube, "train-step-fails", "fail")
    assert "ended with status 3" in found["error"] and found["nodes"]
