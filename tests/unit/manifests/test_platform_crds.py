"""Our objects of the platform's kinds against the platform's own schemas, where its manifests lie on this machine."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

ROOT = Path(__file__).parents[3]
OURS = {"ServingRuntime", "TrainingRuntime", "PodMonitor", "ServiceMonitor", "PrometheusRule"}
PLATFORMS = {"Gateway", "GatewayClass", "EnvoyProxy", "Prometheus"}


class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """YAML 1.1 has a type for a bare `=`, which PyYAML does not build."""


Loader.add_constructor("tag:yaml.org,2002:value", lambda _, node: node.value)


@pytest.fixture(scope="session")
def schemas() -> dict[tuple[str, str], dict[str, Any]]:
    """(apiVersion, kind) -> closed schema. make exports the folder; see make/cluster.mk."""
    folder = os.environ.get("SLUICE_PLATFORM_MANIFESTS") or ""
    if not folder or not Path(folder).is_dir():
        pytest.skip("SLUICE_PLATFORM_MANIFESTS names no folder with the platform's rendered manifests")
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for path in Path(folder).glob("*.yaml"):
        # only what is needed is parsed: these files hold tens of megabytes
        for text in path.read_text().split("\n---"):
            kind = re.search(r"(?m)^    kind: (\w+)$", text)
            if "\nkind: CustomResourceDefinition\n" not in "\n" + text or kind is None or kind[1] not in OURS | PLATFORMS:
                continue
            crd = yaml.load(text, Loader=Loader)["spec"]
            for version in crd["versions"]:
                found[f"{crd['group']}/{version['name']}", kind[1]] = closed(version["schema"]["openAPIV3Schema"])
    if not found:
        pytest.skip(f"no CRDs in {folder}")
    return found


def closed(schema: Any) -> Any:
    """An API server's structural schema as JSON Schema that refuses what the server would prune."""
    if isinstance(schema, list):
        return [closed(s) for s in schema]
    if not isinstance(schema, dict):
        return schema
    left = ("format", "description", "default", "nullable", "properties")
    out = {k: closed(v) for k, v in schema.items() if not k.startswith("x-kubernetes-") and k not in left}
    if isinstance(schema.get("properties"), dict):
        out["properties"] = {k: closed(v) for k, v in schema["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields") and "additionalProperties" not in schema:
            out["additionalProperties"] = False
    if schema.get("x-kubernetes-int-or-string"):
        out.pop("type", None)
    if schema.get("nullable") and isinstance(out.get("type"), str):
        out["type"] = [out["type"], "null"]
    return out


def faults(obj: dict[str, Any], schemas: dict[tuple[str, str], dict[str, Any]]) -> list[str]:
    schema = schemas[obj["apiVersion"], obj["kind"]]
    whole = {**schema, "properties": {**schema["properties"], "metadata": {}}}
    return [
        f"{obj['kind']}/{obj['metadata']['name']}: {'.'.join(map(str, e.path))}: {e.message[:200]}"
        for e in Draft202012Validator(whole).iter_errors(obj)
    ]


@pytest.mark.parametrize("by", ["kustomize", "helm"])
def test_the_platform_takes_our_objects(schemas: Any, kustomized: Any, chart: Any, by: str) -> None:
    objects = [o for o in (kustomized if by == "kustomize" else chart()).values() if o["kind"] in OURS]
    assert {o["kind"] for o in objects} == OURS
    assert [f for o in objects for f in faults(o, schemas)] == []


def test_the_platform_takes_its_own_settings(schemas: Any) -> None:
    objects = [
        o for name in ("gateway", "prometheus") for o in yaml.safe_load_all((ROOT / f"manifests/platform/{name}.yaml").read_text()) if o
    ]
    known = [o for o in objects if (o["apiVersion"], o["kind"]) in schemas]
    assert {o["kind"] for o in known} == PLATFORMS
    assert [f for o in known for f in faults(o, schemas)] == []


def test_a_misspelt_field_would_be_seen(schemas: Any, kustomized: Any) -> None:
    import copy

    wrong = copy.deepcopy(kustomized["PodMonitor", "sluice-models"])
    wrong["spec"]["podMetricsEndpoints"][0]["relabeling"] = []
    assert "relabeling" in faults(wrong, schemas)[0]
