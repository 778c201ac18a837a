"""`fit`, with real processes: what comes out, that it is the same each time, and how failures arrive."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sluice.core import files
from sluice.core.errors import DataError, ProjectError
from sluice.learners.answers import split_answers
from sluice.learners.errors import NonFiniteError, ProcessDied, TrainingError
from sluice.learners.fit import fit, load_trained
from sluice.learners.torch.fit import finish_job, prepare_job
from sluice.tasks import load_task

HERE = Path(__file__).parent


def weights(out: Path) -> str:
    return files.sha256_file(out / "model.safetensors")


@pytest.mark.parametrize("settings", [{"processes": 1}, {"processes": 2, "accumulate": 2, "ema": 0.9, "precision": "bf16"}])
def test_the_same_seed_data_and_settings_give_the_same_bytes(points, project, tmp_path, settings):
    made = project(**settings, early_stopping={"metric": "accuracy", "patience": 4})
    results = [fit(made, points, tmp_path / str(i), base_dir=HERE) for i in range(2)]
    assert weights(results[0].root) == weights(results[1].root)
    other = fit(project(**settings, seed=18), points, tmp_path / "other", base_dir=HERE)
    assert weights(other.root) != weights(results[0].root)


def test_a_trained_model_is_a_directory_that_answers(points, project, tmp_path):
    events = []
    made = project(epochs=12, processes=2, early_stopping={"metric": "accuracy", "patience": 12}, label_smoothing=0.05)
    result = fit(made, points, tmp_path / "out", base_dir=HERE, on_event=events.append)
    assert sorted(p.name for p in result.root.iterdir()) == ["model.safetensors", "state.json", "training.json"]
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
    history = files.read_json(result.root / "training.json")
    assert [h["epoch"] for h in history["history"]] == list(range(1, 13))
    assert history["world_size"] == 2
    assert history["rows"] == {"train": 400, "validation": 100}
    assert history["history"][-1]["train_loss"] < history["history"][0]["train_loss"]
    best = max(result.history, key=lambda h: (h["validation_metrics"]["accuracy"], -h["epoch"]))
    assert result.record["best_epoch"] == best["epoch"]
    assert result.metrics["accuracy"] == best["validation_metrics"]["accuracy"] > 0.9
    kinds = [e["kind"] for e in events]
    assert kinds.count("epoch") == 12
    assert "step" in kinds
    assert any("take no part in the loss" in e.get("text", "") for e in events)

    trained = load_trained(made, result.root, HERE)
    state = trained.state
    found = split_answers(trained, points, "validation")
    truth = points.read("validation").column("label").to_pylist()
    assert found.shape == (100, 2)
    np.testing.assert_allclose(found.sum(1), 1, rtol=1e-6)
    # The epoch's own weights, restored: the very accuracy it was chosen for.
    assert np.mean([state.labels[i] == t for i, t in zip(found.argmax(1), truth, strict=True)]) == result.metrics["accuracy"]


def test_early_stopping_ends_the_run_and_keeps_the_best_epoch(points, project, tmp_path):
    made = project(epochs=60, learning_rate=0.3, schedule="constant", early_stopping={"metric": "loss", "patience": 2})
    result = fit(made, points, tmp_path / "out", base_dir=HERE)
    assert result.record["stopped_early"]
    assert len(result.history) == result.record["best_epoch"] + 2
    assert min(result.history, key=lambda h: h["validation_loss"])["epoch"] == result.record["best_epoch"]


def test_the_real_traceback_of_a_failed_process_arrives(points, project, tmp_path):
    with pytest.raises(TrainingError, match=r"process 1\): KeyError: 'my own mistake'") as caught:
        fit(project({"fault": "raise"}, processes=2), points, tmp_path / "out", base_dir=HERE)
    assert "points_task.py" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_loss_that_is_not_finite_names_step_rows_and_checkpoint(points, project, tmp_path):
    with pytest.raises(NonFiniteError, match=r"the loss became nan in step 1 .*process 1.*last good checkpoint: none yet") as caught:
        fit(project({"fault": "nan"}, processes=2), points, tmp_path / "out", base_dir=HERE)
    named = caught.value.message.split("rows ")[1].split(" and ")[0].split(", ")
    assert set(named) <= set(points.read("train").column("row_id").to_pylist())
    assert caught.value.fix


def test_settings_that_do_not_fit_are_explained_before_any_step(points, project, tmp_path):
    with pytest.raises(ProjectError, match=r"train\.early_stopping\.metric: is no metric of classification"):
        fit(project(early_stopping={"metric": "rmse"}), points, tmp_path / "out", base_dir=HERE)
    with pytest.raises(ProjectError, match="matches no parameter"):
        fit(project(freeze=["nothing"]), points, tmp_path / "out", base_dir=HERE)


def test_a_process_that_is_stuck_is_found_its_stack_told_and_the_run_finished(points, project, tmp_path):
    events = []
    made = project({"fault": "hang", "once": str(tmp_path / "hung")}, processes=2, hang_seconds=1.5)
    fit(made, points, tmp_path / "out", base_dir=HERE, on_event=events.append)
    plain = fit(project({"once": str(tmp_path / "hung")}, processes=2), points, tmp_path / "plain", base_dir=HERE)
    stack = next(e for e in events if e["kind"] == "stack" and e["rank"] == 1)
    assert "_fail" in stack["text"]
    assert any("is stuck: no step was finished for 1.5 s" in e.get("text", "") for e in events)
    assert weights(tmp_path / "out") == weights(plain.root)


def test_a_process_that_always_hangs_is_given_up(points, project, tmp_path):
    with pytest.raises(ProcessDied, match=r"is stuck.*2 times"):
        fit(project({"fault": "hang"}, processes=2, hang_seconds=0.5, restarts=1), points, tmp_path / "out", base_dir=HERE)


def test_torchrun_starts_the_same_job(points, project, tmp_path):
    made = project(processes=2)
    work = tmp_path / "work"
    work.mkdir()
    job = prepare_job(load_task(made, HERE), points, work, world_size=2)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc-per-node=2",
            "-m",
            "sluice.learners.torch.worker",
            str(work / "job.json"),
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[:3000]
    assert "::sluice:" in done.stdout
    finish_job(job, tmp_path / "out")
    result = load_trained(made, tmp_path / "out", HERE)
    assert result.record["world_size"] == 2
    assert weights(result.root) == weights(fit(made, points, tmp_path / "own", base_dir=HERE).root)


def test_weights_of_another_model_are_refused(points, project, tmp_path):
    fit(project(epochs=1), points, tmp_path / "out", base_dir=HERE)
    with pytest.raises(DataError, match="are not the weights of this project's model"):
        split_answers(load_trained(project({"hidden": 17}), tmp_path / "out", HERE), points, "validation")


def test_a_dataset_without_validation_rows_trains_without_measures(points, project, tmp_path):
    from sluice.data.dataset import write_dataset

    bare = write_dataset(
        tmp_path / "d",
        {"train": points.read("train")},
        task="points_task:PointsTask",
        objective="classification",
        labels=points.labels,
        columns=points.columns,
        source={},
        shard_rows=1000,
    )
    result = fit(project(epochs=1), bare, tmp_path / "out", base_dir=HERE)
    assert result.history[0]["validation_loss"] is None
    assert result.metrics == {}
    with pytest.raises(ProjectError, match="needs validation rows"):
        fit(project(schedule="plateau"), bare, tmp_path / "other", base_dir=HERE)


def test_results_do_not_depend_on_how_the_shards_are_cut(points, project, tmp_path):
    from sluice.data.dataset import write_dataset

    whole = write_dataset(
        tmp_path / "d",
        {s: points.read(s) for s in ("train", "validation")},
        task="points_task:PointsTask",
        objective="classification",
        labels=points.labels,
        columns=points.columns,
        source={},
        shard_rows=1000,
    )
    outs = [fit(project(epochs=1), d, tmp_path / str(i), base_dir=HERE).root for i, d in enumerate((points, whole))]
    assert weights(outs[0]) == weights(outs[1])
    assert dataclasses.asdict(points) != dataclasses.asdict(whole)


def test_the_best_epoch_measured_is_kept_also_without_early_stopping(points, project, tmp_path):
    result = fit(project(epochs=25, learning_rate=0.5, schedule="constant"), points, tmp_path / "out", base_dir=HERE)
    losses = {h["epoch"]: h["validation_loss"] for h in result.history}
    assert len(losses) == 25 and result.record["best_epoch"] == min(losses, key=losses.__getitem__) != 25
    made = project(epochs=25, learning_rate=0.5, schedule="constant")
    trained = load_trained(made, result.root, HERE)
    state = trained.state
    found = split_answers(trained, points, "validation")
    truth = [state.labels.index(v) for v in points.read("validation").column("label").to_pylist()]
    assert -np.log(found[np.arange(100), truth]).mean() == pytest.approx(losses[result.record["best_epoch"]], rel=1e-4)


def test_weights_of_labels_hold_in_several_processes(points, project, tmp_path):
    answers = {}
    for weights in ({"inner": 50}, {"outer": 50}):
        made = project(processes=2, label_smoothing=0.05, class_weights=weights)
        result = fit(made, points, tmp_path / next(iter(weights)), base_dir=HERE)
        trained = load_trained(made, result.root, HERE)
        state = trained.state
        answers[next(iter(weights))] = split_answers(trained, points, "validation")[:, state.labels.index("inner")]
    assert (answers["inner"] > answers["outer"]).all()


def test_with_nothing_said_training_goes_on_within_its_budget(points, project, tmp_path):
    told = []
    made = project(epochs=None, batch_size=None, learning_rate=None, budget={"steps": 200})
    result = fit(made, points, tmp_path / "out", base_dir=HERE, on_event=told.append)
    plan = files.read_json(result.root / "training.json")["plan"]
    assert plan["batch_size"] == 64 and plan["epochs"] == 28 and {"epochs", "batch_size", "learning_rate"} <= set(plan["automatic"])
    assert any("at most 28 epochs (196 steps)" in e.get("text", "") for e in told)
    late = fit(project(epochs=None, budget={"minutes": 1e-6}), points, tmp_path / "late", base_dir=HERE, on_event=told.append)
    assert len(late.history) == 1 and files.read_json(late.root / "training.json")["ended"] == "time"
    assert any("train.budget.minutes (1e-06) ended the training" in e.get("text", "") for e in told)
