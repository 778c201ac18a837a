"""What no manifest of ours may do, in kustomize's output and in Helm's."""

from __future__ import annotations

import re
from typing import Any

import kubernetes_validate
import pytest

CUSTOM = {"ServingRuntime", "TrainingRuntime", "PodMonitor", "ServiceMonitor", "PrometheusRule", "CustomResourceDefinition"}


@pytest.fixture(params=["kustomize", "helm"])
def objects(request: pytest.FixtureRequest, kustomized: Any, chart: Any) -> list[dict[str, Any]]:
    return list((kustomized if request.param == "kustomize" else chart()).values())


def containers(objects: list[dict[str, Any]], pods_of: Any) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    found = [(f"{o['kind']}/{o['metadata']['name']}", pod, c) for o in objects for pod in pods_of(o) for c in pod["containers"]]
    assert len(found) >= 4
    return found


def test_every_container_is_restricted(objects: list[dict[str, Any]], pods_of: Any) -> None:
    for where, pod, c in containers(objects, pods_of):
        both = {**(pod.get("securityContext") or {}), **c["securityContext"]}
        assert both["runAsNonRoot"] is True and both["runAsUser"] >= 1000, where
        assert both["seccompProfile"] == {"type": "RuntimeDefault"}, where
        assert both["allowPrivilegeEscalation"] is False and both["capabilities"] == {"drop": ["ALL"]}, where
        assert both["readOnlyRootFilesystem"] is True, where
        assert not pod.get("hostNetwork") and not pod.get("hostPID"), where
        assert not [v for v in pod.get("volumes") or [] if "hostPath" in v], where


def test_every_container_is_bounded_and_pinned(objects: list[dict[str, Any]], pods_of: Any) -> None:
    for where, _, c in containers(objects, pods_of):
        assert c["resources"]["limits"]["memory"] and c["resources"]["requests"]["cpu"], where
        assert re.search(r":(?!latest)[\w.-]+$|@sha256:[0-9a-f]{64}$", c["image"]), (where, c["image"])


def test_what_stays_up_is_probed(objects: list[dict[str, Any]], pods_of: Any) -> None:
    for obj in objects:
        if obj["kind"] in ("Deployment", "ServingRuntime"):
            for pod in pods_of(obj):
                assert all({"readinessProbe", "livenessProbe"} <= set(c) for c in pod["containers"]), obj["metadata"]["name"]


def test_roles_are_narrow(objects: list[dict[str, Any]]) -> None:
    roles = [o for o in objects if o["kind"] in ("Role", "ClusterRole")]
    assert roles and all(o["kind"] == "Role" for o in roles)
    for role in roles:
        for rule in role["rules"]:
            assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
            assert "secrets" not in rule["resources"]
            assert not {"escalate", "bind", "impersonate"} & set(rule["verbs"])


def test_nothing_is_open_by_default(objects: list[dict[str, Any]]) -> None:
    policies = {o["metadata"]["name"]: o["spec"] for o in objects if o["kind"] == "NetworkPolicy"}
    deny = policies["default-deny"]
    assert (
        deny["podSelector"] == {} and set(deny["policyTypes"]) == {"Ingress", "Egress"} and "ingress" not in deny and "egress" not in deny
    )
    for name, spec in policies.items():
        for rule in [*(spec.get("ingress") or []), *(spec.get("egress") or [])]:
            assert rule.get("from") or rule.get("to"), f"{name} opens to everybody"


def test_kubernetes_takes_the_objects(objects: list[dict[str, Any]]) -> None:
    for obj in objects:
        if obj["kind"] not in CUSTOM:
            kubernetes_validate.validate(obj, "1.34", strict=True)


def test_no_secret_is_in_the_tree(objects: list[dict[str, Any]]) -> None:
    assert not [o for o in objects if o["kind"] == "Secret"]
