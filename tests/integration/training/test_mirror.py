"""Checkpoints in an object store (a real S3 protocol, moto's server): a job goes on where its disk is gone."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import boto3
import psutil
import pytest
from moto.server import ThreadedMotoServer

from sluice.core.errors import ProjectError
from sluice.learners.fit import fit
from sluice.learners.torch.mirror import Mirror
from tests.integration.training.test_survival import HERE, MODEL, TRAIN, gone, read_until, start, weights
from tests.unit.training.test_shards import ALIKE, WHOLE, group, held, same, save

STORED = {**TRAIN, "checkpoint": {**TRAIN["checkpoint"], "store": "s3://runs/team"}}


@pytest.fixture(scope="module")
def undisturbed(points, tmp_path_factory):
    """sha256 of the weights of a run that nothing happened to, and that kept nothing in a store."""
    from sluice.project import parse

    made = parse(
        {
            "name": "points",
            "task": "points_task:PointsTask",
            "data": {"source": "x"},
            "model": MODEL,
            "train": {"batch_size": 40, "learning_rate": 0.02, "device": "cpu", **TRAIN},
        },
        base_dir=HERE,
    )
    return weights(fit(made, points, tmp_path_factory.mktemp("undisturbed") / "out", base_dir=HERE).root)


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for key, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(key, value)
    boto3.client("s3").create_bucket(Bucket="runs")
    yield "runs"
    server.stop()


def stored(bucket: str) -> list[str]:
    return [o["Key"] for o in boto3.client("s3").list_objects_v2(Bucket=bucket).get("Contents", ())]


@pytest.mark.parametrize("damaged", [False, True])
def test_a_killed_job_whose_disk_is_gone_goes_on_from_the_store(
    points, project, tmp_path: Path, undisturbed: str, bucket: str, damaged: bool
) -> None:
    made = project(MODEL, **STORED)
    first = start(made, points, tmp_path / "out", tmp_path / "checkpoints")
    read_until(first, 40)
    below = [p.pid for p in psutil.Process(first.pid).children(recursive=True)]
    first.send_signal(signal.SIGTERM)  # the last checkpoint, and the one before it, are in the store for certain
    first.communicate(timeout=100)
    assert gone(below)
    shutil.rmtree(tmp_path / "checkpoints")
    whole = sorted(k for k in stored(bucket) if "/step-" in k and k.endswith("manifest.json"))
    assert len(whole) == 2 and all(k.startswith("team/") for k in whole)
    if damaged:
        key = whole[-1].replace("manifest.json", "model.safetensors")
        body = boto3.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
        boto3.client("s3").put_object(Bucket=bucket, Key=key, Body=body[:-1] + bytes([body[-1] ^ 1]))
    events: list[dict] = []
    fit(made, points, tmp_path / "out", base_dir=HERE, checkpoints=tmp_path / "checkpoints", on_event=events.append)
    texts = [e.get("text", "") for e in events]
    expected = whole[0 if damaged else -1].split("/")[-2]
    assert any(f"resumed from {expected}" in t for t in texts), texts
    assert any("is refused" in t for t in texts) == damaged
    assert weights(tmp_path / "out") == undisturbed
    assert stored(bucket) == []


def test_a_sharded_jobs_checkpoint_comes_back_from_the_store_with_all_its_shards(tmp_path: Path, bucket: str) -> None:
    warnings: list[str] = []
    processes = group(tmp_path / "run", 3, warnings, mirror=Mirror("s3://runs/team", "key", warnings.append))
    for rank, kept in enumerate(processes):
        kept.best(1, held(WHOLE, ALIKE, rank, 3))
    for step in (1, 2, 3):
        save(processes, step)
    shutil.rmtree(tmp_path / "run")
    assert {k.split("/")[2] for k in stored(bucket)} == {"best-0001", "step-000000002", "step-000000003"}
    loaded = group(tmp_path / "run", 2, warnings, mirror=Mirror("s3://runs/team", "key", warnings.append))[0].latest()
    assert loaded.progress == {"step": 3}
    assert same(loaded.model, {**WHOLE, **ALIKE}) and same(loaded.best, {**WHOLE, **ALIKE})
    assert warnings == []


def test_a_store_that_does_not_answer_is_warned_of_and_training_ends_the_same(
    points, project, tmp_path: Path, undisturbed: str, bucket: str
) -> None:
    nowhere = project(MODEL, **{**STORED, "checkpoint": {**STORED["checkpoint"], "store": "s3://no-such-bucket"}})
    events: list[dict] = []
    fit(nowhere, points, tmp_path / "out", base_dir=HERE, checkpoints=tmp_path / "checkpoints", on_event=events.append)
    assert any("s3://no-such-bucket/" in e.get("text", "") and "could NOT be written" in e["text"] for e in events)
    assert weights(tmp_path / "out") == undisturbed


def test_an_address_without_a_bucket_is_refused(project) -> None:
    with pytest.raises(ProjectError, match=r"train\.checkpoint\.store"):
        project(checkpoint={"store": "s3://"})
    with pytest.raises(ProjectError, match="names no bucket"):
        Mirror("bucket/x", "k", print)
