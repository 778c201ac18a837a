"""From the chart before this one to this one: what was tracked, stored and declared is there afterwards."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import PATIENCE

ROOT = Path(__file__).parents[2]
BEFORE, NOW = Path(__file__).parent / "charts" / "sluice-0.1.0.tgz", ROOT / "charts" / "sluice"
SPACE = "sluice-e2e-upgrade"
SMALL = [
    "--set",
    "priorityClasses.create=false,controller.replicas=1,controller.resources.requests.cpu=10m,"
    "mlflow.resources.requests.cpu=10m,serving.resources.requests.cpu=10m",
]
ASK = """
import json, sys, urllib.request
path, body = sys.argv[1], sys.argv[2].encode() if len(sys.argv) > 2 else None
request = urllib.request.Request("http://localhost:5000/api/2.0/mlflow/" + path, data=body, headers={"content-type": "application/json"})
print(urllib.request.urlopen(request, timeout=60).read().decode())
"""


def helm(*args: str) -> str:
    done = subprocess.run(["helm", "-n", SPACE, *args], capture_output=True, text=True, timeout=PATIENCE * 420, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


@pytest.fixture
def space(kube: Any) -> Iterator[str]:
    if not shutil.which("helm"):
        pytest.skip("helm is not on PATH")
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    release(kube)
    kube.run("delete", "namespace", SPACE, "--ignore-not-found", "--timeout=200s")
    kube.run("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE, "labels": labels}}))
    yield SPACE
    release(kube)
    kube.run("delete", "namespace", SPACE, "--wait=false")


def release(kube: Any) -> None:
    """A rollout whose controller is gone holds its namespace by its finalizer: what a test that failed leaves."""
    if kube.run("get", "modelrollout", "kept", "--ignore-not-found", "-o", "name", namespace=SPACE, check=False).strip():
        kube.run("patch", "modelrollout", "kept", "--type=merge", "-p", '{"metadata":{"finalizers":null}}', namespace=SPACE, check=False)


def mlflow(kube: Any, path: str, body: dict[str, Any] | None = None) -> Any:
    """MLflow's REST API, asked from within its pod."""
    more = [json.dumps(body)] if body is not None else []
    return json.loads(kube.run("exec", "deployment/mlflow", "--", "python3", "-c", ASK, path, *more, namespace=SPACE))


def up(kube: Any) -> None:
    for name in ("sluice-controller", "mlflow"):
        kube.run("rollout", "status", f"deployment/{name}", "--timeout=280s", namespace=SPACE)


def crd(kube: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(kube.run("get", "crd", "modelrollouts.sluice.dev", "-o", "json"))
    return found


def test_an_upgrade_from_the_previous_chart_keeps_everything(kube: Any, space: str) -> None:
    # where kustomize brought the CRDs they are its own to upgrade
    helm("install", "sluice", str(BEFORE), *SMALL, "--set", "crds.install=false")
    up(kube)
    made = mlflow(kube, "experiments/create", {"name": "before the upgrade"})["experiment_id"]
    rollout = {
        "apiVersion": "sluice.dev/v1alpha1",
        "kind": "ModelRollout",
        "metadata": {"name": "kept", "namespace": SPACE},
        "spec": {
            "model": {"name": "kept", "uri": "pvc://sluice-store/sha256/" + "a" * 64, "digest": "a" * 64},
            "traffic": {
                "backend": "Gateway",
                "hostname": "kept.example.com",
                "gateway": {"name": "kserve-ingress-gateway", "namespace": "kserve"},
            },
        },
    }
    kube.run("apply", "-f", "-", stdin=json.dumps(rollout), namespace=SPACE)
    before = {kind: uids(kube, kind) for kind in ("pvc", "modelrollouts", "serviceaccounts")}

    helm("upgrade", "sluice", str(NOW), *SMALL, "--set", "crds.install=false,monitoring.cluster=false,pipelines.upload=false")
    up(kube)

    for kind, found in before.items():
        assert found.items() <= uids(kube, kind).items(), kind
    assert mlflow(kube, f"experiments/get?experiment_id={made}")["experiment"]["name"] == "before the upgrade"
    said = json.loads(helm("list", "-o", "json"))[0]
    assert (said["chart"], said["status"], said["revision"]) == ("sluice-0.2.0", "deployed", "2")
    helm("rollback", "sluice", "1")
    up(kube)
    assert mlflow(kube, f"experiments/get?experiment_id={made}")["experiment"]["name"] == "before the upgrade"
    kube.run("delete", "modelrollout", "kept", "--timeout=60s", namespace=SPACE)
    helm("uninstall", "sluice", "--wait", "--timeout", "3m")


def uids(kube: Any, kind: str) -> dict[str, str]:
    items = json.loads(kube.run("get", kind, "-o", "json", namespace=SPACE))["items"]
    assert items, kind
    return {i["metadata"]["name"]: i["metadata"]["uid"] for i in items}


def test_the_api_server_upgrades_the_previous_crd_in_place(kube: Any) -> None:
    """The chart's CRD over the cluster's, as the upgrade applies it: accepted, same storage version, nothing of the old schema lost."""
    import tarfile

    with tarfile.open(BEFORE) as tar:
        member = tar.extractfile("sluice/files/crds/modelrollout.yaml")
        assert member is not None
        old = member.read().decode()
    for text in (old, (NOW / "files/crds/modelrollout.yaml").read_text()):
        said = kube.run("apply", "--server-side", "--force-conflicts", "--dry-run=server", "-f", "-", stdin=text)
        assert "modelrollouts.sluice.dev serverside-applied" in said
    assert [v["name"] for v in crd(kube)["spec"]["versions"] if v["storage"]] == ["v1alpha1"]
