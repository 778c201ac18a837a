"""Batches put together by worker processes: the same weights, the same errors, and no end of the run when one is killed."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import psutil
import pytest

from sluice.core import files
from sluice.learners.errors import TrainingError
from sluice.learners.fit import fit

from .test_survival import Running, plain, ranks, step_of

HERE = Path(__file__).parent
MODEL = {"seconds_a_step": 0.03}
TRAIN = {"epochs": 4, "processes": 2, "accumulate": 2, "checkpoint": {"every_seconds": 0.05}}


def weights(out: Path) -> str:
    return files.sha256_file(out / "model.safetensors")


@pytest.fixture(scope="module")
def in_the_loop(points, tmp_path_factory) -> str:
    """sha256 of the weights of a run without workers."""
    from sluice.project import parse

    made = parse(
        {
            "name": "points",
            "task": "points_task:PointsTask",
            "data": {"source": "x"},
            "train": {"batch_size": 40, "learning_rate": 0.02, "device": "cpu", **TRAIN},
        },
        base_dir=HERE,
    )
    return weights(fit(made, points, tmp_path_factory.mktemp("loop") / "out", base_dir=HERE).root)


def test_workers_change_nothing_about_the_weights(points, project, tmp_path, in_the_loop):
    assert weights(fit(project(**TRAIN, workers=2), points, tmp_path / "out", base_dir=HERE).root) == in_the_loop


@plain
def test_a_killed_worker_costs_a_restart_and_changes_nothing(points, project, tmp_path, in_the_loop):
    running = Running(project(MODEL, **TRAIN, workers=2), points, tmp_path / "out")
    running.wait_for(lambda: step_of(running) >= 6)
    killed = [w for rank in ranks() for w in rank.children()]
    assert len(killed) == 4  # two beside each of two processes
    killed[1].kill()
    running.end()
    assert any("lost a process that puts its batches together" in t and "starting again from step-" in t for t in running.texts()), (
        running.texts()
    )
    assert weights(tmp_path / "out") == in_the_loop


@plain
def test_workers_end_with_the_training_that_started_them(points, project, tmp_path):
    running = Running(project(MODEL, **TRAIN, workers=1, restarts=0), points, tmp_path / "out")
    running.wait_for(lambda: step_of(running) >= 2)
    found = ranks()
    workers = [w for rank in found for w in rank.children()]
    assert len(workers) == 2
    found[1].kill()
    running.thread.join(100)
    end = time.monotonic() + 30
    while any(alive(w) for w in workers):
        assert time.monotonic() < end, workers
        time.sleep(0.05)


def alive(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.status() != psutil.STATUS_ZOMBIE
    return False


def test_a_fault_of_the_task_in_a_worker_arrives_with_its_traceback(points, project, tmp_path):
    with pytest.raises(TrainingError, match=r"KeyError: .*my own mistake") as caught:
        fit(project({"fault": "raise"}, processes=2, workers=1), points, tmp_path / "out", base_dir=HERE)
    assert "points_task.py" in str(caught.value)
