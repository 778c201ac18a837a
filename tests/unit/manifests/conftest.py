"""The manifests as they stand in the tree, and the chart as Helm renders it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
Object = dict[str, Any]


def documents(*folders: str) -> Iterator[Object]:
    for folder in folders:
        for path in sorted((ROOT / folder).glob("*.yaml")):
            if path.name != "kustomization.yaml":
                yield from (d for d in yaml.safe_load_all(path.read_text()) if d)


def key(obj: Object) -> tuple[str, str]:
    return obj["kind"], obj["metadata"]["name"]


@pytest.fixture(scope="session")
def kustomized() -> dict[tuple[str, str], Object]:
    """Objects of the base and of monitoring, by kind and name, with the tags of the base's kustomization."""
    tags = {i["name"]: i["newTag"] for i in yaml.safe_load((ROOT / "manifests/base/kustomization.yaml").read_text())["images"]}
    found = {key(d): d for d in documents("manifests/base", "manifests/monitoring", "manifests/monitoring/cluster", "manifests/crds")}
    for obj in found.values():
        for pod in pod_specs(obj):
            for container in pod.get("containers", []):
                name = container["image"].partition(":")[0]
                container["image"] = f"{name}:{tags[name]}"
    return found


@pytest.fixture(scope="session")
def chart() -> Any:
    """(values) -> objects by kind and name, as Helm renders them."""
    import helm_python

    def render(**values: Any) -> dict[tuple[str, str], Object]:
        with helm_python.Chart.load(ROOT / "charts" / "sluice") as loaded:
            texts = loaded.render(values, name="sluice", namespace="sluice")
        return {key(d): d for path, text in texts.items() if path.endswith(".yaml") for d in yaml.safe_load_all(text) if d}

    return render


def pod_specs(obj: Object) -> list[Object]:
    """Every pod spec an object carries, however deep."""
    spec = obj.get("spec") or {}
    if obj["kind"] == "Pod":
        return [spec]
    if obj["kind"] == "ServingRuntime":
        return [spec]
    if obj["kind"] == "TrainingRuntime":
        return [j["template"]["spec"]["template"]["spec"] for j in spec["template"]["spec"]["replicatedJobs"]]
    template = (spec.get("template") or {}).get("spec") if obj["kind"] in ("Deployment", "StatefulSet", "Job", "DaemonSet") else None
    return [template] if template else []


@pytest.fixture(scope="session")
def pods_of() -> Any:
    return pod_specs
