"""Training on a GPU: the promises of the CPU hold there too. Skipped where there is none."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import orjson
import psutil
import pytest
from safetensors.numpy import load_file

from sluice.core import files
from sluice.core.errors import ProjectError
from sluice.learners.answers import split_answers
from sluice.learners.errors import NonFiniteError
from sluice.learners.fit import fit, load_trained

from .test_survival import Running, ranks, step_of

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")

HERE = Path(__file__).parent
MODEL = {"seconds_a_step": 0.02}
TRAIN = {
    "device": "cuda",
    "epochs": 4,
    "ema": 0.9,
    "checkpoint": {"every_seconds": 0.1},
    "early_stopping": {"metric": "loss", "patience": 8},
}


def weights(out: Path) -> str:
    return files.sha256_file(out / "model.safetensors")


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_the_same_seed_gives_the_same_bytes_with_any_number_of_workers(points, project, tmp_path, precision):
    events: list[dict] = []
    ours = [
        fit(
            project(**{**TRAIN, "precision": precision, "workers": n, "accumulate": 2}),
            points,
            tmp_path / str(n),
            base_dir=HERE,
            on_event=events.append,
        )
        for n in (0, 2)
    ]
    assert weights(ours[0].root) == weights(ours[1].root)
    record = files.read_json(ours[0].root / "training.json")
    assert record["environment"]["device"] == "cuda" and record["environment"]["gpu"]
    assert ours[0].history[-1]["train_loss"] < ours[0].history[0]["train_loss"]


def test_what_was_trained_on_a_gpu_answers_on_a_cpu(points, project, tmp_path):
    made = project(**{**TRAIN, "epochs": 12, "precision": "bf16"})
    result = fit(made, points, tmp_path / "out", base_dir=HERE)
    trained = load_trained(made, result.root, HERE)
    state = trained.state
    found = split_answers(trained, points, "validation")
    truth = points.read("validation").column("label").to_pylist()
    assert sum(state.labels[i] == t for i, t in zip(found.argmax(1), truth, strict=True)) >= 90


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_killed_process_goes_on_to_the_same_weights(points, project, tmp_path, precision):
    settings = {**TRAIN, "precision": precision, "epochs": 6}
    undisturbed = fit(project(MODEL, **settings), points, tmp_path / "plain", base_dir=HERE)
    running = Running(project(MODEL, **settings), points, tmp_path / "out")
    for step in (15, 35):
        running.wait_for(lambda step=step: step_of(running) >= step)
        with contextlib.suppress(psutil.Error):
            ranks()[0].kill()
        running.wait_for(lambda step=step: sum("starting again" in t for t in running.texts()) > (step > 15))
    running.end()
    assert sum("starting again from step-" in t for t in running.texts()) == 2, running.texts()
    assert weights(tmp_path / "out") == weights(undisturbed.root)


def test_a_stopped_process_is_found(points, project, tmp_path):
    running = Running(project(MODEL, **{**TRAIN, "epochs": 10, "workers": 0, "hang_seconds": 3.0}), points, tmp_path / "out")
    running.wait_for(lambda: step_of(running) >= 5)
    os.kill(ranks()[0].pid, signal.SIGSTOP)
    running.end()
    assert any("is stopped (SIGSTOP)" in t for t in running.texts()), running.texts()


def test_two_processes_may_share_one_gpu(points, project, tmp_path):
    one = fit(project({"blocks": 2}, **TRAIN), points, tmp_path / "one", base_dir=HERE)
    two = fit(project({"blocks": 2}, **TRAIN, processes=1 + torch.cuda.device_count()), points, tmp_path / "two", base_dir=HERE)
    assert (
        two.record["world_size"] == 1 + torch.cuda.device_count()
        and files.read_json(two.root / "training.json")["environment"]["device"] == "cuda"
    )
    assert two.history[-1]["validation_loss"] < two.history[0]["validation_loss"]
    assert load_file(one.root / "model.safetensors").keys() == load_file(two.root / "model.safetensors").keys()


def test_shards_want_a_gpu_for_each_process(points, project, tmp_path):
    with pytest.raises(ProjectError, match=r"train\.parallel: needs a GPU for each process"):
        fit(project(**TRAIN, parallel="fsdp", processes=1 + torch.cuda.device_count()), points, tmp_path / "out", base_dir=HERE)


def test_sharded_training_computes_what_unsharded_does(tmp_path):
    """One process over NCCL: the gathering, the sums, the clipping and the optimiser's slices on the device."""
    done = subprocess.run(
        [sys.executable, str(HERE / "sharded_on_gpu.py"), str(tmp_path / "meeting")], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = orjson.loads(done.stdout.splitlines()[-1])
    assert found["sharded"] == pytest.approx(found["whole"], abs=1e-5)
    assert found["weights_apart"] < 1e-5


def test_a_loss_that_is_not_finite_names_its_own_step(points, project, tmp_path):
    with pytest.raises(NonFiniteError, match=r"in step \d+ .*rows "):
        fit(
            project(learning_rate=1e30, **{k: v for k, v in TRAIN.items() if k != "early_stopping"}, gradient_clip=None),
            points,
            tmp_path / "out",
            base_dir=HERE,
        )


def test_a_compiled_model_trains(points, project, tmp_path):
    result = fit(project(**{**TRAIN, "compile": True, "precision": "bf16"}), points, tmp_path / "out", base_dir=HERE)
    assert result.history[-1]["train_loss"] < result.history[0]["train_loss"]


def test_the_gpus_use_and_memory_are_told(points, project, tmp_path):
    pytest.importorskip("pynvml")
    events: list[dict] = []
    fit(project(MODEL, **{**TRAIN, "epochs": 10, "workers": 0}), points, tmp_path / "out", base_dir=HERE, on_event=events.append)
    told = [e for e in events if e["kind"] == "epoch" and "gpu_memory_bytes" in e]
    assert told and told[-1]["gpu_memory_bytes"] > 1e8 and 0 <= told[-1]["gpu_utilisation"] <= 1
