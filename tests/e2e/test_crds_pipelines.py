"""The API server's own word on PipelineSchedule and PipelineRun: what it takes, what it refuses and why, what a person reads."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
SPACE = "sluice-e2e-crds"
GOOD = {"schedule": "0 2 * * *", "pipeline": {"name": "digits"}}


@pytest.fixture(scope="module")
def space(kube: Any) -> Iterator[str]:
    kube.run("create", "namespace", SPACE, check=False)
    yield SPACE
    kube.run("delete", "namespace", SPACE, "--wait=false")


def resource(kind: str, spec: dict[str, Any], name: str = "x") -> str:
    return json.dumps({"apiVersion": "sluice.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec})


def refusal(kube: Any, text: str) -> str:
    """What the API server says against it; empty when it would take it."""
    try:
        kube.run("create", "--dry-run=server", "-f", "-", stdin=text, namespace=SPACE)
    except AssertionError as e:
        return str(e)
    return ""


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (GOOD, ""),
        ({"schedule": "*/5 8-18 * * mon-fri", "timeZone": "Europe/Berlin", "project": {"inline": "name: a"}}, ""),
        ({**GOOD, "parameters": {"epochs": 3, "rate": 0.5, "names": ["a"], "more": {"deep": True}, "text": "x"}}, ""),
        ({**GOOD, "concurrencyPolicy": "Allow", "maxConcurrency": 3}, ""),
        ({**GOOD, "maxConcurrency": 3}, "maxConcurrency goes with concurrencyPolicy Allow"),
        ({"schedule": "0 2 * * *"}, "give pipeline.name, or a project"),
        ({"schedule": "0 2 * * *", "pipeline": {}}, "give pipeline.name, or a project"),
        ({"schedule": "0 2 * * *", "pipeline": {"version": "v"}, "project": {"inline": "a"}}, "a version is one of a pipeline"),
        ({"schedule": "0 2 * * *", "project": {}}, "either inline or configMapKeyRef"),
        (
            {"schedule": "0 2 * * *", "project": {"inline": "a", "configMapKeyRef": {"name": "a", "key": "b"}}},
            "either inline or configMapKeyRef",
        ),
        ({**GOOD, "schedule": "@daily"}, "spec.schedule"),
        ({**GOOD, "schedule": "0 0 2 * * *"}, "spec.schedule"),
        ({"pipeline": {"name": "p"}}, "spec.schedule"),
        ({**GOOD, "concurrencyPolicy": "Maybe"}, "Unsupported value"),
        ({**GOOD, "maxConcurrency": 11, "concurrencyPolicy": "Allow"}, "maxConcurrency"),
        ({**GOOD, "history": {"succeeded": -1}}, "history.succeeded"),
        ({**GOOD, "suspended": True}, "unknown field"),
        ({**GOOD, "pipelineRoot": "bucket"}, "pipelineRoot"),
    ],
)
def test_a_schedule_is_taken_or_refused_with_the_reason(kube: Any, space: str, spec: dict[str, Any], said: str) -> None:
    found = refusal(kube, resource("PipelineSchedule", spec))
    assert said in found and bool(said) == bool(found), found


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"pipeline": {"name": "digits", "version": "v1"}, "retries": 2}, ""),
        ({"project": {"configMapKeyRef": {"name": "a", "key": "b"}}}, ""),
        ({}, "give pipeline.name, or a project"),
        ({"pipeline": {"name": "p"}, "retries": 11}, "retries"),
        ({"pipeline": {"name": "p"}, "timeoutSeconds": 5}, "timeoutSeconds"),
        ({"pipeline": {"name": "p"}, "schedule": "0 2 * * *"}, "unknown field"),
    ],
)
def test_a_run_is_taken_or_refused_with_the_reason(kube: Any, space: str, spec: dict[str, Any], said: str) -> None:
    found = refusal(kube, resource("PipelineRun", spec))
    assert said in found and bool(said) == bool(found), found


def test_a_run_does_not_change_its_annotations_do(kube: Any, space: str) -> None:
    kube.run(
        "apply", "-f", "-", stdin=resource("PipelineRun", {"pipeline": {"name": "p"}, "parameters": {"a": 1}}, "fixed"), namespace=SPACE
    )
    for change in ({"retries": 3}, {"pipeline": {"name": "q"}}, {"timeoutSeconds": 600}):
        with pytest.raises(AssertionError, match="a run does not change"):
            kube.run("patch", "pipelinerun", "fixed", "--type=merge", "-p", json.dumps({"spec": change}), namespace=SPACE)
    kube.run("annotate", "pipelinerun", "fixed", "sluice.dev/command=retry#1", namespace=SPACE)


def test_defaults_are_filled_in_and_a_person_can_read_the_list(kube: Any, space: str) -> None:
    kube.run("apply", "-f", "-", stdin=resource("PipelineSchedule", {**GOOD, "history": {}}, "nightly"), namespace=SPACE)
    spec = kube.get("pipelineschedule", "nightly", namespace=SPACE)["spec"]
    assert (spec["timeZone"], spec["concurrencyPolicy"], spec["suspend"], spec["catchUp"]) == ("UTC", "Forbid", False, False)
    assert spec["history"] == {"succeeded": 10, "failed": 10, "excess": "Archive"}
    status = {
        "phase": "Active",
        "nextTime": "2026-11-22T02:00:00Z",
        "active": 0,
        "conditions": [{"type": "Synced", "status": "True", "reason": "InAgreement", "lastTransitionTime": "2026-11-21T00:00:00Z"}],
    }
    kube.run(
        "patch",
        "pipelineschedule",
        "nightly",
        "--subresource=status",
        "--type=merge",
        "-p",
        json.dumps({"status": status}),
        namespace=SPACE,
    )
    head, row = kube.run("get", "psched", "nightly", namespace=SPACE).splitlines()[:2]
    assert head.split()[:5] == ["NAME", "SCHEDULE", "TIME", "ZONE", "PHASE"] and "NEXT" in head
    assert "0 2 * * *" in row and "Active" in row and "2026-11-22T02:00:00Z" in row and "True" in row


def test_the_nightly_example_is_taken(kube: Any, space: str) -> None:
    text = (ROOT / "manifests/examples/nightly.yaml").read_text()
    assert len(list(yaml.safe_load_all(text))) == 3
    said = kube.run("apply", "--dry-run=server", "-f", "-", stdin=text, namespace=SPACE)
    assert said.count("(server dry run)") == 3
