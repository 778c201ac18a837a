"""Parameters in shards over two processes: the same training as DDP's, checkpoints in the same format."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import orjson
import pytest
from safetensors.numpy import load_file

from sluice import files
from sluice.training.fit import fit

HERE = Path(__file__).parent
MODEL = {"seconds_a_step": 0.03, "blocks": 2}
TRAIN = {"epochs": 4, "processes": 2, "ema": 0.9, "accumulate": 2, "early_stopping": {"metric": "loss", "patience": 4}, "checkpoint": {"every_seconds": 0.1}}

RUNNER = """
import sys, orjson
from pathlib import Path
from sluice.data.dataset import Dataset
from sluice.project import parse
from sluice.training.fit import fit
raw, data, out, base, checkpoints = orjson.loads(sys.argv[1]), *map(Path, sys.argv[2:])
fit(parse(raw, base_dir=base), Dataset.open(data), out, base_dir=base, checkpoints=checkpoints,
    on_event=lambda e: print(orjson.dumps(e).decode(), flush=True))
"""


@pytest.fixture(scope="module")
def results(points, tmp_path_factory):
    from sluice.project import parse

    out = {}
    for parallel in ("ddp", "fsdp"):
        made = parse({"name": "points", "task": "points_task:PointsTask", "data": {"source": "x"}, "model": MODEL,
                      "train": {"batch_size": 40, "learning_rate": 0.02, "device": "cpu", **TRAIN, "parallel": parallel}}, base_dir=HERE)  # fmt: skip
        out[parallel] = fit(made, points, tmp_path_factory.mktemp(parallel) / "out", base_dir=HERE)
    return out


def test_losses_and_weights_are_ddps(results):
    for ours, theirs in zip(results["fsdp"].history, results["ddp"].history, strict=True):
        assert ours["train_loss"] == pytest.approx(theirs["train_loss"], abs=1e-5)
        assert ours["validation_loss"] == pytest.approx(theirs["validation_loss"], abs=1e-5)
    ours, theirs = (load_file(results[k].out / "model.safetensors") for k in ("fsdp", "ddp"))
    assert ours.keys() == theirs.keys()
    for name, weights in ours.items():
        assert weights.shape == theirs[name].shape
        assert weights == pytest.approx(theirs[name], abs=1e-4), name


def test_a_job_told_to_stop_goes_on_in_shards_or_in_another_number_of_processes(results, points, project, tmp_path):
    made = project(MODEL, **TRAIN, parallel="fsdp")
    first = subprocess.Popen([sys.executable, "-c", RUNNER, orjson.dumps(made.model_dump(mode="json")).decode(), str(points.root), str(tmp_path / "out"), str(HERE),
                              str(tmp_path / "checkpoints")], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # fmt: skip
    for line in first.stdout:
        if orjson.loads(line).get("step", 0) >= 12:
            break
    first.send_signal(signal.SIGTERM)
    first.communicate(timeout=100)
    assert first.returncode == 128 + signal.SIGTERM
    shutil.copytree(tmp_path / "checkpoints", tmp_path / "copy")
    for kept, told, more in (("checkpoints", "", {}), ("copy", "written by 2 processes, now 1: not bit-identical", {"processes": 1})):
        events: list[dict] = []
        result = fit(project(MODEL, **{**TRAIN, **more}, parallel="fsdp"), points, tmp_path / "out", base_dir=HERE, checkpoints=tmp_path / kept,
                     on_event=events.append)  # fmt: skip
        resumed = [e["text"] for e in events if "resumed from step-" in e.get("text", "")]
        assert len(resumed) == 1 and told in resumed[0]
        assert [h["step"] for h in result.history] == [10, 20, 30, 40]
        same = files.sha256_file(result.out / "model.safetensors") == files.sha256_file(results["fsdp"].out / "model.safetensors")
        assert same or more
