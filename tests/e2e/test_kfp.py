"""The whole line on Kubeflow Pipelines and KServe: a compiled pipeline, from rows to a promoted model, by SDK and by kubectl.

Needs Kubeflow Pipelines in namespace `kubeflow` with its object store, and the pipeline image on the node by digest
(`make images`).
"""

from __future__ import annotations

import base64
import contextlib
import json
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines import size
from pipelines.compiler import compile_tuning
from sluice import Client
from sluice import project as projects
from sluice.core import yamlfile
from sluice.kfp.client import Api
from sluice.kfp.connection import connect
from sluice.registry.versions import CHAMPION, Registry, RegistryFault
from tests.e2e.conftest import PATIENCE
from tests.e2e.forward import forwarded

ROOT = Path(__file__).parents[2]
SPACE = "kubeflow"
#: A name of its own: other tests roll the model `digits` out.
NAME = "digits-e2e-kfp"
BUCKET = "s3://mlpipeline/sluice-e2e"


@pytest.fixture(scope="module")
def pipelines(kube: Any) -> Iterator[str]:
    """Kubeflow Pipelines' API."""
    if not kube.run("get", "service", "ml-pipeline", "--ignore-not-found", namespace=SPACE, check=False):
        pytest.skip(f"no Kubeflow Pipelines here: there is no service ml-pipeline in namespace {SPACE}")
    with forwarded(SPACE, "ml-pipeline", 8888) as url:
        yield url


@pytest.fixture(scope="module")
def endpoint(pipelines: str) -> str:
    """The same, where it has one user."""
    if Api(connect(pipelines)).health().get("multi_user"):
        pytest.skip("this Kubeflow Pipelines has many users: test_kfp_users.py")
    return pipelines


@pytest.fixture(scope="module")
def image(kube: Any, pipelines: str) -> str:
    """The pipeline image as the node knows it by digest; a node tells of a new one within a minute."""
    try:
        return str(kube.wait(lambda: pinned(kube), "sluice/pipeline by digest on a node", 75))
    except AssertionError as e:
        pytest.skip(f"{e}: run make images")


def pinned(kube: Any) -> str | None:
    for node in kube.get("nodes")["items"]:
        for found in node["status"].get("images", []):
            if any(n.endswith("sluice/pipeline:0.1.0") for n in found["names"]):
                return next((n for n in found["names"] if "sluice/pipeline@sha256:" in n), None)
    return None


@pytest.fixture(scope="module")
def store(kube: Any, pipelines: str) -> Iterator[None]:
    """Model servers may read KFP's object store, with its own credentials: as `make kind-up` leaves it, or lent for the time of these tests."""
    account = kube.get("serviceaccount", "sluice-predictor")
    if any(kube.run("get", "secret", s["name"], "--ignore-not-found") for s in account.get("secrets") or []):
        yield
        return
    keys = json.loads(kube.run("get", "secret", "mlpipeline-minio-artifact", "-o", "json", namespace=SPACE))["data"]
    text = Path(__file__).with_name("kfp-store.yaml").read_text()
    for place, key in (("$(ACCESS)", "accesskey"), ("$(SECRET)", "secretkey")):
        text = text.replace(place, base64.b64decode(keys[key]).decode())
    with kube.kept(("serviceaccount", "sluice-predictor"), ("secret", "sluice-e2e-store"), ("networkpolicy", "sluice-e2e-store")):
        kube.run("apply", "-f", "-", stdin=text)
        kube.run("patch", "serviceaccount", "sluice-predictor", "--type=merge", "-p", '{"secrets": [{"name": "sluice-e2e-store"}]}')
        yield


@pytest.fixture(scope="module")
def registry() -> Iterator[Registry]:
    with forwarded("sluice", "mlflow", 5000) as url:
        yield Registry(url)


