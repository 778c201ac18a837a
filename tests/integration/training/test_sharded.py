"""Parameters in shards over two processes: the same training as DDP's, checkpoints in shards that any job may go on from."""

from __future__ import annotations

import contextlib
import random
import shutil
import signal
import time
from pathlib import Path

import psutil
import pytest
from safetensors.numpy import load_file

from sluice import files
from sluice.training.fit import fit
from tests.integration.training.test_survival import Running, ranks, read_until, start, weights

HERE = Path(__file__).parent
MODEL = {"seconds_a_step": 0.03, "blocks": 2}
TRAIN = {"epochs": 4, "processes": 2, "ema": 0.9, "accumulate": 2, "early_stopping": {"metric": "loss", "patience": 4}, "checkpoint": {"every_seconds": 0.1}}

PROJECT = {"name": "points", "task": "points_task:PointsTask", "data": {"source": "x"}, "model": MODEL,
           "train": {"batch_size": 40, "learning_rate": 0.02, "device": "cpu"}}  # fmt: skip


@pytest.fixture(scope="module")
def results(points, tmp_path_factory):
    from sluice.project import parse

    out = {}
    for parallel in ("ddp", "fsdp"):
        made = parse({**PROJECT, "train": {**PROJECT["train"], **TRAIN, "parallel": parallel}}, base_dir=HERE)
        out[parallel] = fit(made, points, tmp_path_factory.mktemp(parallel) / "out", base_dir=HERE)
    return out


def test_losses_and_weights_are_ddps(results):
    for ours, theirs in zip(results["fsdp"].history, results["ddp"].history, strict=True):
        assert ours["train_loss"] == pytest.approx(theirs["train_loss"], abs=1e-5)
        assert ours["validation_loss"] == pytest.approx(theirs["validation_loss"], abs=1e-5)
    ours, theirs = (load_file(results[k].out / "model.safetensors") for k in ("fsdp", "ddp"))
    assert ours.keys() == theirs.keys()
    for name, found in ours.items():
        assert found.shape == theirs[name].shape
        assert found == pytest.approx(theirs[name], abs=1e-4), name


def test_processes_killed_at_random_moments_change_nothing(results, points, project, tmp_path):
    running = Running(project(MODEL, **TRAIN, parallel="fsdp", restarts=8), points, tmp_path / "out")
    chance = random.Random(3)
    kills = 0
    while running.thread.is_alive() and kills < 4:
        restarts, steps = sum("starting again" in t for t in running.texts()), sum(e["kind"] == "step" for e in running.events)
        if restarts < kills or steps <= kills or len(found := ranks()) < 2:
            time.sleep(0.01)
            continue
        time.sleep(chance.uniform(0, 1.0))
        with contextlib.suppress(psutil.Error):
            found[chance.randrange(2)].kill()
            kills += 1
    running.end()
    assert sum("starting again" in t for t in running.texts()) >= 2, running.texts()
    assert weights(tmp_path / "out") == weights(results["fsdp"].out)


@pytest.fixture(scope="module")
def stopped(points, tmp_path_factory):
    """Checkpoints of two-process jobs that were told to stop in the second epoch, by way of training."""
    from sluice.project import parse

    out = {}
    for parallel in ("ddp", "fsdp"):
        made = parse({**PROJECT, "train": {**PROJECT["train"], **TRAIN, "parallel": parallel}}, base_dir=HERE)
        out[parallel] = tmp_path_factory.mktemp(parallel)
        first = start(made, points, out[parallel] / "out", out[parallel] / "checkpoints")
        read_until(first, 12)
        first.send_signal(signal.SIGTERM)
        first.communicate(timeout=100)
        assert first.returncode == 128 + signal.SIGTERM
    return {parallel: path / "checkpoints" for parallel, path in out.items()}


def test_a_process_writes_its_slices_and_no_more(stopped):
    newest = max(stopped["fsdp"].glob("*/step-*"))
    manifest = files.read_json(newest / "manifest.json")
    assert manifest["shards"] == 2 and manifest["progress"]["sharded"]
    for path in (newest, newest.parent / manifest["best"]):
        for kind in ("model", "optimizer")[: 1 + path.name.startswith("step-")]:
            halves = [load_file(path / f"{kind}-0000{rank}-of-00002.safetensors") for rank in range(2)]
            sliced = [{n: t.nbytes for n, t in half.items() if n in halves[1]} for half in halves]
            assert sum(sliced[1].values()) == pytest.approx(sum(sliced[0].values()), rel=0.1)
            alone = {n for n in halves[0] if n not in halves[1]}
            assert all("running_" in n or "num_batches" in n or n.startswith("count.") for n in alone), alone
            assert all(len(halves[0][n]) - len(halves[1][n]) in (0, 1) for n in halves[1])


@pytest.mark.parametrize(("wrote", "reads"), [("fsdp", {}), ("fsdp", {"processes": 1}), ("fsdp", {"processes": 3}), ("fsdp", {"parallel": "ddp"}), ("ddp", {})])
def test_a_job_told_to_stop_goes_on_in_shards_or_whole_and_in_any_number_of_processes(results, stopped, points, project, tmp_path, wrote, reads):
    shutil.copytree(stopped[wrote], tmp_path / "checkpoints")
    saved = files.read_json(max(stopped[wrote].glob("*/step-*")) / "manifest.json")["progress"]["state"]
    events: list[dict] = []
    result = fit(project(MODEL, **{**TRAIN, "parallel": "fsdp", **reads}), points, tmp_path / "out", base_dir=HERE, checkpoints=tmp_path / "checkpoints",
                 on_event=events.append)  # fmt: skip
    resumed = [e["text"] for e in events if "resumed from step-" in e.get("text", "")]
    assert len(resumed) == 1 and f"step {saved['step']} of 40" in resumed[0]
    exact = wrote == "fsdp" and not reads
    assert exact or f"written by 2 processes, now {reads.get('processes', 2)}: not bit-identical" in resumed[0]
    assert [h["step"] for h in result.history] == [10, 20, 30, 40]
    assert result.history[0]["train_loss"] == saved["history"][0]["train_loss"]
    assert result.history[-1]["validation_loss"] == pytest.approx(results[wrote].history[-1]["validation_loss"], abs=0.05)
    if exact:
        assert weights(result.out) == weights(results["fsdp"].out)
