"""What an upgrade of the chart may not do: take a field of a resource away, or change what Kubernetes will not change."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
NOW = ROOT / "charts" / "sluice"
BEFORE = ROOT / "tests" / "e2e" / "charts" / "sluice-0.1.0.tgz"


@pytest.fixture(scope="module")
def previous(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("previous")
    with tarfile.open(BEFORE) as tar:
        tar.extractall(root, filter="data")
    return root / "sluice"


def rendered(chart: Path) -> dict[tuple[str, str], dict[str, Any]]:
    import helm_python

    with helm_python.Chart.load(chart) as loaded:
        texts = loaded.render({}, name="sluice", namespace="sluice")
    found = [d for path, text in texts.items() if path.endswith(".yaml") for d in yaml.safe_load_all(text) if d]
    return {(d["kind"], d["metadata"]["name"]): d for d in found}


def lost(old: Any, new: Any, where: str = "") -> list[str]:
    """Fields of an OpenAPI schema that are gone, narrower in type, or newly required."""
    found = []
    for name, part in (old.get("properties") or {}).items():
        other = (new.get("properties") or {}).get(name)
        if other is None:
            found.append(f"{where}.{name} is gone")
            continue
        if other.get("type") != part.get("type"):
            found.append(f"{where}.{name} is {other.get('type')}, was {part.get('type')}")
        found += lost(part, other, f"{where}.{name}")
        if "items" in part:
            found += lost(part["items"], other.get("items") or {}, f"{where}.{name}[]")
        found += [f"{where}.{name}: {v} is refused" for v in part.get("enum") or [] if v not in (other.get("enum") or part["enum"])]
    return found + [f"{where}.{n} is now required" for n in set(new.get("required") or []) - set(old.get("required") or [])]


def test_the_version_moved() -> None:
    def version(text: str) -> tuple[int, ...]:
        return tuple(int(p) for p in yaml.safe_load(text)["version"].split("."))

    with tarfile.open(BEFORE) as tar:
        member = tar.extractfile("sluice/Chart.yaml")
        assert member is not None
        assert version(member.read().decode()) < version((NOW / "Chart.yaml").read_text())


def test_resources_written_before_are_valid_still(previous: Path) -> None:
    files = sorted((previous / "files" / "crds").glob("*.yaml"))
    assert files
    for path in files:
        # the keys as an API server gets them: YAML's off without quotes is false
        old, new = (json.loads(json.dumps(yaml.safe_load(p.read_text())["spec"])) for p in (path, NOW / "files" / "crds" / path.name))
        assert old["group"] == new["group"] and old["names"] == new["names"] and old["scope"] == new["scope"]
        after = {v["name"]: v for v in new["versions"]}
        for version in old["versions"]:
            assert version["name"] in after and after[version["name"]]["served"]
            assert not lost(version["schema"]["openAPIV3Schema"], after[version["name"]]["schema"]["openAPIV3Schema"], path.stem)


def test_a_lost_field_would_be_seen() -> None:
    old = {"properties": {"a": {"type": "string"}, "b": {"type": "object", "properties": {"c": {"type": "integer"}}}}}
    new = {"properties": {"b": {"type": "object", "properties": {"c": {"type": "string"}}}}, "required": ["b"]}
    assert lost(old, new, "x") == ["x.a is gone", "x.b.c is string, was integer", "x.b is now required"]


def test_nothing_immutable_changes(previous: Path) -> None:
    """Selectors of workloads, what a claim asks for, whom a binding binds to: an upgrade that changes one fails halfway."""
    old, new = rendered(previous), rendered(NOW)
    fixed = {
        "Deployment": ("spec", "selector"),
        "PersistentVolumeClaim": ("spec", "accessModes"),
        "RoleBinding": ("roleRef",),
        "PriorityClass": ("value",),
    }
    seen = 0
    for (kind, name), obj in old.items():
        if kind in fixed and (kind, name) in new:
            before, after = obj, new[kind, name]
            for step in fixed[kind]:
                before, after = before[step], after[step]
            assert before == after, (kind, name)
            seen += 1
    assert seen >= 6
    # what holds data is there under its old name
    assert {k for k in old if k[0] in ("PersistentVolumeClaim", "CustomResourceDefinition")} <= set(new)


def test_values_of_the_previous_chart_are_taken(previous: Path) -> None:
    import helm_python

    with helm_python.Chart.load(NOW) as loaded:
        loaded.validate_schema(yaml.safe_load((previous / "values.yaml").read_text()))