def project(folder: Path, namespace: str, **model: Any) -> Path:
    """examples/digits for this cluster: a small model, at test pace."""
    found = yaml.safe_load((ROOT / "examples/digits/sluice.yaml").read_text())
    found["name"] = NAME
    found["model"] |= model
    found["train"] |= {"epochs": 3, "processes": 1}
    found["evaluate"] |= {"minimum": 0.5, "margin": 0.2}
    found["rollout"] = {
        "steps": [20, 50],
        "minimum_requests": 200,
        "latency_slo_ms": 2000,
        "trouble_seconds": 2,
        "settle_seconds": 3,
        "warmup_seconds": 1,
        "verify_seconds": 5,
        "ready_seconds": 300,
        "step_deadline_seconds": 600,
        "keep_seconds": 5,
        "shadow": {"requests": 50},
    }
    found["cluster"] = {
        "defaults": {
            "env": {
                "MLFLOW_TRACKING_URI": f"http://mlflow.{namespace}:5000",
                "SLUICE_STORE": BUCKET,
                "SLUICE_NAMESPACE": namespace,
                "AWS_ENDPOINT_URL_S3": "http://minio-service.kubeflow:9000",
                "AWS_REGION": "minio",
            },
            "secrets": [
                {"name": "mlpipeline-minio-artifact", "env": {"accesskey": "AWS_ACCESS_KEY_ID", "secretkey": "AWS_SECRET_ACCESS_KEY"}}
            ],
            "resources": {"requests": {"cpu": "10m", "memory": "256Mi"}},
        }
    }
    path = folder / "sluice.yaml"
    path.write_text(yaml.safe_dump(found))
    return path


def sluice(*args: str, seconds: float = 850) -> tuple[int, dict[str, Any], str]:
    done = subprocess.run(
        [sys.executable, "-m", "sluice", *args, "--json"], capture_output=True, text=True, timeout=PATIENCE * seconds, check=False
    )
    return done.returncode, json.loads(done.stdout or "{}"), done.stderr


@pytest.fixture(scope="module")
def first(
    kube: Any, endpoint: str, image: str, store: None, registry: Registry, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Any]]:
    """The first model, by `sluice submit --wait`."""
    forget(kube, registry)
    path = project(tmp_path_factory.mktemp("first"), kube.namespace, width=8)
    code, outcome, said = sluice("submit", str(path), "--wait", "--endpoint", endpoint, "--namespace", SPACE, "--image", image)
    assert code == 0, said + json.dumps(outcome)
    yield outcome
    forget(kube, registry)
    unregister(registry)


def forget(kube: Any, registry: Registry, name: str = NAME) -> None:
    """No champion and no rollout of this name: runs of an earlier session count for nothing."""
    kube.wait(lambda: dropped(registry, name), "the registry, which another file's tests kill and start", 120)
    kube.run("delete", "modelrollout", name, "--ignore-not-found", "--timeout=60s")
    kube.run("delete", "inferenceservice", "-l", f"sluice.dev/rollout={name}", "--ignore-not-found", "--timeout=60s")
    kube.run("delete", "httproute", name, "--ignore-not-found")


def dropped(registry: Registry, name: str) -> bool:
    try:
        registry.drop_alias(name, CHAMPION)
    except RegistryFault:
        return False
    return True


def unregister(registry: Registry, name: str = NAME) -> None:
    """The registry and the tracking server know nothing of this name any more."""
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    client = MlflowClient(registry.uri)
    with contextlib.suppress(MlflowException):
        client.delete_registered_model(name)
    experiment = client.get_experiment_by_name(name)
    if experiment is not None and experiment.lifecycle_stage == "active":
        # A deleted experiment keeps its name, and one of that name is wanted next time.
        client.rename_experiment(experiment.experiment_id, f"{name}-{experiment.experiment_id}")
        client.delete_experiment(experiment.experiment_id)


def status(kube: Any, name: str = NAME) -> dict[str, Any]:
    return dict(kube.get("modelrollout", name).get("status") or {})


