"""The train step over nodes: a cluster whose TrainJobs are played by torchrun's contract on this machine, or by failures."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from components.train import trainjob_fit
from components.train.trainjob import JobSpec, NodeLost, TrainJobError
from sluice.core.errors import DataError, ProjectError
from sluice.core.events import NONCE_ENV, mark
from sluice.data.dataset import Dataset, write_dataset
from sluice.learners.base import Job
from sluice.learners.errors import ProcessDied
from sluice.learners.torch import worker
from sluice.learners.torch.job import TorchJob
from sluice.project import Project, parse
from sluice.tasks import load_task


def project(**train: Any) -> Project:
    return parse(
        {
            "name": "tiny",
            "task": "tabular",
            "data": {"source": "x"},
            "model": {"hidden": [4]},
            "train": {"epochs": 1, "nodes": 2, "device": "cpu", "restarts": 2, **train},
        }
    )


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    x = np.arange(80, dtype=np.float64)
    table = pa.table(
        {"row_id": [hashlib.sha256(str(v).encode()).hexdigest()[:16] for v in x], "a": x, "label": ["y" if v > 40 else "n" for v in x]}
    )
    return write_dataset(
        tmp_path / "data",
        {"train": table.slice(0, 64), "validation": table.slice(64)},
        task="tabular",
        objective="classification",
        labels=["n", "y"],
        columns={"a": "numeric"},
        source={},
        shard_rows=1000,
    )


#: What a task may print in a node.
FORGED = '[rank 0] ::sluice::{"kind":"progress","step":"train","data":{"kind":"step","step":99}}'


class Cluster:
    """Jobs that end as `plays` says, one after another: an exception, or lines of the nodes and a result."""

    def __init__(self, *plays: Any):
        self.plays = list(plays)
        self.submitted: list[JobSpec] = []
        self.cancelled: list[str] = []

    def replace(self, spec: JobSpec) -> None:
        self.submitted.append(spec)

    def cancel(self, name: str) -> None:
        self.cancelled.append(name)

    def wait(self, spec: JobSpec, *, on_line: Any, **_: Any) -> None:
        play = self.plays.pop(0)
        job = TorchJob.load(Path(spec.command[-1]))
        if isinstance(play, Exception):
            raise play
        play(job, on_line, spec.env[NONCE_ENV])


def trained(job: TorchJob, on_line: Any, nonce: str) -> None:
    on_line(0, f'[rank 0] {mark(nonce)}{{"kind":"progress","step":"train","data":{{"kind":"step","step":1}}}}')
    on_line(0, FORGED)
    on_line(1, "[rank 1] hello")
    job.result.mkdir()
    (job.result / "model.safetensors").write_bytes(b"weights")
    (job.result / "training.json").write_text('{"history": [], "best_epoch": 1, "stopped_early": false, "seconds": 1.0, "world_size": 2}')


def failed(job: TorchJob, *_: Any) -> None:
    worker.write_error(job, 1, DataError("cannot be read", field="row 7"))
    raise NodeLost("node 1 ended with status 3")


@pytest.fixture(autouse=True)
def volume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "store").mkdir()
    monkeypatch.setenv(trainjob_fit.CLAIM_ENV, "claim")
    monkeypatch.setenv(trainjob_fit.MOUNT_ENV, str(tmp_path / "store"))
    monkeypatch.setenv("KFP_POD_NAME", "step-1")
    monkeypatch.setenv("KFP_POD_UID", "u-1")
    return tmp_path / "store"


def test_events_are_passed_on_and_other_lines_shown_with_their_node(dataset: Dataset, tmp_path: Path, volume: Path) -> None:
    cluster, told, shown = Cluster(trained), [], []
    result = trainjob_fit.fit(
        load_task(project()), Job(dataset, tmp_path / "out", told.append), jobs=cluster, on_line=lambda n, t: shown.append((n, t))
    )  # type: ignore[arg-type]
    assert {"kind": "step", "step": 1} in told and shown == [(0, FORGED), (1, "[rank 1] hello")]
    assert result.record["world_size"] == 2 and (tmp_path / "out/model.safetensors").read_bytes() == b"weights"
    spec = cluster.submitted[0]
    assert spec.owner == {"apiVersion": "v1", "kind": "Pod", "name": "step-1", "uid": "u-1"}
    assert spec.claim == "claim" and spec.nodes == 2 and not list((volume / "jobs").iterdir())


def test_the_name_is_the_same_again_and_another_for_other_settings(dataset: Dataset, tmp_path: Path) -> None:
    first = trainjob_fit.job_name(project(), dataset, tmp_path)
    assert first == trainjob_fit.job_name(project(), dataset, tmp_path) and len(first) <= 47
    assert first != trainjob_fit.job_name(project(epochs=2), dataset, tmp_path)
    assert first != trainjob_fit.job_name(project(), dataset, tmp_path / "other-run")


def test_a_lost_node_starts_the_job_again_under_another_name(dataset: Dataset, tmp_path: Path) -> None:
    cluster, told = Cluster(NodeLost("node 1 was evicted (spot)"), trained), []
    trainjob_fit.fit(load_task(project()), Job(dataset, tmp_path / "out", told.append), jobs=cluster)  # type: ignore[arg-type]
    first, second = (s.name for s in cluster.submitted)
    assert second == f"{first}-r1" and first in cluster.cancelled
    assert any("node 1 was evicted (spot); starting again from the beginning (restart 1 of 2)" in t.get("text", "") for t in told)


def test_restarts_are_bounded(dataset: Dataset, tmp_path: Path) -> None:
    cluster = Cluster(*[NodeLost("node 0 was killed for memory")] * 3)
    with pytest.raises(ProcessDied, match="killed for memory, 3 times"):
        trainjob_fit.fit(load_task(project()), Job(dataset, tmp_path / "out"), jobs=cluster)  # type: ignore[arg-type]
    assert len(cluster.submitted) == 3 and not (tmp_path / "out").exists()


def test_an_explained_failure_of_a_rank_is_raised_as_what_it_is_and_not_tried_again(dataset: Dataset, tmp_path: Path) -> None:
    cluster = Cluster(failed, trained)
    with pytest.raises(DataError, match="row 7: cannot be read"):
        trainjob_fit.fit(load_task(project()), Job(dataset, tmp_path / "out"), jobs=cluster)  # type: ignore[arg-type]
    assert len(cluster.submitted) == 1 and cluster.submitted[0].name in cluster.cancelled


@pytest.mark.parametrize("trouble", [TrainJobError("was cancelled"), SystemExit(143), KeyboardInterrupt()])
def test_whatever_ends_the_step_ends_the_job(dataset: Dataset, tmp_path: Path, trouble: BaseException) -> None:
    def play(*_: Any) -> None:
        raise trouble

    cluster = Cluster(play)
    with pytest.raises(type(trouble)):
        trainjob_fit.fit(load_task(project()), Job(dataset, tmp_path / "out"), jobs=cluster)  # type: ignore[arg-type]
    assert cluster.cancelled[-1] == cluster.submitted[0].name


def test_a_volume_that_is_not_mounted_is_said_before_anything_is_made(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(trainjob_fit.MOUNT_ENV, str(tmp_path / "nowhere"))
    with pytest.raises(ProjectError, match="SLUICE_TRAIN_MOUNT: is no folder here"):
        trainjob_fit.fit(load_task(project()), Job(dataset, tmp_path / "out"), jobs=Cluster())  # type: ignore[arg-type]
