"""A namespace on a real cluster, and the controller as a real process beside it.

Runs where ``$SLUICE_E2E`` is set and kubectl reaches a cluster with KServe and Gateway API (the lab's).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from serving.controller.kube import connect
from serving.controller.rollouts.backends.base import POD_OF
from serving.controller.rollouts.evidence import Prometheus
from sluice.core import processes
from sluice.core.processes import spawn, stop
from sluice.kube.client import KubeFault
from sluice.kube.objects import Objects
from sluice.rollouts.load_generator import Load, Request

HERE = Path(__file__).parent
ROOT = HERE.parents[3]
# A namespace for each of pytest's own processes.
NAMESPACE = "-".join(
    [os.environ.get("SLUICE_E2E_NAMESPACE", "sluice-rollout-test"), *filter(None, [os.environ.get("PYTEST_XDIST_WORKER")])]
)
IMAGE = "docker.io/library/python:3.11-slim"
SECURE = {
    "allowPrivilegeEscalation": False,
    "runAsNonRoot": True,
    "runAsUser": 1000,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


#: How much longer than on an idle machine anything is waited for: the cluster shares its cores with whatever else runs, and what a test
#: holds is that something comes, not when.
PATIENCE = 4


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if str(HERE) in str(item.path):
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.timeout(PATIENCE * 600))
            if not os.environ.get("SLUICE_E2E"):
                item.add_marker(pytest.mark.skip(reason="needs a cluster: set SLUICE_E2E=1"))


def wait_until(ready: Callable[[], bool], *, what: str, seconds: float, every: float = 0.05) -> None:
    """`processes.wait_until`, patiently."""
    processes.wait_until(ready, what=what, seconds=PATIENCE * seconds, every=every)


def kubectl(*args: str, stdin: str | None = None) -> str:
    done = subprocess.run(["kubectl", *args], input=stdin, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        raise AssertionError(f"kubectl {' '.join(args)}: {done.stderr}")
    return done.stdout


@pytest.fixture(scope="session")
def cluster() -> Iterator[Objects]:
    yield prepared()
    kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def prepared() -> Objects:
    """The API, with our CRD, an empty restricted namespace, the image of the stand-in on the node, and its source in a ConfigMap."""
    assert shutil.which("kubectl"), "kubectl is not on PATH"
    node = kubectl("get", "nodes", "-o", "jsonpath={.items[0].metadata.name}")
    images = kubectl("get", "node", node, "-o", "jsonpath={.status.images[*].names}")
    if IMAGE not in images:
        saved = subprocess.Popen(["docker", "save", IMAGE.removeprefix("docker.io/library/")], stdout=subprocess.PIPE)
        subprocess.run(
            ["docker", "exec", "-i", node, "ctr", "-n", "k8s.io", "images", "import", "--all-platforms", "-"],
            stdin=saved.stdout,
            check=True,
            capture_output=True,
            timeout=300,
        )
    if not kubectl("get", "crd", "modelrollouts.sluice.dev", "--ignore-not-found"):
        # One that is there is whoever's put it there.
        kubectl("apply", "--server-side", "-f", str(ROOT / "manifests" / "crds" / "modelrollout.yaml"))
    kubectl("delete", "modelrollouts", "--all", "-n", NAMESPACE, "--ignore-not-found", "--wait=false")
    api = connect()
    for item in api.list("ModelRollout", NAMESPACE):
        api.merge("ModelRollout", NAMESPACE, item["metadata"]["name"], {"metadata": {"finalizers": []}})
    kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=true", "--timeout=110s")
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    kubectl(
        "apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}})
    )
    source = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "server", "namespace": NAMESPACE},
        "data": {"server.py": (HERE / "server.py").read_text(), "users.py": (ROOT / "serving" / "runtime" / "users.py").read_text()},
    }
    kubectl("apply", "-f", "-", stdin=json.dumps(source))
    kubectl("apply", "-f", "-", stdin=json.dumps(RUNTIME))
    kubectl("apply", "-f", "-", stdin=json.dumps(MONITOR))
    return api


@pytest.fixture(scope="session")
def gateway() -> tuple[str, int]:
    return kubectl("get", "gateway", "-n", "kserve", "kserve-ingress-gateway", "-o", "jsonpath={.status.addresses[0].value}"), 80


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


PREDICTOR: dict[str, Any] = {
    "minReplicas": 1,
    "maxReplicas": 1,
    "containers": [
        {
            "name": "kserve-container",
            "image": IMAGE,
            "imagePullPolicy": "Never",
            "command": ["python", "/srv/server.py"],
            "env": [
                {"name": "BEHAVIOUR", "value": "$(URI)"},
                {"name": "DIGEST", "value": "$(DIGEST)"},
                {"name": "NAME", "value": "$(NAME)"},
            ],
            "ports": [{"containerPort": 8080, "name": "http1", "protocol": "TCP"}],
            "readinessProbe": {"httpGet": {"path": "/v2/health/ready", "port": 8080}, "periodSeconds": 1, "failureThreshold": 2},
            "resources": {"requests": {"cpu": "20m", "memory": "32Mi"}, "limits": {"memory": "128Mi"}},
            "securityContext": SECURE,
            "volumeMounts": [{"name": "server", "mountPath": "/srv"}],
        }
    ],
    "volumes": [{"name": "server", "configMap": {"name": "server"}}],
}


def manifest(name: str, version: str, behaviour: str = "", backend: str = "Gateway", **spec: Any) -> dict[str, Any]:
    """A ModelRollout at test pace; `version` makes the digest."""
    traffic: dict[str, Any] = {"backend": backend}
    if backend == "Gateway":
        traffic |= {"gateway": {"name": "kserve-ingress-gateway", "namespace": "kserve"}, "hostname": f"{name}.example.com"}
    shadow = {"shadow": {"requests": 100 if backend == "Gateway" else 0}}
    strategy = {
        **shadow,
        "steps": [20, 50],
        "minimumRequests": 250,
        "troubleSeconds": 2,
        "settleSeconds": 2,
        "warmupSeconds": 1,
        "verifySeconds": 3,
        "readySeconds": PATIENCE * 60,
        "stepDeadlineSeconds": PATIENCE * 120,
        "keepSeconds": 5,
    } | spec.pop("strategy", {})
    return {
        "apiVersion": "sluice.dev/v1alpha1",
        "kind": "ModelRollout",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "model": {"uri": f"test://{behaviour}", "digest": digest(version), "name": "m"},
            "traffic": traffic | spec.pop("traffic", {}),
            "serving": {"predictor": BY_RUNTIME if backend == "KServeCanary" else PREDICTOR},
            "strategy": strategy,
            "intervalSeconds": 1,
            **spec,
        },
    }


#: KServe's canary takes no custom containers: the same stand-in as a ServingRuntime.
RUNTIME: dict[str, Any] = {
    "apiVersion": "serving.kserve.io/v1alpha1",
    "kind": "ServingRuntime",
    "metadata": {"name": "standin", "namespace": NAMESPACE},
    "spec": {
        "supportedModelFormats": [{"name": "standin", "version": "1"}],
        "protocolVersions": ["v1"],
        "volumes": PREDICTOR["volumes"],
        "containers": [{k: v for k, v in PREDICTOR["containers"][0].items() if k != "env"}],
    },
}
BY_RUNTIME = {
    "minReplicas": 1,
    "maxReplicas": 1,
    "model": {"modelFormat": {"name": "standin"}, "runtime": "standin", "args": [], "env": PREDICTOR["containers"][0]["env"]},
    "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
}

#: Prometheus hears of a monitor within minutes: it is there before the first test asks.
MONITOR = {
    "apiVersion": "monitoring.coreos.com/v1",
    "kind": "PodMonitor",
    "metadata": {"name": "standins", "namespace": NAMESPACE},
    "spec": {
        "selector": {"matchExpressions": [{"key": POD_OF, "operator": "Exists"}]},
        "podMetricsEndpoints": [{"port": "http1", "path": "/metrics", "interval": "2s"}],
    },
}

#: KServe refuses a new main predictor with the old storageUri, so these models are fetched: from this pod, any path is a file.
FILES = f"http://files.{NAMESPACE}.svc.cluster.local"
FILE_SERVER: list[dict[str, Any]] = [
    {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "files", "namespace": NAMESPACE, "labels": {"app": "files"}},
        "spec": {
            "volumes": PREDICTOR["volumes"],
            "containers": [
                {**PREDICTOR["containers"][0], "env": [{"name": "BEHAVIOUR", "value": "test://"}, {"name": "DIGEST", "value": "files"}]}
            ],
        },
    },
    {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "files", "namespace": NAMESPACE},
        "spec": {"selector": {"app": "files"}, "ports": [{"port": 80, "targetPort": 8080}]},
    },
]


class Operator:
    """The controller as a process, killed and started at will."""

    def __init__(self, log: Path, *more: str, kubeconfig: Path | None = None):
        self.log, self.more, self.process = log, more, None
        self.env = {**os.environ, **({"KUBECONFIG": str(kubeconfig)} if kubeconfig else {})}

    def start(self) -> Operator:
        command = [
            sys.executable,
            "-m",
            "serving.controller",
            "--namespace",
            NAMESPACE,
            "--scrape",
            "proxy",
            "--metrics-port",
            "0",
            "--lease-namespace",
            NAMESPACE,
            "--lease-seconds",
            "4",
            *self.more,
        ]
        self.process = spawn(command, log=self.log, cwd=ROOT, env=self.env)
        return self

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)

    def stop(self) -> None:
        if self.process is not None:
            stop(self.process)


@pytest.fixture
def operator(cluster: Objects, tmp_path: Path, prometheus: str) -> Iterator[Operator]:
    one = Operator(tmp_path / "operator.log", "--prometheus", prometheus, "--prometheus", "http://127.0.0.1:9").start()
    yield one
    one.stop()
    text = one.log.read_text()
    assert "the look failed" not in text, text[-5000:]


@pytest.fixture
def prometheus(cluster: Objects) -> str:
    """The cluster's Prometheus by its port on the node; `prepared` told it of the stand-ins."""
    node = kubectl("get", "nodes", "-o", "jsonpath={.items[0].status.addresses[?(@.type=='InternalIP')].address}")
    port = kubectl("get", "service", "-n", "monitoring", "prometheus", "-o", "jsonpath={.spec.ports[0].nodePort}")
    return f"http://{node}:{port}"


