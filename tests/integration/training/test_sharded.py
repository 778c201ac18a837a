"""Parameters in shards over two processes: the same training as DDP's, checkpoints in shards that any job may go on from."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from sluice.core import files
from sluice.learners.fit import fit
from tests.integration.training.test_survival import Running, kill_at_random, plain, read_until, start, weights
from tests.tools.long import long

HERE = Path(__file__).parent
MODEL = {"seconds_a_step": 0.03, "blocks": 2}
TRAIN = {
    "epochs": 4,
    "processes": 2,
    "ema": 0.9,
    "accumulate": 2,
    "early_stopping": {"metric": "loss", "patience": 4},
    "checkpoint": {"every_seconds": 0.1},
}

PROJECT = {
    "name": "points",
    "task": "points_task:PointsTask",
    "data": {"source": "x"},
    "model": MODEL,
    "train": {"batch_size": 40, "learning_rate": 0.02, "device": "cpu"},
}

#: Three processes write a model's slices, and then put the whole together out of what lies on the disk.
TOGETHER = """
import os, sys, torch
import torch.distributed.fsdp
from pathlib import Path
from sluice.learners.torch.checkpoint import Checkpoints
from sluice.learners.torch.distributed import join
from sluice.learners.torch.sharded import sharded_over
from sluice.learners.torch.shards import Shards
rank = 0 if os.fork() == 0 else 1 if os.fork() == 0 else 2 if os.fork() == 0 else None
if rank is None:
    sys.exit(max(os.waitstatus_to_exitcode(os.wait()[1]) for _ in range(3)))
os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank)}
world, root = join("cpu", 60), Path(sys.argv[1])
torch.manual_seed(3)
model = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.BatchNorm1d(5), torch.nn.Linear(5, 1))
whole = {n: t.clone() for n, t in model.state_dict().items()}
reducer = sharded_over(model, world, set())
kept = Checkpoints(root, 2, print, shards=Shards.of(world, 30))
kept.best(1, {n: t.clone() for n, t in reducer.state().items()})
with torch.no_grad():
    for p in model.parameters():
        p.zero_()
kept.save(1, reducer.state(), {}, {}, wait=True)
world.barrier()
loaded = kept.read(root / "step-000000001")
best = reducer.gathered(reducer.kept(loaded.best))
assert world.first or sum(t.numel() for t in reducer.state().values()) < sum(t.numel() for t in whole.values()) / 2
assert best.keys() == (whole if world.first else {}).keys() and all(torch.equal(t, whole[n]) for n, t in best.items())
reducer.load(loaded.best)
again = reducer.gathered(reducer.state())
assert all(torch.equal(t, whole[n]) for n, t in again.items())
world.barrier()
"""


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
    ours, theirs = (load_file(results[k].root / "model.safetensors") for k in ("fsdp", "ddp"))
    assert ours.keys() == theirs.keys()
    for name, found in ours.items():
        assert found.shape == theirs[name].shape
        assert found == pytest.approx(theirs[name], abs=1e-4), name


def test_the_best_weights_are_put_together_out_of_the_shards_on_the_disk(tmp_path):
    env = {
        **os.environ,
        "SLUICE_RENDEZVOUS": str(tmp_path / "meeting"),
        "WORLD_SIZE": "3",
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
    }
    done = subprocess.run([sys.executable, "-c", TOGETHER, str(tmp_path / "run")], env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == ["best-0001", "step-000000001"]


@long
@plain
def test_processes_killed_at_random_moments_change_nothing(results, points, project, tmp_path):
    running = Running(project(MODEL, **TRAIN, parallel="fsdp", restarts=8), points, tmp_path / "out")
    kill_at_random(running, random.Random(3), kills=2, longest=1.0)
    running.end()
    assert sum("starting again" in t for t in running.texts()) >= 1, running.texts()
    assert weights(tmp_path / "out") == weights(results["fsdp"].root)


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


@pytest.mark.parametrize(
    ("wrote", "reads"), [("fsdp", {}), ("fsdp", {"processes": 1}), ("fsdp", {"processes": 3}), ("fsdp", {"parallel": "ddp"}), ("ddp", {})]
)
def test_a_job_told_to_stop_goes_on_in_shards_or_whole_and_in_any_number_of_processes(
    results, stopped, points, project, tmp_path, wrote, reads
):
    shutil.copytree(stopped[wrote], tmp_path / "checkpoints")
    saved = files.read_json(max(stopped[wrote].glob("*/step-*")) / "manifest.json")["progress"]["state"]
    events: list[dict] = []
    result = fit(
        project(MODEL, **{**TRAIN, "parallel": "fsdp", **reads}),
        points,
        tmp_path / "out",
        base_dir=HERE,
        checkpoints=tmp_path / "checkpoints",
        on_event=events.append,
    )
    resumed = [e["text"] for e in events if "resumed from step-" in e.get("text", "")]
    assert len(resumed) == 1 and f"step {saved['step']} of 40" in resumed[0]
    exact = wrote == "fsdp" and not reads
    assert exact or f"written by 2 processes, now {reads.get('processes', 2)}: not bit-identical" in resumed[0]
    assert [h["step"] for h in result.history] == [10, 20, 30, 40]
    assert result.history[0]["train_loss"] == saved["history"][0]["train_loss"]
    assert result.history[-1]["validation_loss"] == pytest.approx(results[wrote].history[-1]["validation_loss"], abs=0.05)
    if exact:
        assert weights(result.root) == weights(results["fsdp"].root)
