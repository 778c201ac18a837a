"""Each identity can do its job and nothing more; each pair of pods may talk or not, as the policies say."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

CONTROLLER, PIPELINE, PREDICTOR, MLFLOW = "sluice-controller", "sluice-pipeline", "sluice-predictor", "sluice-mlflow"
RBAC = [
    (CONTROLLER, "patch", "modelrollouts.sluice.dev/status", True),
    (CONTROLLER, "create", "inferenceservices.serving.kserve.io", True),
    (CONTROLLER, "delete", "httproutes.gateway.networking.k8s.io", True),
    (CONTROLLER, "update", "leases.coordination.k8s.io", True),
    (CONTROLLER, "list", "pods", True),
    (CONTROLLER, "create", "pods", False),
    (CONTROLLER, "get", "secrets", False),
    (CONTROLLER, "list", "secrets", False),
    (CONTROLLER, "create", "trainjobs.trainer.kubeflow.org", False),
    (CONTROLLER, "create", "rolebindings.rbac.authorization.k8s.io", False),
    (CONTROLLER, "create", "pods/exec", False),
    (CONTROLLER, "patch", "pipelineschedules.sluice.dev/status", True),
    (CONTROLLER, "patch", "pipelineruns.sluice.dev", True),
    (CONTROLLER, "create", "pipelineruns.sluice.dev", True),
    (CONTROLLER, "get", "configmaps", True),
    (CONTROLLER, "list", "configmaps", False),
    (PIPELINE, "create", "pipelineschedules.sluice.dev", False),
    (PIPELINE, "create", "trainjobs.trainer.kubeflow.org", True),
    (PIPELINE, "delete", "trainjobs.trainer.kubeflow.org", True),
    (PIPELINE, "get", "pods/log", True),
    (PIPELINE, "patch", "modelrollouts.sluice.dev", True),
    (PIPELINE, "patch", "modelrollouts.sluice.dev/status", False),
    (PIPELINE, "delete", "modelrollouts.sluice.dev", False),
    (PIPELINE, "create", "inferenceservices.serving.kserve.io", False),
    (PIPELINE, "patch", "httproutes.gateway.networking.k8s.io", False),
    (PIPELINE, "list", "secrets", False),
    (PIPELINE, "create", "pods/exec", False),
    (PREDICTOR, "get", "pods", False),
    (PREDICTOR, "get", "secrets", False),
    (MLFLOW, "get", "pods", False),
    (MLFLOW, "list", "secrets", False),
]


@pytest.mark.parametrize(("who", "verb", "what", "allowed"), RBAC)
def test_role(kube: Any, who: str, verb: str, what: str, allowed: bool) -> None:
    resource, _, sub = what.partition("/")
    said = kube.run(
        "auth",
        "can-i",
        verb,
        resource,
        *([f"--subresource={sub}"] if sub else []),
        f"--as=system:serviceaccount:{kube.namespace}:{who}",
        check=False,
    ).strip()
    assert said == ("yes" if allowed else "no")


@pytest.mark.parametrize("who", [CONTROLLER, PIPELINE])
def test_a_role_ends_at_its_namespace(kube: Any, who: str) -> None:
    said = kube.run("auth", "can-i", "list", "pods", f"--as=system:serviceaccount:{kube.namespace}:{who}", check=False, namespace="default")
    assert said.strip() == "no"


#: who talks -> (to whom, allowed). The talkers are pods of the test with the label the policies go by.
TALK = [
    ("step", "mlflow:5000", True),
    ("training", "mlflow:5000", True),
    ("stranger", "mlflow:5000", False),
    ("step", "predictor:8080", False),
    ("stranger", "predictor:8080", False),
    ("controller", "predictor:8080", True),
    # The registry follows what serves: the controller is who tells it.
    ("controller", "mlflow:5000", True),
    ("step", "kubernetes:443", True),
    ("controller", "kubernetes:443", True),
    ("training", "kubernetes:443", False),
    ("stranger", "kubernetes:443", False),
    ("step", "controller:9090", False),
    ("stranger", "training:7777", False),
    ("training", "training:7777", True),
]
PROBE = "import socket,sys\ntry:\n socket.create_connection((sys.argv[1],int(sys.argv[2])),3).close();print('open')\nexcept OSError: print('closed')"
LISTEN = "import socket\ns=socket.create_server(('0.0.0.0',7777),backlog=64)\nwhile True: s.accept()[0].close()"


@pytest.fixture(scope="module")
def talkers(kube: Any, served: str) -> Any:
    names = []
    for component in ("step", "training", "stranger", "controller"):
        name = f"sluice-e2e-talker-{component}"
        names.append(name)
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "labels": {"app.kubernetes.io/component": component, "talker": component}},
            "spec": {
                "automountServiceAccountToken": False,
                "terminationGracePeriodSeconds": 1,
                "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
                "containers": [
                    {
                        "name": "c",
                        "image": "sluice/controller:0.1.0",
                        "imagePullPolicy": "IfNotPresent",
                        "command": ["python", "-c", LISTEN],
                        "resources": {"requests": {"cpu": "5m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}},
                        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                    }
                ],
            },
        }
        kube.run("apply", "-f", "-", stdin=json.dumps(pod))
    for name in names:
        kube.run("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=90s")
    yield lambda component, host, port: kube.run("exec", f"sluice-e2e-talker-{component}", "--", "python", "-c", PROBE, host, port).strip()
    kube.run("delete", "pod", *names, "--timeout=60s")


def address(kube: Any, whom: str) -> str:
    """A pod's address, so that no Service stands in between; the API server by its Service."""
    if whom == "kubernetes":
        return "kubernetes.default.svc"
    selector = {
        "mlflow": "app.kubernetes.io/component=mlflow",
        "predictor": f"sluice.dev/rollout={kube.rollout}",
        "controller": "app.kubernetes.io/name=sluice-controller",
        "training": "talker=training",
    }[whom]
    pods = json.loads(kube.run("get", "pods", "-l", selector, "-o", "json"))["items"]
    running = [p["status"]["podIP"] for p in pods if p["status"].get("phase") == "Running" and not p["metadata"].get("deletionTimestamp")]
    assert running, f"no running pod {selector}"
    return str(running[0])


def test_policies_table(kube: Any, talkers: Any) -> None:
    """One test for the table: a policy takes seconds to hold, on a busy node more, so the whole table is judged until it is right."""

    def wrong() -> list[str]:
        found = []
        for who, target, allowed in TALK:
            whom, port = target.split(":")
            said = talkers(who, address(kube, whom), port)
            if said != ("open" if allowed else "closed"):
                found.append(f"{who} -> {target}: {said}")
        return found

    deadline = time.monotonic() + 180
    while (found := wrong()) and time.monotonic() < deadline:
        time.sleep(2)
    assert not found, found


def test_every_pod_runs_under_the_restricted_standard(kube: Any) -> None:
    labels = json.loads(kube.run("get", "namespace", kube.namespace, "-o", "json"))["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    pods = kube.get("pods")["items"]
    assert {"sluice-controller", "mlflow"} <= {p["metadata"]["labels"].get("app.kubernetes.io/name") for p in pods}
    # what a restricted namespace would refuse is refused here too
    root = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "root"},
        "spec": {"containers": [{"name": "c", "image": "sluice/controller:0.1.0"}]},
    }
    said = kube.run("apply", "--dry-run=server", "-f", "-", stdin=json.dumps(root), check=False)
    assert "root" not in said