def scraped(url: str, of: str) -> bool:
    """Whether that Prometheus has seen a model with this digest."""
    return bool(Prometheus(url).query(f'sluice_model_info{{namespace="{NAMESPACE}",version="{of[:12]}"}}'))


class Api:
    """What a test asks the cluster."""

    def __init__(self, kube: Objects):
        self.kube = kube

    def apply(self, obj: dict[str, Any]) -> None:
        kubectl("apply", "-f", "-", stdin=json.dumps(obj))

    def status(self, name: str) -> dict[str, Any]:
        found = self.kube.get("ModelRollout", NAMESPACE, name)
        return (found or {}).get("status") or {}

    def phase(self, name: str) -> str:
        return str(self.status(name).get("phase", ""))

    def until(self, name: str, *phases: str, seconds: float = 180, version: str | None = None) -> dict[str, Any]:
        end = time.monotonic() + PATIENCE * seconds
        while time.monotonic() < end:
            status = self.status(name)
            of = (
                version is None
                or digest(version)[:12] in (status.get("candidate"), status.get("stable"))
                or status.get("phase") == "RolledBack"
            )
            if status.get("phase") in phases and of:
                return status
            time.sleep(0.3)
        status = self.status(name)
        raise AssertionError(
            f"{name} is in {status.get('phase')}/{status.get('stage')}, not {phases}: {status.get('message')}\n"
            + "\n".join(h["message"] for h in status.get("history", []))
        )