def answered_by(gateway: str, body: bytes) -> tuple[int, str]:
    import http.client

    connection = http.client.HTTPConnection(gateway, 80, timeout=15)
    try:
        connection.request("POST", f"/v1/models/{NAME}:predict", body, {"host": f"{NAME}.example.com", "content-type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        return answer.status, answer.getheader("x-sluice-version") or ""
    finally:
        connection.close()


def test_a_submitted_project_ends_as_the_model_that_serves(
    kube: Any, gateway: str, registry: Registry, first: dict[str, Any], request_body: bytes
) -> None:
    assert first["outcome"] == "promoted"
    champion = registry.by_alias(NAME, CHAMPION)
    assert champion is not None
    assert champion.uri.startswith(BUCKET)
    assert (status(kube)["phase"], status(kube)["stable"]) == ("Succeeded", champion.digest[:12])
    kube.wait(lambda: answered_by(gateway, request_body) == (200, champion.digest), "an answer in the champion's version", 60)


@pytest.mark.timeout(1500)
def test_applied_manifests_run_to_a_promoted_model_under_traffic(
    kube: Any, endpoint: str, image: str, gateway: str, registry: Registry, first: dict[str, Any], request_body: bytes, tmp_path: Path
) -> None:
    server = kube.get("deployment", "ml-pipeline", namespace=SPACE)["spec"]["template"]["spec"]["containers"][0]
    if not any("pipelinesStoreKubernetes=true" in word for word in [*server.get("args", ()), *server.get("command", ())]):
        pytest.skip("this Kubeflow Pipelines keeps its pipelines in a database, not as objects: what is applied is not known to it")
    before = registry.by_alias(NAME, CHAMPION)
    assert before is not None
    path, objects = project(tmp_path, kube.namespace, width=12), tmp_path / "objects.yaml"
    code, made, said = sluice("compile", str(path), "-o", str(objects), "--kubernetes", "--namespace", SPACE, "--image", image)
    assert code == 0, said
    kube.run("apply", "-f", str(objects), namespace=SPACE)
    again = kube.run("apply", "-f", str(objects), namespace=SPACE)
    assert again.count("unchanged") == 2, again
    run = start(endpoint, made["pipeline"], made["version"])
    seen: dict[tuple[int, str], int] = {}
    deadline = time.monotonic() + 1300
    state = ""
    while state not in ("SUCCEEDED", "FAILED", "CANCELED", "SKIPPED"):
        assert time.monotonic() < deadline, f"the run is {state}; the rollout: {status(kube)}"
        for _ in range(60):
            key = answered_by(gateway, request_body)
            seen[key] = seen.get(key, 0) + 1
        state = run_state(endpoint, run)
    after = registry.by_alias(NAME, CHAMPION)
    assert state == "SUCCEEDED"
    assert after is not None
    assert after.digest != before.digest, status(kube)
    assert status(kube)["stable"] == after.digest[:12]
    assert set(seen) == {(200, before.digest), (200, after.digest)}
    print(f"\n{sum(seen.values())} requests, none failed: {[(v[:12], n) for (_, v), n in seen.items()]}")


def test_a_refusal_ends_with_status_3_and_a_rollback_with_4_and_the_champion_serves_on(
    kube: Any, endpoint: str, image: str, gateway: str, registry: Registry, first: dict[str, Any], request_body: bytes, tmp_path: Path
) -> None:
    before = registry.by_alias(NAME, CHAMPION)
    assert before is not None
    args = (str(project(tmp_path, kube.namespace, width=10)), "--wait", "--endpoint", endpoint, "--image", image)
    # Side by side: the first never comes to a rollout. The second has no traffic, and without evidence nothing passes.
    with ThreadPoolExecutor(2) as pool:
        settings = ("evaluate.minimum=0.9999", "rollout.step_deadline_seconds=20")
        refused, rolled_back = pool.map(lambda more: sluice("submit", *args, "--set", more), settings)
    assert (refused[0], refused[1]["outcome"], refused[1]["gate"]) == (3, "refused", "evaluate"), refused
    assert (rolled_back[0], rolled_back[1]["outcome"]) == (4, "rolled_back"), rolled_back
    assert "there is no traffic" in " ".join(rolled_back[1]["reasons"])
    after = registry.by_alias(NAME, CHAMPION)
    assert after is not None
    assert after.digest == before.digest
    assert answered_by(gateway, request_body) == (200, before.digest)


@pytest.mark.timeout(1800)
def test_a_study_of_parallel_tasks_ends_as_a_model_with_the_best_settings(
    kube: Any, endpoint: str, image: str, store: None, registry: Registry, tmp_path: Path
) -> None:
    from mlflow import MlflowClient

    # A name of its own each time: a claim that is on its way out takes no new pod.
    name, claim = "digits-e2e-tuned", f"sluice-e2e-studies-{uuid.uuid4().hex[:8]}"
    body = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": claim},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "64Mi"}}},
    }
    kube.run("apply", "-f", "-", stdin=json.dumps(body), namespace=SPACE)
    path = project(tmp_path, kube.namespace, width=8)
    found = yaml.safe_load(path.read_text())
    found["name"] = name
    found["cluster"]["defaults"]["volumes"] = [{"claim": claim, "mount": "/studies"}]
    found["tune"] = {
        "trials": 8,
        "parallel": 2,
        "storage": "journal:/studies/digits.journal",
        "space": {"train.learning_rate": {"type": "float", "low": 1e-5, "high": 3e-2, "log": True}},
    }
    path.write_text(yaml.safe_dump(found))
    text = path.read_text()
    made = compile_tuning(projects.parse(projects.read_text(text, "text")), text=text, image=image)
    forget(kube, registry, name)
    begun = int(1000 * time.time())
    try:
        code, outcome, said = sluice(
            "submit", str(path), "--tune", "--wait", "--endpoint", endpoint, "--image", image, "--timeout", "1500", seconds=1600
        )
        assert (code, outcome["outcome"]) == (0, "promoted"), said + json.dumps(outcome)
        told = size.stored(made.spec, made.platform, project=yamlfile.line(found), workers=found["tune"]["parallel"], retries=True)
        kept = kube.get("workflows", "-l", f"pipeline/runid={outcome['run']}", namespace=SPACE)["items"]
        assert len(kept) == 1 and 0.6 < len(json.dumps(kept[0], separators=(",", ":"))) / told < 1.1, "what was told of its size holds"
        champion = registry.by_alias(name, CHAMPION)
        assert champion is not None
        assert (status(kube, name)["phase"], status(kube, name)["stable"]) == ("Succeeded", champion.digest[:12])
        tracked = MlflowClient(registry.uri)
        found_runs = tracked.search_runs([tracked.get_experiment_by_name(name).experiment_id], f"attributes.start_time > {begun}")
        tried = {r.data.params["train.learning_rate"] for r in found_runs if "sluice.trial" in r.data.tags}
        assert len(tried) == 8
        assert tracked.get_run(champion.run_id).data.params["train.learning_rate"] in tried
    finally:
        forget(kube, registry, name)
        unregister(registry, name)
        kube.run("delete", "pvc", claim, "--wait=false", namespace=SPACE)


def start(endpoint: str, pipeline: str, version: str) -> str:
    """A run of an applied version, as the dashboard starts it."""
    import kfp

    client = kfp.Client(host=endpoint)
    ident = client.get_pipeline_id(pipeline)
    assert ident, f"{pipeline} is not known to the API server: does it keep pipelines as objects?"
    deadline, found = time.monotonic() + 60, None
    while found is None:  # what was applied a moment ago comes into the API server's list a little later
        versions = client.list_pipeline_versions(ident, page_size=100).pipeline_versions or []
        found = next((v for v in versions if v.display_name == version), None)
        assert found or time.monotonic() < deadline, f"{version} is not among {[v.display_name for v in versions]}"
        time.sleep(0 if found else 1)
    experiment = client.create_experiment(NAME)
    run = client.run_pipeline(
        experiment.experiment_id, f"{version}-{int(time.time())}", pipeline_id=ident, version_id=found.pipeline_version_id
    )
    return str(run.run_id)


def run_state(endpoint: str, run: str) -> str:
    import kfp

    return str(kfp.Client(host=endpoint).get_run(run).state)


def test_a_source_that_is_not_there_ends_with_status_2_and_the_steps_own_words(
    kube: Any, endpoint: str, image: str, tmp_path: Path
) -> None:
    path = project(tmp_path, kube.namespace, width=8)
    args = (
        str(path),
        "--endpoint",
        endpoint,
        "--image",
        image,
        "--set",
        "data.source=s3://mlpipeline/not/there.csv",
        "--set",
        "evaluate.slices=[]",
    )
    code, outcome, said = sluice("submit", *args, "--wait")
    assert (code, outcome["outcome"]) == (2, "failed"), said
    assert (outcome["error"]["field"], outcome["error"]["step"]) == ("data.source", "validate_data")
    client = Client(endpoint=endpoint)
    assert client.status(outcome["run"]) == {
        "run": outcome["run"],
        "state": "finished",
        "outcome": "failed",
        "steps": {"validate_data": "FAILED"},
    }
    assert outcome["run"] in [r.id for r in client.history(NAME, limit=5)]
    code, again, _ = sluice("submit", *args)
    assert (code, again["reused"]) == (0, True)
    client.terminate(again["run"])
