"""Kinds of models that are no torch classifiers, on Kubeflow Pipelines to a promoted InferenceService that answers: boosted trees, a forecast."""

from __future__ import annotations

import base64
import http.client
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from sluice.registry.versions import CHAMPION, Registry
from tests.e2e.forward import forwarded
from tests.e2e.test_kfp import SPACE, endpoint, forget, pipelines, registry, sluice, status, unregister
from tests.e2e.test_roads import whole

__all__ = ["endpoint", "pipelines", "registry", "whole"]  # fixtures
ROOT = Path(__file__).parents[2]
BUCKET, FOLDER = "mlpipeline", "sluice-e2e-data"


@pytest.fixture(scope="module")
def put(kube: Any, pipelines: str) -> Iterator[Callable[[Path], str]]:
    """A file of this machine in the object store of the cluster, for the time of these tests."""
    import boto3

    keys = json.loads(kube.run("get", "secret", "mlpipeline-minio-artifact", "-o", "json", namespace=SPACE))["data"]
    access, secret = (base64.b64decode(keys[k]).decode() for k in ("accesskey", "secretkey"))
    with forwarded(SPACE, "minio-service", 9000) as url:
        store = boto3.client("s3", endpoint_url=url, aws_access_key_id=access, aws_secret_access_key=secret, region_name="minio")
        made: list[str] = []

        def uploaded(path: Path) -> str:
            made.append(f"{FOLDER}/{path.name}")
            store.upload_file(str(path), BUCKET, made[-1])
            return f"s3://{BUCKET}/{made[-1]}"

        yield uploaded
        for key in made:
            store.delete_object(Bucket=BUCKET, Key=key)


def promoted(
    kube: Any, registry: Registry, endpoint: str, gateway: str, example: str, put: Callable[[Path], str], tmp_path: Path, row: Any
) -> Any:
    """An example submitted under a name of its own until it serves; the first prediction of what serves for a row."""
    folder, name = ROOT / "examples" / example, f"{example}-e2e"
    project = yaml.safe_load((folder / "sluice.yaml").read_text()) | {"name": name}
    if (folder / project["data"]["source"]).is_file():
        project["data"]["source"] = put(folder / project["data"]["source"])
    project["rollout"] = project.get("rollout", {}) | {"ready_seconds": 300, "minimum_requests": 50}
    (tmp_path / "sluice.yaml").write_text(yaml.safe_dump(project))
    forget(kube, registry, name)
    try:
        code, outcome, said = sluice("submit", str(tmp_path / "sluice.yaml"), "--wait", "--endpoint", endpoint)
        assert (code, outcome.get("outcome")) == (0, "promoted"), said
        champion = registry.by_alias(name, CHAMPION)
        assert champion is not None and status(kube, name)["stable"] == champion.digest[:12]
        host = kube.get("httproute", name)["spec"]["hostnames"][0]
        connection = http.client.HTTPConnection(gateway, 80, timeout=15)
        connection.request("POST", f"/v1/models/{name}:predict", json.dumps({"instances": [row]}), {"host": host})
        answer = connection.getresponse()
        body = answer.read()
        assert answer.status == 200 and answer.getheader("x-sluice-version") == champion.digest, body
        return json.loads(body)["predictions"][0]
    finally:
        forget(kube, registry, name)
        unregister(registry, name)


def test_boosted_trees_are_trained_on_the_cluster_and_serve(
    kube: Any, whole: None, endpoint: str, gateway: str, registry: Registry, put: Callable[[Path], str], tmp_path: Path
) -> None:
    from sklearn.datasets import load_breast_cancer

    bunch = load_breast_cancer()
    row = dict(zip((str(n).replace(" ", "_") for n in bunch.feature_names), map(float, bunch.data[0]), strict=True))
    found = promoted(kube, registry, endpoint, gateway, "boosting", put, tmp_path, row)
    assert found["label"] == "malignant" and found["probability"] > 0.5


def test_a_forecast_of_many_series_is_trained_on_the_cluster_and_serves(
    kube: Any, whole: None, endpoint: str, gateway: str, registry: Registry, put: Callable[[Path], str], tmp_path: Path
) -> None:
    import csv

    rows = list(csv.DictReader((ROOT / "examples/forecast/data/employment.csv").open()))
    series = [float(r["employees"]) for r in rows if r["industry"] == "construction"]
    row = {"industry": "construction", "month": max(r["month"] for r in rows), "history": series[-36:]}
    found = promoted(kube, registry, endpoint, gateway, "forecast", put, tmp_path, row)
    assert list(found) == ["0.1", "0.5", "0.9"] and {len(v) for v in found.values()} == {12}
    assert all(low < high for low, high in zip(found["0.1"], found["0.9"], strict=True))
    assert all(0.8 < middle / series[-1] < 1.3 for middle in found["0.5"])