@pytest.fixture
def api(cluster: Objects) -> Api:
    return Api(cluster)


@pytest.fixture
def load(gateway: tuple[str, int]) -> Iterator[Callable[..., Load]]:
    running: list[Load] = []

    def start(name: str, rate: float = 60, address: tuple[str, int] | None = None, host: str | None = None) -> Load:
        headers = {"content-type": "application/json", "host": host or f"{name}.example.com"}
        requests = [Request(json.dumps({"instances": [n]}).encode(), "/v1/models/m:predict", "abc"[n % 3], headers) for n in range(30)]
        running.append(Load(address or gateway, requests, rate, arm_header="x-sluice-version"))
        running[-1].start()
        return running[-1]

    yield start
    for one in running:
        one.stop()


@pytest.fixture
def named(cluster: Objects, request: pytest.FixtureRequest) -> Iterator[str]:
    """A name for this test's rollout; what it leaves is removed without the controller."""
    name = "t-" + hashlib.sha256(request.node.name.encode()).hexdigest()[:8]
    yield name
    for kind in ("ModelRollout", "HTTPRoute", "InferenceService"):
        found = (
            [name]
            if kind != "InferenceService"
            else [s["metadata"]["name"] for s in cluster.list(kind, NAMESPACE, f"sluice.dev/rollout={name}")]
        )
        for one in found:
            try:
                if kind == "ModelRollout" and cluster.get(kind, NAMESPACE, one):
                    cluster.merge(kind, NAMESPACE, one, {"metadata": {"finalizers": []}})
                cluster.delete(kind, NAMESPACE, one)
            except KubeFault as e:
                if e.status != 404:
                    raise
