"""Who may change what serves in production: asked by `kubectl auth can-i`, and tried, as a data scientist, an approver and the platform.

In two namespaces of its own, which no controller watches: one labelled sluice.dev/stage=production, one not. The policy is the cluster's:
where it was not installed before, it goes again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

THERE, ELSEWHERE = "sluice-e2e-production", "sluice-e2e-staging"
WHO = ("data-scientist", "approver", "platform")
ACCESS = Path(__file__).parents[2] / "manifests" / "components" / "access"
A, B = "a" * 64, "b" * 64


def rollout(digest: str) -> str:
    spec = {
        "model": {"uri": f"s3://nowhere/sha256/{digest}", "digest": digest},
        "traffic": {"backend": "Gateway", "gateway": {"name": "none"}, "hostname": "e2e.example.com"},
    }
    return json.dumps({"apiVersion": "sluice.dev/v1alpha1", "kind": "ModelRollout", "metadata": {"name": "m"}, "spec": spec})


def patch(kube: Any, who: str, change: object, namespace: str = THERE) -> str:
    """What kubectl says to a service account that changes the rollout; a refusal comes back as its text."""
    account = f"--as=system:serviceaccount:{namespace}:{who}"
    try:
        return str(kube.run("patch", "modelrollout", "m", "--type=merge", "-p", json.dumps(change), account, namespace=namespace))
    except AssertionError as e:
        return str(e)


@pytest.fixture(scope="module")
def place(kube: Any) -> Iterator[Any]:
    """Both namespaces with the roles, one bound to each account, a rollout in each, and the policy in force."""
    policy = ["validatingadmissionpolicy", "validatingadmissionpolicybinding"]
    there_before = "sluice-promotion" in kube.run("get", policy[0], "-o", "name", check=False)
    try:
        for space in (THERE, ELSEWHERE):
            kube.run("create", "namespace", space)
            kube.run("apply", "-f", str(ACCESS / "roles.yaml"), namespace=space)
            for who in WHO:
                kube.run("create", "serviceaccount", who, namespace=space)
                kube.run("create", "rolebinding", f"e2e-{who}", f"--role=sluice-{who}", f"--serviceaccount={space}:{who}", namespace=space)
            kube.run("apply", "-f", "-", stdin=rollout(A), namespace=space)
        kube.run("label", "namespace", THERE, "sluice.dev/stage=production")
        kube.run("apply", "-f", str(ACCESS / "policy.yaml"))

        def in_force() -> bool:
            return "may `promote`" in patch(kube, "platform", {"spec": {"model": {"uri": f"s3://nowhere/{time.time_ns()}"}}})

        kube.wait(in_force, "the policy to be in force", seconds=60)
        yield kube
    finally:
        for space in (THERE, ELSEWHERE):
            kube.run("delete", "namespace", space, "--wait=false", check=False)
        if not there_before:
            kube.run("delete", ",".join(policy), "sluice-promotion", check=False)


@pytest.mark.parametrize(
    ("who", "verb", "allowed"),
    [
        ("data-scientist", "get", True),
        ("data-scientist", "patch", False),
        ("data-scientist", "promote", False),
        ("data-scientist", "rollback", False),
        ("approver", "promote", True),
        ("approver", "rollback", True),
        ("approver", "configure", False),
        ("approver", "delete", False),
        ("platform", "patch", True),
        ("platform", "promote", False),
        ("platform", "rollback", True),
        ("platform", "configure", True),
    ],
)
def test_can_i(place: Any, who: str, verb: str, allowed: bool) -> None:
    said = place.run(
        "auth", "can-i", verb, "modelrollouts.sluice.dev", f"--as=system:serviceaccount:{THERE}:{who}", namespace=THERE, check=False
    )
    assert said.strip() == ("yes" if allowed else "no")


MODEL = {"spec": {"model": {"uri": f"s3://nowhere/sha256/{B}", "digest": B}}}
PLAN = {"spec": {"strategy": {"steps": [30]}}}


def command(word: str) -> object:
    return {"metadata": {"annotations": {"sluice.dev/command": word}}}


@pytest.mark.parametrize(
    ("who", "change", "refused"),
    [
        ("data-scientist", MODEL, "cannot patch"),
        ("platform", MODEL, "may `promote`"),
        ("approver", MODEL, ""),
        ("approver", PLAN, "may `configure`"),
        ("platform", PLAN, ""),
        ("platform", command("promote#1"), "may `promote`"),
        ("platform", command("retry#2"), "may `promote`"),
        ("platform", command("rollback#3"), ""),
        ("approver", command("promote#4"), ""),
        ("data-scientist", command("rollback#5"), "cannot patch"),
    ],
)
def test_trying(place: Any, who: str, change: object, refused: str) -> None:
    said = patch(place, who, change)
    if refused:
        assert refused in said and "orbidden" in said, said
    else:
        assert "patched" in said, said


def test_elsewhere_the_platform_may_and_a_label_on_one_rollout_protects_it(place: Any) -> None:
    assert "patched" in patch(place, "platform", MODEL, ELSEWHERE)
    place.run("label", "modelrollout", "m", "sluice.dev/stage=production", namespace=ELSEWHERE)
    assert "may `promote`" in patch(place, "platform", {"spec": {"model": {"digest": A}}}, ELSEWHERE)
    off = {"metadata": {"labels": {"sluice.dev/stage": None}}}
    assert "taken off" in patch(place, "platform", off, ELSEWHERE)
    assert "patched" in patch(place, "approver", off, ELSEWHERE)
    assert place.get("modelrollout", "m", namespace=ELSEWHERE)["spec"]["model"]["digest"] == B
