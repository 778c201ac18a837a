"""From an installation to a first model with nothing more to write: by `sluice submit` and by `kubectl apply -k`; and what `sluice doctor` says of it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from sluice.registry.versions import CHAMPION, Registry
from tests.e2e.conftest import PATIENCE
from tests.e2e.test_kfp import SPACE, endpoint, forget, pipelines, registry, sluice, status, unregister

__all__ = ["endpoint", "pipelines", "registry"]  # fixtures
ROOT = Path(__file__).parents[2]
SUBMITTED, APPLIED = "digits-road-submit", "digits-road-kubectl"
PACE = {"epochs": 3, "processes": 1}


@pytest.fixture(scope="module")
def whole(kube: Any, endpoint: str) -> None:
    """The environment says where its image and store are, as `make kind-up` leaves it."""
    found = json.loads(kube.run("get", "configmap", "sluice-cluster", "-o", "json", "--ignore-not-found") or "{}").get("data") or {}
    if "@sha256:" not in found.get("image", ""):
        pytest.skip("the ConfigMap sluice-cluster names no image by digest: PARTS='images sluice' make kind-up")


@pytest.fixture
def forgotten(kube: Any, registry: Registry) -> Iterator[None]:
    """No model and no rollout of these names, before and after."""
    for name in (SUBMITTED, APPLIED):
        forget(kube, registry, name)
    yield
    for name in (SUBMITTED, APPLIED):
        forget(kube, registry, name)
        unregister(registry, name)


def doctor() -> tuple[int, dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-m", "sluice", "doctor", "--json", "--timeout", "60", "--pod-timeout", str(PATIENCE * 240)],
        capture_output=True,
        text=True,
        timeout=PATIENCE * 400,
        check=False,
    )
    return done.returncode, json.loads(done.stdout)


def probes(kube: Any) -> list[str]:
    return [
        j["metadata"]["name"]
        for space in (kube.namespace, SPACE)
        for j in kube.get("jobs", namespace=space)["items"]
        if j["metadata"]["name"].startswith("sluice-doctor") and not j["metadata"].get("deletionTimestamp")
    ]


def test_doctor_finds_nothing_at_fault_and_leaves_nothing(kube: Any, whole: None) -> None:
    code, answer = doctor()
    assert (code, answer["faults"]) == (0, 0), [f for f in answer["cluster"] if f["state"] == "fault"]
    reached = {(f["check"], f["said"]) for f in answer["cluster"] if f["check"].startswith("from ")}
    assert {("from steps", "store is reached"), ("from steps", "MLflow is reached"), ("from model servers", "store is reached")} <= reached
    assert probes(kube) == []


def test_doctor_names_what_was_broken_with_what_mends_it(kube: Any, whole: None) -> None:
    with kube.kept(("networkpolicy", "store"), ("rolebinding", "sluice-pipeline")):
        kube.run("delete", "networkpolicy", "store")
        kube.run("delete", "rolebinding", "sluice-pipeline")
        for _ in range(4):  # the node's agent hears of a policy that is gone some time later
            code, answer = doctor()
            if any(f["check"] == "from model servers" and f["state"] == "fault" for f in answer["cluster"]):
                break
    faults = {f["check"]: f for f in answer["cluster"] if f["state"] == "fault"}
    assert code == 2
    assert "lacks store" in faults["policies"]["said"]
    assert "create rolebinding" in faults["rights of steps"]["fix"] and "--role=sluice-pipeline" in faults["rights of steps"]["fix"]
    assert "store is not" in faults["from model servers"]["said"] and "NetworkPolicy store" in faults["from model servers"]["fix"]
    assert probes(kube) == []


def test_the_example_as_it_stands_is_submitted_to_a_promoted_model(
    kube: Any, whole: None, endpoint: str, registry: Registry, forgotten: None
) -> None:
    more = [
        f"--set=name={SUBMITTED}",
        "--set=model.width=8",
        "--set=rollout.ready_seconds=300",
        *(f"--set=train.{k}={v}" for k, v in PACE.items()),
    ]
    code, outcome, said = sluice("submit", str(ROOT / "examples/digits/sluice.yaml"), "--wait", "--endpoint", endpoint, *more)
    assert (code, outcome.get("outcome")) == (0, "promoted"), said
    assert f"ConfigMap {kube.namespace}/sluice-cluster" in said
    champion = registry.by_alias(SUBMITTED, CHAMPION)
    assert champion is not None and status(kube, SUBMITTED)["stable"] == champion.digest[:12]


def test_the_example_kustomization_is_applied_to_a_promoted_model(kube: Any, whole: None, registry: Registry, forgotten: None) -> None:
    objects = list(yaml.safe_load_all(kube.run("kustomize", str(ROOT / "manifests/examples"))))
    config, run = (next(o for o in objects if o["kind"] == k) for k in ("ConfigMap", "PipelineRun"))
    text = (
        config["data"]["sluice.yaml"]
        .replace("name: digits", f"name: {APPLIED}")
        .replace("epochs: 20", "epochs: 3")
        .replace("width: 32", "width: 8")
    )
    config["metadata"]["name"], config["data"]["sluice.yaml"], run["metadata"]["name"] = APPLIED, text, APPLIED
    run["spec"]["project"]["configMapKeyRef"]["name"] = APPLIED
    with kube.kept(("configmap", APPLIED), ("pipelinerun", APPLIED)):
        kube.run("apply", "-f", "-", stdin=yaml.safe_dump_all(objects))
        kube.wait(
            lambda: (kube.get("pipelinerun", APPLIED).get("status") or {}).get("phase") in ("Succeeded", "Failed", "Refused"),
            "the end of the run",
            800,
        )
        found = kube.get("pipelinerun", APPLIED)["status"]
        assert (found["phase"], found["outcome"]) == ("Succeeded", "Promoted"), found
        champion = registry.by_alias(APPLIED, CHAMPION)
        assert champion is not None and status(kube, APPLIED)["stable"] == champion.digest[:12]
