"""Kubeflow Pipelines with many users: a run in a user's namespace, and runs by kubectl in this environment's own.

Needs an installation with ``MULTIUSER=true`` that watches all namespaces, and Kubeflow's ClusterRole `kubeflow-edit`; what
else a profile holds is made here.
"""

from __future__ import annotations

import base64
import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from sluice.kfp.client import Api
from sluice.kfp.connection import connect
from sluice.registry.versions import CHAMPION, Registry
from tests.e2e.test_kfp import BUCKET, SPACE, forget, image, pipelines, project, registry, sluice, status, store, unregister
from tests.e2e.two_steps import NAME as TWO_STEPS
from tests.e2e.two_steps import two_steps

__all__ = ["image", "pipelines", "registry", "store"]  # fixtures
ROOT = Path(__file__).parents[2]
TEAM = f"sluice-e2e-team-{uuid.uuid4().hex[:6]}"


@pytest.fixture(scope="module")
def many(kube: Any, pipelines: str) -> str:
    """The endpoint, where it has many users."""
    if not Api(connect(pipelines)).health().get("multi_user"):
        pytest.skip("this Kubeflow Pipelines has one user")
    if not kube.run("get", "clusterrole", "kubeflow-edit", "--ignore-not-found"):
        pytest.skip("no ClusterRole kubeflow-edit here, which Kubeflow gives its users")
    return pipelines


def profile(kube: Any, namespace: str) -> str:
    """What makes a namespace a profile's."""
    keys = json.loads(kube.run("get", "secret", "mlpipeline-minio-artifact", "-o", "json", namespace=SPACE))["data"]
    text = Path(__file__).with_name("kfp-profile.yaml").read_text().replace("$(SPACE)", namespace)
    for place, key in (("$(ACCESS)", "accesskey"), ("$(SECRET)", "secretkey")):
        text = text.replace(place, base64.b64decode(keys[key]).decode())
    return text


@pytest.fixture(scope="module")
def team(kube: Any, many: str) -> Iterator[str]:
    """A user's namespace, whose steps may do in the environment what steps do there."""
    body = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": TEAM, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
    }
    kube.run("apply", "-f", "-", stdin=json.dumps(body))
    kube.run("apply", "-f", "-", stdin=profile(kube, TEAM), namespace=TEAM)
    mine = [
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": TEAM},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "sluice-pipeline"},
            "subjects": [{"kind": "ServiceAccount", "name": "default-editor", "namespace": TEAM}],
        },
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": TEAM},
            "spec": {
                "podSelector": {"matchLabels": {"app.kubernetes.io/component": "mlflow"}},
                "policyTypes": ["Ingress"],
                "ingress": [{"from": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": TEAM}}}]}],
            },
        },
    ]
    kube.run("apply", "-f", "-", stdin=yaml.safe_dump_all(mine))
    kube.run(
        "create",
        "role",
        "sluice-report",
        "--verb=create",
        "--resource=serviceaccounts/token",
        "--resource-name=default-editor",
        namespace=TEAM,
    )
    kube.run("create", "rolebinding", "sluice-report", "--role=sluice-report", f"--serviceaccount={TEAM}:default-editor", namespace=TEAM)
    yield TEAM
    kube.run("delete", "-f", "-", stdin=yaml.safe_dump_all(mine))
    kube.run("delete", "namespace", TEAM, "--wait=false")


def token(kube: Any, namespace: str, folder: Path, audience: str = "pipelines.kubeflow.org") -> str:
    path = folder / "token"
    path.write_text(kube.run("create", "token", "default-editor", "--audience", audience, namespace=namespace))
    return str(path)


def workflows(kube: Any, namespace: str, prefix: str) -> list[str]:
    return [
        w["metadata"]["name"]
        for w in kube.get("workflows.argoproj.io", namespace=namespace)["items"]
        if w["metadata"]["name"].startswith(prefix)
    ]


def test_a_users_project_ends_as_a_model_by_a_run_in_the_users_namespace(
    kube: Any, many: str, team: str, image: str, store: None, registry: Registry, tmp_path: Path
) -> None:
    name = "digits-e2e-team"
    path = project(tmp_path, kube.namespace, width=8)
    path.write_text(path.read_text().replace("name: digits-e2e-kfp", f"name: {name}"))
    forget(kube, registry, name)
    try:
        args = ("submit", str(path), "--wait", "--endpoint", many, "--namespace", team, "--image", image)
        code, outcome, said = sluice(*args, "--token-file", token(kube, team, tmp_path))
        assert (code, outcome["outcome"]) == (0, "promoted"), said + json.dumps(outcome)
        champion = registry.by_alias(name, CHAMPION)
        assert champion is not None
        assert champion.uri.startswith(BUCKET)
        assert status(kube, name)["stable"] == champion.digest[:12]
        assert workflows(kube, team, name)
        assert not workflows(kube, SPACE, name)
    finally:
        forget(kube, registry, name)
        unregister(registry, name)


def test_who_is_not_let_in_is_told_what_to_bring(kube: Any, many: str, team: str, image: str, tmp_path: Path) -> None:
    path = str(project(tmp_path, kube.namespace, width=8))

    def refused(*args: str) -> str:
        code, _, said = sluice("submit", path, "--endpoint", many, "--image", image, *args, seconds=120)
        assert code == 2, said
        return said

    good = token(kube, team, tmp_path)
    assert "name yours: --namespace NS" in refused("--token-file", good)
    assert "does not know who asks (401)" in refused("--namespace", team)
    assert "does not let you do this (403)" in refused("--namespace", SPACE, "--token-file", good)
    said = refused("--namespace", team, "--token-file", token(kube, team, tmp_path, "https://kubernetes.default.svc.cluster.local"))
    assert "does not know who asks (401)" in said and "--audience pipelines.kubeflow.org" in said


