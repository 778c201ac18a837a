"""What a first model needs is part of what is installed: store, secret, service account, policies and defaults, in kustomize as in the chart."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from sluice.core import yamlfile
from sluice.kfp.needs import of_steps
from sluice.kfp.site import Site, Told
from sluice.project import parse

ROOT = Path(__file__).parents[3]
OVERLAYS = sorted(p.name for p in (ROOT / "manifests/overlays").iterdir())
DIGITS = yamlfile.load((ROOT / "examples/digits/sluice.yaml").read_text(), "digits")
Object = dict[str, Any]


def built(folder: str) -> dict[tuple[str, str], Object]:
    """A kustomization as kubectl builds it."""
    if not shutil.which("kubectl"):
        pytest.skip("kubectl is not on PATH: `kubectl kustomize` builds overlays")
    done = subprocess.run(["kubectl", "kustomize", str(ROOT / folder)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return {(d["kind"], d["metadata"]["name"]): d for d in yaml.safe_load_all(done.stdout)}


def told(objects: dict[tuple[str, str], Object], namespace: str) -> Site:
    return Site.parse(namespace, objects["ConfigMap", "sluice-cluster"]["data"])


def lacks(site: Site) -> list[str]:
    """What the steps of examples/digits lack there, as it stands in the tree."""
    project = parse(DIGITS)
    ready = project.model_copy(update={"cluster": site.under(project.cluster)})
    return [str(n) for n in of_steps(ready, Told(site))]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_tells_the_steps_of_any_project_all_they_need(overlay: str) -> None:
    found = built(f"manifests/overlays/{overlay}")
    space = yaml.safe_load((ROOT / "manifests/overlays" / overlay / "kustomization.yaml").read_text())["namespace"]
    site = told(found, space)
    assert lacks(site) == []
    env = site.under(parse(DIGITS).cluster).of("register").env
    assert (env["SLUICE_NAMESPACE"], env["MLFLOW_TRACKING_URI"]) == (space, f"http://mlflow.{space}:5000")
    assert site.pipeline == f"{space}-training"
    if not overlay.startswith("kind"):
        assert site.image == found["Deployment", "mlflow"]["spec"]["template"]["spec"]["containers"][0]["image"], (
            "the image moves with the overlay's"
        )
    job = found["Job", "sluice-pipelines"]["spec"]["template"]["spec"]
    assert job["serviceAccountName"] == "sluice-pipeline"
    assert job["containers"][0]["image"] == found["Deployment", "mlflow"]["spec"]["template"]["spec"]["containers"][0]["image"], (
        "of the same version"
    )
    rules = found["Role", "sluice-pipeline"]["rules"]
    assert {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["sluice-cluster"], "verbs": ["get"]} in rules


def policies(objects: dict[tuple[str, str], Object]) -> dict[str, Object]:
    return {name: o["spec"] for (kind, name), o in objects.items() if kind == "NetworkPolicy"}


#: The store's kind -> (kustomize: folder with it, the chart's values).
STORES: dict[str, tuple[str, Object]] = {
    "inside": ("manifests/overlays/kind", {"store": {"pipelines": True}}),
    "outside": ("manifests/overlays/dev", {"store": {"uri": "s3://sluice-dev/packages", "existingSecret": "sluice-store"}}),
    "claim": (
        "manifests/overlays/kind-claim",
        {"store": {"volume": {"hostPath": {"path": "/var/local/sluice-store", "type": "Directory"}}}},
    ),
}


@pytest.mark.parametrize("kind", STORES)
def test_each_kind_of_store_is_whole_and_the_same_by_helm(chart: Any, kind: str) -> None:
    folder, values = STORES[kind]
    ours, theirs = built(folder), chart(**values)
    space = "sluice-dev" if kind == "outside" else "sluice"
    here, there = told(ours, space), told(theirs, "sluice")
    assert lacks(here) == lacks(there) == []
    mine, other = (s.under(parse(DIGITS).cluster).of("register") for s in (here, there))
    names = ("SLUICE_STORE", "AWS_ENDPOINT_URL_S3", "AWS_REGION")
    assert [mine.env.get(n) for n in names] == [other.env.get(n) for n in names]
    assert [(s.name, s.env) for s in mine.secrets] == [(s.name, s.env) for s in other.secrets]
    assert mine.volumes == other.volumes
    assert policies(ours).get("store") == policies(theirs).get("store")
    account = ("ServiceAccount", "sluice-predictor")
    assert ours[account].get("secrets") == theirs[account].get("secrets")
    if kind == "claim":
        claims = {o["spec"]["claimRef"]["namespace"]: o["spec"] for o in ours.values() if o["kind"] == "PersistentVolume"}
        assert claims == {o["spec"]["claimRef"]["namespace"]: o["spec"] for o in theirs.values() if o["kind"] == "PersistentVolume"}
        assert set(claims) == {"sluice", "kubeflow"}
    else:
        assert ("PersistentVolumeClaim", "sluice-store") not in theirs


def test_the_store_inside_the_cluster_is_reached_by_the_ports_its_policy_names(chart: Any) -> None:
    rule = policies(chart(store={"uri": "s3://models/p", "endpoint": "http://minio.store:9000", "namespace": "store", "ports": [9000]}))[
        "store"
    ]["egress"][0]
    assert rule == {
        "to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "store"}}}],
        "ports": [{"protocol": "TCP", "port": 9000}],
    }
    outside = policies(chart(store={"uri": "s3://models/p", "ports": [9443]}))["store"]["egress"][0]
    assert outside["ports"] == [{"protocol": "TCP", "port": 9443}] and "ipBlock" in outside["to"][0]


def test_the_namespace_of_runs_is_the_same_by_kustomize_and_by_helm(chart: Any) -> None:
    rendered = chart(networkPolicies={"steps": True})
    ours = built("manifests/runs")["NetworkPolicy", "sluice-steps"]
    theirs = rendered["NetworkPolicy", "sluice-steps"]
    assert (ours["metadata"]["namespace"], ours["spec"]) == (theirs["metadata"]["namespace"], theirs["spec"])
    assert ("NetworkPolicy", "sluice-steps") not in chart()
    assert ours["spec"]["podSelector"]["matchLabels"]["sluice.dev/environment"] == "sluice", (
        "another environment's steps are not held by it"
    )
    ports = chart(networkPolicies={"steps": True}, store={"uri": "s3://models/p", "ports": [9443, 443]})["NetworkPolicy", "sluice-steps"][
        "spec"
    ]["egress"][1]["ports"]
    assert [p["port"] for p in ports] == [443, 6443, 9443]
    claim = built("manifests/runs/claim")["PersistentVolumeClaim", "sluice-store"]
    values = STORES["claim"][1]
    import helm_python

    with helm_python.Chart.load(ROOT / "charts/sluice") as loaded:
        texts = loaded.render(values, name="sluice", namespace="sluice")
    claims = [
        d for t in (texts["sluice/templates/store.yaml"],) for d in yaml.safe_load_all(t) if d and d["kind"] == "PersistentVolumeClaim"
    ]
    there = {c["metadata"].get("namespace", "sluice"): c["spec"] for c in claims}
    assert there["kubeflow"] == {**claim["spec"], "volumeName": "sluice-store-kubeflow"}
    assert there["sluice"] == built("manifests/overlays/kind-claim")["PersistentVolumeClaim", "sluice-store"]["spec"]


@pytest.mark.parametrize("folder", ["runs", "runs/store", "runs/claim", "overlays/kind-claim"])
def test_kubernetes_takes_what_is_beside_the_base(folder: str) -> None:
    for (kind, _), obj in built(f"manifests/{folder}").items():
        if kind in ("NetworkPolicy", "PersistentVolumeClaim", "PersistentVolume", "Job", "ConfigMap"):
            kubernetes_validate.validate(obj, "1.34", strict=True)


def test_the_job_that_brings_the_pipelines_is_the_charts_and_restricted(chart: Any) -> None:
    ours = yaml.safe_load((ROOT / "manifests/components/kfp/pipelines.yaml").read_text())
    theirs = chart()["Job", "sluice-pipelines-1"]
    assert ours["spec"] == theirs["spec"] and ours["metadata"]["annotations"] == theirs["metadata"]["annotations"]
    pod = ours["spec"]["template"]["spec"]
    container = pod["containers"][0]
    assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["resources"]["limits"]["memory"] and "latest" not in container["image"]
    for values in ({"pipelines": {"upload": False}}, {"pipelines": {"endpoint": ""}}):
        assert not [k for k in chart(**values) if k[0] == "Job"]


def test_a_sites_own_defaults_reach_every_project(chart: Any) -> None:
    found = chart(
        pipelines={
            "cluster": {"service_account": "runner", "defaults": {"resources": {"requests": {"cpu": "10m"}}}},
            "ui": "https://kf.example/pipeline",
        }
    )
    site = told(found, "sluice")
    assert (site.cluster["service_account"], site.ui) == ("runner", "https://kf.example/pipeline")
    settings = site.under(parse(DIGITS).cluster).of("train")
    assert settings.resources.requests.cpu == "10m" and [v.claim for v in settings.volumes] == ["sluice-store"]
    assert (
        told(chart(mlflow={"enabled": False, "uri": "https://mlflow.example"}), "sluice").cluster["defaults"]["env"]["MLFLOW_TRACKING_URI"]
        == "https://mlflow.example"
    )
    assert json.dumps(site.cluster)


def test_the_examples_are_a_kustomization_that_runs_the_digits_project(tmp_path: Path) -> None:
    import jsonschema

    from serving.controller.kube import connect
    from serving.controller.runs import resource
    from tests.unit.rollouts.memory_api import MemoryApi

    found = built("manifests/examples")
    assert set(found) == {("ConfigMap", "digits-project"), ("PipelineRun", "digits")}
    run, config = found["PipelineRun", "digits"], found["ConfigMap", "digits-project"]
    assert {o["metadata"]["namespace"] for o in found.values()} == {"sluice"} and "DIGEST" not in json.dumps(list(found.values()))
    crd = yaml.safe_load((ROOT / "manifests/crds/pipelinerun.yaml").read_text())
    jsonschema.validate(run["spec"], crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"])
    api = MemoryApi()
    api.put("/api/v1/namespaces/sluice/configmaps/digits-project", config)
    name, text = resource.source(run["spec"]).resolve(connect(api), "sluice")
    assert (name, yamlfile.load(text or "", "run")) == ("digits", DIGITS)
    assert (ROOT / "examples/digits/sluice.yaml").read_text() == text
