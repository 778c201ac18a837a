"""The chart beside the kustomize installation: in, tested, upgraded, and gone without a trace; the overlays against the API server."""

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
SPACE = "sluice-e2e-helm"
# CRDs and priority classes are the cluster's, and kustomize's here; a small node.
VALUES = [
    "--set",
    "crds.install=false,pipelines.upload=false,priorityClasses.create=false,controller.replicas=1,controller.resources.requests.cpu=10m,"
    "mlflow.resources.requests.cpu=10m,serving.resources.requests.cpu=10m",
]


def helm(*args: str) -> str:
    done = subprocess.run(["helm", "-n", SPACE, *args], capture_output=True, text=True, timeout=PATIENCE * 420, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def space(kube: Any) -> Iterator[str]:
    if not shutil.which("helm"):
        pytest.skip("helm is not on PATH")
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    kube.run("delete", "namespace", SPACE, "--ignore-not-found", "--timeout=200s")
    kube.run("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE, "labels": labels}}))
    yield SPACE
    kube.run("delete", "namespace", SPACE, "--wait=false")


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ([], ["crds.install=false,priorityClasses.create=false", "--take-ownership --set adopt=true"]),
        (["--set", "crds.install=false"], ["--set priorityClasses.create=false"]),
    ],
)
def test_the_chart_beside_kustomize_names_the_flags_it_needs(kube: Any, space: str, more: list[str], says: list[str]) -> None:
    said = refused(SPACE, *more)
    assert all(s in said for s in says), said
    assert kube.run("get", "serviceaccounts", "-o", "name", namespace=SPACE).split() == ["serviceaccount/default"]


def test_the_chart_in_the_namespace_of_another_installation_says_so_and_changes_nothing(kube: Any, space: str) -> None:
    said = refused(kube.namespace)
    assert f"namespace {kube.namespace} holds another installation of Sluice" in said


def refused(namespace: str, *more: str) -> str:
    done = subprocess.run(
        ["helm", "-n", namespace, "install", "sluice-e2e", str(ROOT / "charts" / "sluice"), *more],
        capture_output=True,
        text=True,
        timeout=PATIENCE * 120,
        check=False,
    )
    assert done.returncode != 0
    return done.stderr


def test_the_chart_installs_passes_its_test_upgrades_and_leaves(kube: Any, space: str) -> None:
    chart = str(ROOT / "charts" / "sluice")
    # not `--wait`: it waits for the store's claim, which a storage class that waits for its first consumer leaves pending
    helm("install", "sluice", chart, *VALUES)
    kube.run("wait", "--for=condition=Available", "deployment", "--all", "--timeout=280s", namespace=SPACE)
    helm("test", "sluice", "--timeout", "3m")
    helm("upgrade", "sluice", chart, *VALUES, "--set", "quota.cpu=7")
    quota = json.loads(kube.run("get", "resourcequota", "sluice", "-o", "json", namespace=SPACE))
    assert quota["spec"]["hard"]["requests.cpu"] == "7"
    claims = {
        c["metadata"]["name"]: c["metadata"]["uid"] for c in json.loads(kube.run("get", "pvc", "-o", "json", namespace=SPACE))["items"]
    }
    assert set(claims) == {"mlflow", "sluice-store"}
    helm("uninstall", "sluice", "--wait", "--timeout", "3m")
    left = kube.run(
        "get", "deployments,services,roles,networkpolicies,resourcequotas,servingruntimes", "-o", "name", namespace=SPACE
    ).split()
    assert left == []
    assert kube.run("get", "crd", "modelrollouts.sluice.dev", "-o", "name").strip()


@pytest.mark.parametrize("overlay", ["kind", "dev", "staging", "production"])
def test_the_api_server_takes_every_object_of_an_overlay(kube: Any, overlay: str) -> None:
    """A server-side dry run; a namespace that is not there is stood in for by the one that is."""
    text = kube.run("kustomize", str(ROOT / "manifests" / "overlays" / overlay))
    text = text.replace(f"namespace: sluice-{overlay}\n", f"namespace: {kube.namespace}\n")
    said = kube.run("apply", "--server-side", "--force-conflicts", "--dry-run=server", "-f", "-", stdin=text)
    assert said.count("serverside-applied") > 30
