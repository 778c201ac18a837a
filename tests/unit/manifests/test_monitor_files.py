"""The resource of monitors: its schema beside the project file's section and a PipelineRun's spec, and what lets requests in."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from pydantic import BaseModel

from serving.controller.monitors.resource import monitor
from sluice.kube.objects import KINDS
from sluice.monitor.config import MonitorConfig, Retrain

ROOT = Path(__file__).parents[3]
CRD = yaml.safe_load((ROOT / "manifests/crds/modelmonitor.yaml").read_text())
RUN = yaml.safe_load((ROOT / "manifests/crds/pipelinerun.yaml").read_text())
EXAMPLE = yaml.safe_load((ROOT / "manifests/examples/monitor.yaml").read_text())
#: Of spec.retrain, and no setting of a project's.
OWN = {"alerts", "events", "run"}


def spec(crd: dict[str, Any] = CRD) -> dict[str, Any]:
    return crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]


def camel(name: str) -> str:
    return re.sub(r"_([a-z])", lambda m: m[1].upper(), name)


def test_the_controller_asks_for_what_the_definition_serves() -> None:
    served = CRD["spec"]
    assert KINDS["ModelMonitor"] == (f"/apis/{served['group']}/{served['versions'][0]['name']}", served["names"]["plural"])
    columns = [c["name"] for c in served["versions"][0]["additionalPrinterColumns"]]
    assert {"Rows", "Drift", "Quality", "Last alarm", "Last retraining"} <= set(columns)


def test_a_retraining_makes_what_a_pipeline_run_may_be() -> None:
    mine, theirs = spec()["properties"]["retrain"]["properties"]["run"]["properties"], spec(RUN)["properties"]
    assert mine == theirs


def sections() -> list[tuple[str, dict[str, Any], type[BaseModel]]]:
    found = [("retrain", {k: v for k, v in spec()["properties"]["retrain"]["properties"].items() if k not in OWN}, Retrain)]
    for name, info in MonitorConfig.model_fields.items():
        if name != "retrain" and isinstance(info.annotation, type) and name in spec()["properties"]:
            found.append((name, spec()["properties"][name]["properties"], info.annotation))
    return found


@pytest.mark.parametrize(("name", "properties", "section"), sections(), ids=lambda v: v if isinstance(v, str) else "")
def test_a_section_is_the_project_files(name: str, properties: dict[str, Any], section: type[BaseModel]) -> None:
    """The same settings; a bound or a default that the definition names is the same too."""
    assert set(properties) == {camel(k) for k in section.model_fields}, name
    json_schema = section.model_json_schema()["properties"]
    for key in section.model_fields:
        mine = properties[camel(key)]
        theirs = next((p for p in json_schema[key].get("anyOf", [json_schema[key]]) if p.get("type") == mine.get("type")), {})
        for bound in ("minimum", "maximum"):
            told = theirs.get(bound, theirs.get(f"exclusive{bound.capitalize()}"))
            assert told is None or mine.get(bound) == told, (name, key)
        if "default" in mine:
            assert mine["default"] == json_schema[key]["default"], (name, key)


def test_every_window_and_drift_setting_can_be_said() -> None:
    assert {"window", "drift"} <= {name for name, *_ in sections()}


def test_the_example_is_taken() -> None:
    jsonschema.Draft4Validator(spec()).validate(EXAMPLE["spec"])
    meta = {"namespace": "sluice", "uid": "u", **EXAMPLE["metadata"]}
    item = monitor({**EXAMPLE, "metadata": meta})
    assert item.policy is not None and item.policy.time_zone == "Europe/Berlin" and item.policy.drift is not None
    jsonschema.validate(item.run, spec(RUN))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model": ""}, "model|non-empty|short"),
        ({"log": "/var/log"}, "does not match"),
        ({"package": {"uri": "s3://b/p", "digest": "abc"}}, "does not match"),
        ({"retrain": {"schedule": "0 2 * * *"}}, "run"),
        ({"retrain": {"run": {}, "schedule": "every night at two"}}, "does not match"),
        ({"retrain": {"run": {}, "perDay": 0}}, "minimum"),
        ({"window": {"rows": 5}}, "minimum"),
        ({"drift": {"method": "chi2"}}, "chi2"),
        ({"rowsPerLook": 1}, "minimum"),
    ],
)
def test_a_wrong_one_is_refused_by_the_schema(change: dict[str, Any], said: str) -> None:
    with pytest.raises(jsonschema.ValidationError, match=said):
        jsonschema.Draft4Validator(spec()).validate({**EXAMPLE["spec"], **change})


def test_requests_are_let_in_by_a_token_alone_in_the_chart_as_in_kustomize(chart: Any) -> None:
    plain, found = chart(), chart(controller={"requests": {"existingSecret": "sluice-requests"}})
    component = yaml.safe_load((ROOT / "manifests/components/requests/kustomization.yaml").read_text())
    said = {(p["target"]["kind"], p["target"]["name"]): yaml.safe_load(p["patch"]) for p in component["patches"]}
    for where, operations in said.items():
        before, after = plain[where], found[where]
        for op in operations:
            path = op["path"].strip("/").split("/")[:-1]
            old: Any = before
            new: Any = after
            for step in path:
                old, new = (old[int(step)], new[int(step)]) if isinstance(old, list) else (old[step], new[step])
            assert op["value"] in new and op["value"] not in old, (where, op)
    assert "--requests-port" not in str(plain["Deployment", "sluice-controller"])


def test_the_controller_reaches_the_store_and_whoever_has_keys_needs_no_other(chart: Any) -> None:
    found = chart(store={"uri": "s3://bucket/p", "existingSecret": "keys", "endpoint": "http://store.data:9000", "namespace": "data"})
    container = found["Deployment", "sluice-controller"]["spec"]["template"]["spec"]["containers"][0]
    assert container["envFrom"] == [{"secretRef": {"name": "keys", "optional": True}}]
    assert found["NetworkPolicy", "store"]["spec"]["podSelector"]["matchExpressions"][0]["values"] == ["mlflow"]
