"""The chart: the same as kustomize's base, strict about values, each part switchable."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from sluice.rollouts.manifest import target

ROOT = Path(__file__).parents[3]
CHART = ROOT / "charts" / "sluice"


def test_it_agrees_with_kustomize(kustomized: Any, chart: Any) -> None:
    rendered = chart()
    only_here = {("Namespace", "sluice")}  # Helm installs into a namespace that is there
    assert set(kustomized) - only_here == {k for k in rendered if k[0] not in ("Pod", "Job")}
    runner = {"kind": "ServiceAccount", "name": "pipeline-runner", "namespace": "kubeflow"}  # a component, in kustomize
    for where, obj in kustomized.items():
        if where in only_here:
            continue
        other = rendered[where]
        for part in sorted((set(obj) | set(other)) - {"metadata"}):
            mine, theirs = obj[part], other[part]
            if part == "subjects":
                theirs = [s for s in theirs if s != runner]
            assert theirs == mine, (where, part)
        labels = obj["metadata"].get("labels") or {}
        assert labels.items() <= (other["metadata"].get("labels") or {}).items(), where


@pytest.mark.parametrize(
    "values",
    [
        {"nonsense": 1},
        {"controller": {"replicas": 0}},
        {"controller": {"replica": 2}},
        {"images": {"runtime": {"tag": "latest"}}},
        {"images": {"runtime": {"digest": "sha256:12"}}},
        {"store": {"uri": "http://bucket"}},
        {"quota": {"memory": "lots"}},
    ],
)
def test_a_wrong_value_is_refused(chart: Any, values: dict[str, Any]) -> None:
    import helm_python

    with helm_python.Chart.load(CHART) as loaded, pytest.raises(helm_python.HelmError):
        loaded.validate_schema(values)
    with helm_python.Chart.load(CHART) as loaded:
        loaded.validate_schema({})


@pytest.mark.parametrize(
    ("values", "gone"),
    [
        ({"controller": {"enabled": False}}, ("Deployment", "sluice-controller")),
        ({"mlflow": {"enabled": False}}, ("Deployment", "mlflow")),
        ({"serving": {"enabled": False}}, ("ServingRuntime", "sluice")),
        ({"training": {"enabled": False}}, ("TrainingRuntime", "sluice-torch")),
        ({"monitoring": {"enabled": False}}, ("PrometheusRule", "sluice")),
        ({"quota": {"enabled": False}}, ("ResourceQuota", "sluice")),
        ({"networkPolicies": {"enabled": False}}, ("NetworkPolicy", "default-deny")),
        ({"disruptionBudgets": {"enabled": False}}, ("PodDisruptionBudget", "sluice-controller")),
        ({"crds": {"install": False}}, ("CustomResourceDefinition", "modelrollouts.sluice.dev")),
        ({"priorityClasses": {"create": False}}, ("PriorityClass", "sluice-serving")),
        ({"store": {"uri": "s3://bucket/p"}}, ("PersistentVolumeClaim", "sluice-store")),
    ],
)
def test_each_part_can_be_left_out(chart: Any, values: dict[str, Any], gone: tuple[str, str]) -> None:
    assert gone in chart()
    assert gone not in chart(**values)


def test_an_image_by_digest_has_no_tag(chart: Any, pods_of: Any) -> None:
    digest = "sha256:" + "a" * 64
    found = chart(images={"registry": "registry.example/ml", "runtime": {"digest": digest}})
    assert pods_of(found["ServingRuntime", "sluice"])[0]["containers"][0]["image"] == f"registry.example/ml/sluice/runtime@{digest}"


def test_secrets_are_named_never_given(chart: Any) -> None:
    found = chart(mlflow={"existingSecret": "database"}, store={"uri": "s3://bucket/p", "existingSecret": "keys"})
    env = {e["name"]: e for e in found["Deployment", "mlflow"]["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert env["MLFLOW_BACKEND_STORE_URI"]["valueFrom"]["secretKeyRef"] == {"name": "database", "key": "uri"}
    assert found["ConfigMap", "sluice-cluster"]["data"]["SLUICE_STORE"] == "s3://bucket/p"


def test_steps_are_told_where_predictions_are_logged(chart: Any) -> None:
    def said(**values: Any) -> dict[str, str]:
        data = chart(**values)["ConfigMap", "sluice-cluster"]["data"]
        return {k: v for k, v in data.items() if k.startswith(("SLUICE_LOG", "SLUICE_MONITOR"))}

    assert said() == said(serving={"monitor": True}) == {}
    assert said(serving={"log": "s3://bucket/log"}) == {"SLUICE_LOG": "s3://bucket/log", "SLUICE_LOG_SECRET": "sluice-store"}
    found = said(serving={"log": "s3://bucket/log", "monitor": True}, store={"uri": "s3://bucket/p", "existingSecret": "keys"})
    assert found == {"SLUICE_LOG": "s3://bucket/log", "SLUICE_LOG_SECRET": "keys", "SLUICE_MONITOR": "true"}
    target({"SLUICE_NAMESPACE": "sluice", **found})


def test_resources_of_the_claims_stay_with_upgrades(chart: Any) -> None:
    crd = chart()["CustomResourceDefinition", "modelrollouts.sluice.dev"]
    assert crd["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"


def test_the_charts_crds_are_kustomizes() -> None:
    for path in (CHART / "files" / "crds").glob("*.yaml"):
        assert yaml.safe_load(path.read_text()) == yaml.safe_load((ROOT / "manifests" / "crds" / path.name).read_text())


def test_every_value_is_described() -> None:
    import json

    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())

    def same(value: Any, part: dict[str, Any], where: str) -> None:
        if isinstance(value, dict) and "properties" in part:
            assert set(value) | {"global"} == set(part["properties"]) | {"global"}, where
            assert part["additionalProperties"] is False, where
            for name in value:
                same(value[name], part["properties"][name], f"{where}.{name}")

    same(values, schema, "values")


def test_the_charts_monitoring_is_kustomizes() -> None:
    files = CHART / "files" / "monitoring"
    found = {p.relative_to(files) for p in files.rglob("*.yaml")}
    ours = ROOT / "manifests" / "monitoring"
    assert found == {p.relative_to(ours) for p in ours.rglob("*.yaml") if p.name != "kustomization.yaml"}
    assert not [str(p) for p in found if (files / p).read_text() != (ours / p).read_text()], "run: make golden"


def test_the_latency_alert_follows_the_objective(chart: Any) -> None:
    def slow(**monitoring: Any) -> str:
        groups = chart(monitoring=monitoring)["PrometheusRule", "sluice"]["spec"]["groups"]
        return str(next(r["expr"] for g in groups for r in g["rules"] if r.get("record") == "sluice:slow:ratio_rate5m"))

    assert 'le=~"1|1.0"' in slow()
    assert 'le=~"0.25|0.25.0"' in slow(latencySloSeconds=0.25)


def test_monitors_carry_the_labels_an_operator_selects_by(chart: Any) -> None:
    found = chart(monitoring={"labels": {"release": "stack"}})
    for kind, name in (("PodMonitor", "sluice-models"), ("PrometheusRule", "sluice-cluster")):
        assert found[kind, name]["metadata"]["labels"]["release"] == "stack"
    assert ("PrometheusRule", "sluice-cluster") not in chart(monitoring={"cluster": False})


def test_every_value_says_what_it_is_for() -> None:
    lines = (CHART / "values.yaml").read_text().splitlines()
    silent = [
        line for before, line in zip(["", *lines], lines, strict=False) if re.match(r"  [a-zA-Z]+:", line) and not before.startswith("  #")
    ]
    assert silent == []


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "port-forward service/mlflow"),
        ({}, "sluice-dashboards"),
        ({"monitoring": {"enabled": False}}, "Monitoring is off"),
        ({"controller": {"enabled": False}}, "The rollout controller is off"),
        ({"crds": {"install": False}}, "kubectl apply --server-side"),
        ({"store": {"uri": "s3://bucket/p"}}, "No secret for s3://bucket/p"),
    ],
)
def test_the_notes_tell_what_this_installation_lacks(values: dict[str, Any], said: str) -> None:
    import helm_python

    with helm_python.Chart.load(CHART) as loaded:
        notes = loaded.render(values, name="sluice", namespace="sluice")["sluice/templates/NOTES.txt"]
        assert said in notes
        if values:
            assert said not in loaded.render({}, name="sluice", namespace="sluice")["sluice/templates/NOTES.txt"]
