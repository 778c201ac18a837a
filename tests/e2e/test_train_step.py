"""The train step in a pod of its own, with a step's own rights: two nodes train, one is deleted mid-epoch, one fails."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).with_name("train_step.py")
_RANK = "batch.kubernetes.io/job-completion-index"


#: For code newer than the images: a folder of the store with `sluice` and `components`, and a TrainingRuntime whose pods have it on their path.
OVERLAY, RUNTIME = os.environ.get("SLUICE_E2E_OVERLAY"), os.environ.get("SLUICE_E2E_RUNTIME", "sluice-torch")


def step(kube: Any, name: str, *args: str, meanwhile: Callable[[], None] | None = None) -> tuple[dict[str, Any], str]:
    """Run the script as a pipeline step would run: its RESULT line, and its log. `meanwhile` is called while it runs."""
    start(kube, name, *args)
    if meanwhile:
        meanwhile()
    kube.wait(lambda: ended(kube, name), name, 600)
    log = kube.run("logs", name)
    kube.run("delete", "pod", name, "--wait=false")
    kube.run("delete", "configmap", name)
    found = [line for line in log.splitlines() if line.startswith("RESULT ")]
    assert found, log[-3000:]
    return dict(json.loads(found[0].removeprefix("RESULT "))), log


def start(kube: Any, name: str, *args: str) -> None:
    """Make the step's pod, with the script in a ConfigMap."""
    kube.run("delete", "pod", name, "--ignore-not-found", "--timeout=60s")
    kube.run("delete", "configmap", name, "--ignore-not-found")
    kube.run("create", "configmap", name, f"--from-file=step.py={SCRIPT}")
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app.kubernetes.io/component": "step"}},
        "spec": {
            "serviceAccountName": "sluice-pipeline",
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "priorityClassName": "sluice-training",
            "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "fsGroup": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [
                {
                    "name": "step",
                    "image": "sluice/pipeline:0.1.0",
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["python3", "/step/step.py", *args],
                    "env": [
                        {"name": "SLUICE_TRAIN_CLAIM", "value": "sluice-store"},
                        {"name": "SLUICE_TRAIN_MOUNT", "value": "/store"},
                        {"name": "KFP_POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                        {"name": "KFP_POD_UID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}},
                        {"name": "SLUICE_TRAIN_RUNTIME", "value": RUNTIME},
                        *([{"name": "PYTHONPATH", "value": OVERLAY}] if OVERLAY else []),
                        {"name": "MLFLOW_TRACKING_URI", "value": "http://mlflow:5000"},
                    ],
                    "resources": {"requests": {"cpu": "10m", "memory": "512Mi"}, "limits": {"memory": "2Gi"}},
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "readOnlyRootFilesystem": True,
                        "capabilities": {"drop": ["ALL"]},
                    },
                    "volumeMounts": [
                        {"name": "store", "mountPath": "/store"},
                        {"name": "tmp", "mountPath": "/tmp"},
                        {"name": "step", "mountPath": "/step"},
                    ],
                }
            ],
            "volumes": [
                {"name": "store", "persistentVolumeClaim": {"claimName": "sluice-store"}},
                {"name": "tmp", "emptyDir": {}},
                {"name": "step", "configMap": {"name": name}},
            ],
        },
    }
    kube.run("apply", "-f", "-", stdin=json.dumps(pod))


def reached(kube: Any, name: str) -> int:
    """The last optimiser step the train step has told of; 0 before the first."""
    marked = (line.partition("::sluice:")[2].partition("::")[2] for line in kube.run("logs", name, "--tail=200", check=False).splitlines())
    found = [json.loads(text)["data"].get("step", 0) for text in marked if text.startswith('{"kind":"progress"')]
    return max(found, default=0)


def ended(kube: Any, name: str) -> bool:
    return kube.get("pod", name)["status"]["phase"] in ("Succeeded", "Failed")


def nodes(kube: Any, name: str) -> list[dict[str, Any]]:
    """Live pods of the TrainJob that the step's pod owns, in the order of their ranks."""
    uid = kube.get("pod", name)["metadata"]["uid"]
    mine = [
        j["metadata"]["name"] for j in kube.get("trainjobs")["items"] if j["metadata"].get("ownerReferences", [{}])[0].get("uid") == uid
    ]
    pods = [
        p for job in mine for p in kube.get("pods", f"-ljobset.sigs.k8s.io/jobset-name={job}")["items"] if p["status"]["phase"] == "Running"
    ]
    return sorted(pods, key=lambda p: int(p["metadata"]["labels"][_RANK]))


@pytest.fixture(autouse=True, scope="module")
def _store(loader: Callable[..., str]) -> Iterator[None]:
    """The claim is bound: some pod uses it. What the steps wrote there goes with them."""
    yield
    loader("rm", "-rf", "/store/e2e-train")


@pytest.fixture(scope="module")
def undisturbed(kube: Any, _store: None) -> Iterator[dict[str, Any]]:
    """What two nodes make when nothing happens to them."""
    found, log = step(kube, "train-step")
    assert "starting again" not in log
    yield found


def test_two_nodes_train_one_model(undisturbed: dict[str, Any]) -> None:
    assert undisturbed["world_size"] == 2
    assert undisturbed["accuracy"] > 0.8
    assert {"model.safetensors", "training.json", "state.json"} <= set(undisturbed["files"])


@pytest.mark.parametrize("rank", [0, 1])
def test_a_node_deleted_in_the_middle_changes_no_weight(kube: Any, undisturbed: dict[str, Any], rank: int) -> None:
    name = f"train-step-loses-{rank}"

    def delete() -> None:
        kube.wait(lambda: reached(kube, name) > undisturbed["steps"][0] // 2 or ended(kube, name), "half an epoch", 300)
        assert not ended(kube, name), kube.run("logs", name, "--tail=20")
        kube.run("delete", "pod", nodes(kube, name)[rank]["metadata"]["name"], "--wait=false")

    found, log = step(kube, name, meanwhile=delete)
    assert "starting again from step-" in log, log[-3000:]
    assert "resumed from step-" in log
    assert found["weights"] == undisturbed["weights"]
    assert found["steps"] == undisturbed["steps"]


def test_the_job_goes_with_the_step(kube: Any) -> None:
    name = "train-step-cancelled"
    start(kube, name)
    kube.wait(lambda: nodes(kube, name) or ended(kube, name), "the nodes", 300)
    assert not ended(kube, name), kube.run("logs", name, "--tail=20")
    pods = [p["metadata"]["name"] for p in nodes(kube, name)]
    kube.run("delete", "pod", name, "--wait=false")
    kube.wait(lambda: not kube.run("get", "pod", *pods, "--ignore-not-found").strip(), "the nodes' end", 180)
    kube.run("delete", "configmap", name)


def test_a_failing_node_is_named_with_its_status(kube: Any) -> None:
    found, _ = step(kube, "train-step-fails", "fails")
    assert "ended with status 3" in found["error"] and found["nodes"]
