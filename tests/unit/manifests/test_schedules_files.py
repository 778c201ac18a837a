"""The resources of schedules and runs: their schemas, the example that ships, and what the chart makes of its values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from serving.controller.runs import resource
from sluice import project
from sluice.kfp.connection import UI_VARIABLE
from sluice.kube.objects import KINDS

ROOT = Path(__file__).parents[3]
CRDS = {c["spec"]["names"]["kind"]: c for c in (yaml.safe_load(p.read_text()) for p in (ROOT / "manifests/crds").glob("pipeline*.yaml"))}
NIGHTLY = list(yaml.safe_load_all((ROOT / "manifests/examples/nightly.yaml").read_text()))


def schema(kind: str) -> dict[str, Any]:
    return CRDS[kind]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]


def read(raw: dict[str, Any]) -> Any:
    return resource.schedule({**raw, "metadata": {"namespace": "ns", "uid": "u", **raw["metadata"]}})


def test_the_controller_asks_for_what_the_definitions_serve() -> None:
    assert set(CRDS) == {"PipelineSchedule", "PipelineRun"}
    for kind, crd in CRDS.items():
        spec = crd["spec"]
        assert KINDS[kind] == (f"/apis/{spec['group']}/{spec['versions'][0]['name']}", spec["names"]["plural"])
        assert spec["versions"][0]["subresources"] == {"status": {}}


def test_the_nightly_example_is_taken_and_trains_the_examples_at_two() -> None:
    config, *schedules = NIGHTLY
    assert [s["kind"] for s in schedules] == ["PipelineSchedule", "PipelineSchedule"]
    for raw in schedules:
        jsonschema.validate(raw["spec"], schema("PipelineSchedule"))
        plan = read(raw)
        assert plan.cron.text == "0 2 * * *" and plan.zone.key == "UTC" and not plan.suspended
        name, key = plan.source.config_map
        assert name == config["metadata"]["name"]
        text = config["data"][key]
        example = ROOT / "examples" / key.removesuffix(".yaml").replace("-", "_") / "sluice.yaml"
        assert yaml.safe_load(text) == yaml.safe_load(example.read_text())
        assert project.parse(project.read_text(text, key)).data.source.startswith("sklearn://")


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"schedule": "0 2 * *", "pipeline": {"name": "p"}}, "does not match"),
        ({"pipeline": {"name": "p"}}, "schedule"),
        ({"schedule": "0 2 * * *", "concurrencyPolicy": "Maybe"}, "Maybe"),
        ({"schedule": "0 2 * * *", "history": {"failed": -1}}, "minimum"),
        ({"schedule": "0 2 * * *", "pipelineRoot": "bucket"}, "does not match"),
    ],
)
def test_a_wrong_schedule_is_refused_by_the_schema(spec: dict[str, Any], said: str) -> None:
    with pytest.raises(jsonschema.ValidationError, match=said):
        jsonschema.validate(spec, schema("PipelineSchedule"))


def test_pipelines_are_reached_or_left_alone(chart: Any) -> None:
    def parts(**values: Any) -> tuple[list[str], list[Any], list[Any]]:
        found = chart(pipelines=values)
        pod = found["Deployment", "sluice-controller"]["spec"]["template"]["spec"]
        return pod["containers"][0]["args"], found["NetworkPolicy", "controller"]["spec"]["egress"], pod["volumes"]

    args, egress, volumes = parts()
    assert (
        "--kfp-endpoint" in args
        and any(p["port"] == 8888 for rule in egress for p in rule["ports"])
        and not [v for v in volumes if "projected" in v]
    )
    args, egress, _ = parts(endpoint="")
    assert not [a for a in args if a.startswith("--kfp")] and not [p for rule in egress for p in rule["ports"] if p["port"] == 8888]
    args, _, volumes = parts(token=True, multiUser=True, timeZone="Europe/Berlin", ui="https://kubeflow.example.com/pipeline")
    assert args[args.index("--kfp-endpoint") + 2 :] == [
        "--kfp-timezone",
        "Europe/Berlin",
        "--kfp-multi-user",
        "--kfp-token",
        "/var/run/secrets/pipelines/token",
    ]
    token = next(v for v in volumes if "projected" in v)["projected"]["sources"][0]["serviceAccountToken"]
    assert token["audience"] == "pipelines.kubeflow.org"


def test_the_controller_has_the_pages_address_from_the_environments_config_map(chart: Any) -> None:
    found = chart(pipelines={"ui": "https://kubeflow.example.com/pipeline"})
    assert found["ConfigMap", "sluice-cluster"]["data"]["ui"] == "https://kubeflow.example.com/pipeline"
    pods = [found["Deployment", "sluice-controller"], next(yaml.safe_load_all((ROOT / "manifests/base/controller.yaml").read_text()))]
    for env in (pod["spec"]["template"]["spec"]["containers"][0]["env"] for pod in pods):
        assert {"name": UI_VARIABLE, "valueFrom": {"configMapKeyRef": {"name": "sluice-cluster", "key": "ui", "optional": True}}} in env


def test_with_many_users_runs_live_in_this_namespace_in_the_chart_as_in_kustomize(chart: Any) -> None:
    plain, found = chart(), chart(pipelines={"multiUser": True})
    folder = ROOT / "manifests/components/kfp-multi-user"
    there = {(d["kind"], d["metadata"]["name"]): d for d in yaml.safe_load_all((folder / "runs.yaml").read_text())}
    assert set(found) - set(plain) == set(there)
    for where, obj in there.items():
        assert {k: v for k, v in found[where].items() if k != "metadata"} == {k: v for k, v in obj.items() if k != "metadata"}, where
    patches = [op for p in yaml.safe_load((folder / "kustomization.yaml").read_text())["patches"] for op in yaml.safe_load(p["patch"])]
    container = found["Deployment", "sluice-controller"]["spec"]["template"]["spec"]["containers"][0]
    assert container["args"][-3:] == [op["value"] for op in patches[:3]]
    assert patches[3]["value"] in container["volumeMounts"]
    assert patches[4]["value"] in found["Deployment", "sluice-controller"]["spec"]["template"]["spec"]["volumes"]
    sources = found["NetworkPolicy", "mlflow"]["spec"]["ingress"][0]["from"]
    assert patches[5]["value"] in sources and patches[5]["value"] not in plain["NetworkPolicy", "mlflow"]["spec"]["ingress"][0]["from"]


def test_who_runs_steps_elsewhere_reaches_mlflow_from_there(chart: Any) -> None:
    runners = [{"name": "default-editor", "namespace": n} for n in ("team-a", "team-b", "sluice")]
    found = chart(pipelines={"runners": runners})
    assert [s["namespace"] for s in found["RoleBinding", "sluice-pipeline"]["subjects"][1:]] == ["team-a", "team-b", "sluice"]
    selectors = [
        s["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]
        for s in found["NetworkPolicy", "mlflow"]["spec"]["ingress"][0]["from"]
        if "namespaceSelector" in s
    ]
    assert selectors == ["kubeflow", "team-a", "team-b"]


def test_a_runs_report_may_ask_for_a_token_of_its_own_account_and_of_no_other(chart: Any) -> None:
    runners = [
        {"name": n, "namespace": s}
        for n, s in (("default-editor", "team-a"), ("robot", "team-a"), ("pipeline-runner", "kubeflow"), ("x", "sluice"))
    ]
    found = chart(pipelines={"runners": runners})
    roles = {name: o for (kind, name), o in found.items() if kind == "Role" and "-report" in name}
    assert {(o["metadata"]["namespace"], *o["rules"][0]["resourceNames"]) for o in roles.values()} == {
        ("team-a", "default-editor"),
        ("team-a", "robot"),
    }
    for name, role in roles.items():
        assert role["rules"] == [
            {
                "apiGroups": [""],
                "resources": ["serviceaccounts/token"],
                "resourceNames": role["rules"][0]["resourceNames"],
                "verbs": ["create"],
            }
        ]
        bound = found["RoleBinding", name]
        assert (bound["metadata"]["namespace"], bound["roleRef"]["name"]) == (role["metadata"]["namespace"], name)
        assert [(s["name"], s["namespace"]) for s in bound["subjects"]] == [(role["rules"][0]["resourceNames"][0], "team-a")]
