"""Who may promote: the component and the chart say the same, the roles hold no more than they must, the API's own schema takes the policy."""

from __future__ import annotations

import re
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.unit.manifests.conftest import ROOT, documents, key

FOLDER = "manifests/components/access"


@pytest.fixture(scope="module")
def access() -> dict[tuple[str, str], Any]:
    return {key(d): d for d in documents(FOLDER)}


def verbs(role: Any, resource: str) -> set[str]:
    return {v for rule in role["rules"] if resource in rule["resources"] for v in rule["verbs"]}


def test_each_object_is_one_the_api_server_knows(access: dict[tuple[str, str], Any]) -> None:
    assert len(access) == 8
    for obj in access.values():
        kubernetes_validate.validate(obj, "1.34", strict=True)


def test_who_may_promote_take_back_and_change_the_plan(access: dict[tuple[str, str], Any]) -> None:
    may = {name: verbs(access["Role", f"sluice-{name}"], "modelrollouts") for name in ("data-scientist", "approver", "platform")}
    assert [name for name, v in may.items() if "promote" in v] == ["approver"]
    assert [name for name, v in may.items() if "rollback" in v] == ["approver", "platform"]
    assert [name for name, v in may.items() if "configure" in v] == ["platform"]
    assert not {"patch", "update", "delete"} & may["data-scientist"] and "delete" not in may["approver"]
    for role in (o for k, o in access.items() if k[0] == "Role"):
        assert not {"secrets", "pods/exec", "*"} & {r for rule in role["rules"] for r in (*rule["resources"], *rule["verbs"])}


def test_the_policys_expressions_use_what_is_defined_and_are_balanced(access: dict[tuple[str, str], Any]) -> None:
    spec = access["ValidatingAdmissionPolicy", "sluice-promotion"]["spec"]
    known: set[str] = set()
    for variable in spec["variables"]:
        assert set(re.findall(r"variables\.(\w+)", variable["expression"])) <= known, variable["name"]
        known.add(variable["name"])
    used = set()
    for rule in spec["validations"]:
        found = set(re.findall(r"variables\.(\w+)", rule["expression"]))
        assert found <= known and rule["reason"] == "Forbidden"
        used |= found
    for text in (e["expression"] for e in (*spec["variables"], *spec["validations"])):
        assert text.count("(") == text.count(")") and text.count("'") % 2 == 0 and "oldObject" not in text.split("request.operation")[0]
    assert {"mayPromote", "mayGoBack", "mayConfigure", "model", "asksForward", "asksBack", "plan", "unlabelled"} <= used
    assert spec["failurePolicy"] == "Fail"


def test_the_chart_says_the_same_where_it_is_asked_to(access: dict[tuple[str, str], Any], chart: Any) -> None:
    assert not set(access) & set(chart())
    rendered = chart(access={"enabled": True})
    for where, obj in access.items():
        assert {k: v for k, v in rendered[where].items() if k != "metadata"} == {k: v for k, v in obj.items() if k != "metadata"}, where
    ours = chart(access={"enabled": True, "policy": False, "approvers": ["release-board", "on-call"]})
    assert ("ValidatingAdmissionPolicy", "sluice-promotion") not in ours
    assert [s["name"] for s in ours["RoleBinding", "sluice-approver"]["subjects"]] == ["release-board", "on-call"]


def test_the_component_labels_the_namespace() -> None:
    found = yaml.safe_load((ROOT / FOLDER / "kustomization.yaml").read_text())
    assert found["resources"] == ["roles.yaml", "policy.yaml"] and "sluice.dev~1stage" in found["patches"][0]["patch"]