@pytest.fixture
def environment(kube: Any, many: str, tmp_path: Path) -> Iterator[str]:
    """This environment as a profile, its controller as the component `kfp-multi-user` leaves it."""
    text = profile(kube, kube.namespace)
    from_here = os.path.relpath(ROOT / "manifests", tmp_path)  # kustomize takes no absolute paths
    overlay = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": kube.namespace,
        "resources": [f"{from_here}/overlays/kind"],
        "components": [f"{from_here}/components/kfp-multi-user"],
    }
    (tmp_path / "kustomization.yaml").write_text(json.dumps(overlay))
    there, before = kube.run("kustomize", str(tmp_path)), kube.run("kustomize", str(ROOT / "manifests/overlays/kind"))
    known = {(o["kind"], o["metadata"]["name"]) for o in yaml.safe_load_all(before)}
    added = [o for o in yaml.safe_load_all(there) if (o["kind"], o["metadata"]["name"]) not in known]
    assert sorted(o["metadata"]["name"] for o in added) == [
        "runs",
        "sluice-report",
        "sluice-report",
        "sluice-runs",
        "sluice-runs",
        "sluice-steps",
    ]

    # Only what the component changes, so that this environment stays its owner's in all else.
    plain = {(o["kind"], o["metadata"]["name"]): o for o in yaml.safe_load_all(before)}
    changed = [o for o in yaml.safe_load_all(there) if plain.get((o["kind"], o["metadata"]["name"])) != o]
    touched = [(o["kind"].lower(), o["metadata"]["name"]) for o in (*yaml.safe_load_all(text), *changed)]
    with kube.kept(*touched):
        kube.run("apply", "-f", "-", stdin=text)
        kube.run("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=yaml.safe_dump_all(changed))
        kube.run("rollout", "status", "deployment/sluice-controller", "--timeout=180s")
        yield kube.namespace
    kube.run("rollout", "status", "deployment/sluice-controller", "--timeout=180s")


def test_runs_by_kubectl_and_by_the_clock_live_in_their_resources_namespace(
    kube: Any, many: str, environment: str, image: str, store: None, registry: Registry, tmp_path: Path
) -> None:
    name = "digits-e2e-run"
    path, objects = project(tmp_path, environment, width=8), tmp_path / "objects.yaml"
    path.write_text(path.read_text().replace("name: digits-e2e-kfp", f"name: {name}"))
    forget(kube, registry, name)
    code, _, said = sluice("compile", str(path), "-o", str(objects), "--kubernetes", "--namespace", environment, "--image", image)
    assert code == 0, said
    two = api_version(kube, many, environment, tmp_path)
    mine = [
        {"apiVersion": "sluice.dev/v1alpha1", "kind": "PipelineRun", "metadata": {"name": name}, "spec": {"pipeline": {"name": name}}},
        {
            "apiVersion": "sluice.dev/v1alpha1",
            "kind": "PipelineSchedule",
            "metadata": {"name": "each-minute"},
            "spec": {"schedule": "* * * * *", "pipeline": {"name": TWO_STEPS, "version": two}},
        },
    ]
    kube.run("apply", "-f", str(objects))
    kube.run("apply", "-f", "-", stdin=yaml.safe_dump_all(mine))
    try:
        kube.wait(
            lambda: (kube.get("pipelineschedule", "each-minute").get("status") or {}).get("lastState") == "Succeeded",
            "a run by the clock",
            300,
        )
        kube.run("delete", "pipelineschedule", "each-minute", "--timeout=120s")
        done = lambda: (kube.get("pipelinerun", name).get("status") or {}).get("phase") in ("Succeeded", "Failed")  # noqa: E731
        kube.wait(done, "the end of the run", 500)
        found = kube.get("pipelinerun", name)["status"]
        assert (found["phase"], found["outcome"]) == ("Succeeded", "Promoted"), found
        ended, of = found["progress"].split("/")
        assert ended == of, found
        champion = registry.by_alias(name, CHAMPION)
        assert champion is not None
        assert status(kube, name)["stable"] == champion.digest[:12]
        assert workflows(kube, environment, name)
        assert not workflows(kube, SPACE, name)
    finally:
        unregister(registry, name)
        kube.run("delete", "-f", "-", "--timeout=120s", "--ignore-not-found", stdin=yaml.safe_dump_all(mine))
        kube.run("delete", "-f", str(objects))
        for left in (*workflows(kube, environment, name), *workflows(kube, environment, TWO_STEPS)):
            kube.run("delete", "workflows.argoproj.io", left, "--wait=false")
        forget(kube, registry, name)


def api_version(kube: Any, url: str, namespace: str, folder: Path) -> str:
    """A fresh version of the pipeline of two steps, uploaded by the namespace's user."""
    from kfp import compiler

    file = folder / "two-steps.yaml"
    compiler.Compiler().compile(two_steps, str(file))
    api = Api(connect(url, namespace=namespace, token_file=token(kube, namespace, folder)))
    known = api.pipeline(TWO_STEPS, namespace) or api.create_pipeline(TWO_STEPS, description="a test's", namespace=namespace)
    version = f"{TWO_STEPS}-{uuid.uuid4().hex[:6]}"
    api.upload_version(known["pipeline_id"], version, file.read_text(), description="a test's")
    return version
