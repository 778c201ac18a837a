"""The space, the study and its bookkeeping; trainings are played."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pyarrow as pa
import pytest

from sluice.core.errors import ProjectError, SluiceError
from sluice.core.home import Home
from sluice.data.dataset import Dataset, write_dataset
from sluice.learners.errors import NonFiniteError
from sluice.project import parse
from sluice.report.study import study_page
from sluice.tuning import search as searching
from sluice.tuning.search import search
from sluice.tuning.study import STORAGE_ENV, best, check_space, evidence, merged, open_study, requeue, settings_of, study_name

SPACE = {
    "train.learning_rate": {"type": "float", "low": 1e-4, "high": 1e-1, "log": True},
    "train.optimizer": {"type": "categorical", "choices": ["adamw", "sgd"]},
}


def raw(space: dict[str, Any] | None = None, **tune: Any) -> dict[str, Any]:
    return {
        "name": "t",
        "task": "tabular",
        "data": {"source": "x"},
        "train": {"epochs": 9},
        "tune": {"space": space or SPACE, "trials": 6, "pruner": "none", **tune},
    }


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    table = pa.table(
        {"row_id": [hashlib.sha256(bytes([i])).hexdigest()[:16] for i in range(4)], "a": [1.0, 2.0, 3.0, 4.0], "label": ["x", "y"] * 2}
    )
    return write_dataset(
        tmp_path / "data",
        {"train": table},
        task="tabular",
        objective="classification",
        labels=["x", "y"],
        columns={"a": "numeric"},
        source={},
        shard_rows=100,
    )


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Trainings whose accuracy is better the nearer the rate is to 0.01, over nine epochs; the settings they were given."""
    seen: list[Any] = []

    def fit(project: Any, dataset: Any, out: Path, *, base_dir: Any = None, on_event: Any = None) -> Any:
        import math

        seen.append(project.train)
        good = 1 - abs(math.log10(project.train.learning_rate) + 2) / 4
        for epoch in range(1, 10):
            on_event(
                {
                    "kind": "epoch",
                    "epoch": epoch,
                    "epochs": 9,
                    "validation_loss": 1 - good * epoch / 9,
                    "validation_metrics": {"accuracy": good * epoch / 9},
                }
            )
        return SimpleNamespace(metrics={"accuracy": good, "loss": 1 - good})

    monkeypatch.setattr(searching, "fit", fit)
    return seen


def run(dataset: Dataset, tmp_path: Path, settings: dict[str, Any], **more: Any) -> optuna.Study:
    project = parse(settings)
    study = open_study(project, dataset, Home(tmp_path / "home"))
    search(study, settings, project, dataset, tmp_path, **more)
    return study


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"data.source": {"type": "int", "low": 1, "high": 2}}, "is not below train or model"),
        ({}, "at least 1 item"),
        ({"train.epochs": {"type": "int", "low": 3, "high": 3}}, "low 3 must be below high 3"),
        ({"train.epochs": {"type": "int", "low": 0, "high": 3, "log": True}}, "starts above 0"),
        ({"train.epochs": {"type": "whole", "low": 1, "high": 3}}, "tag"),
    ],
)
def test_a_space_that_cannot_be_is_refused_by_the_project_file(space, message):
    with pytest.raises(ProjectError, match=message):
        parse({**raw(), "tune": {"space": space}})


@pytest.mark.parametrize(
    ("space", "field"),
    [
        ({"train.learning_rat": {"type": "float", "low": 0.1, "high": 0.2}}, "train.learning_rat"),
        ({"model.hidden": {"type": "int", "low": 1, "high": 2}}, "model.hidden"),
        ({"train.batch_size": {"type": "int", "low": 0, "high": 8}}, "train.batch_size"),
    ],
)
def test_a_value_the_project_does_not_take_is_found_before_any_training(space, field):
    settings = raw(space)
    with pytest.raises(ProjectError, match=f"tune.space.{field}: the project does not take it"):
        check_space(settings, settings_of(parse(settings)))


def test_merging_sets_dotted_keys_in_a_copy_without_the_search():
    settings = raw()
    out = merged(settings, {"train.learning_rate": 0.5, "model.dropout": 0.2})
    assert out["train"] == {"epochs": 9, "learning_rate": 0.5} and out["model"] == {"dropout": 0.2} and "tune" not in out
    assert settings["train"] == {"epochs": 9}


def test_a_study_runs_its_trials_and_the_best_has_the_best_value(dataset, tmp_path, played):
    study = run(dataset, tmp_path, raw())
    values = {t.number: t.value for t in study.trials}
    assert len(values) == 6 and best(study).value == max(values.values())
    assert all(t.folds is None and t.metrics_port is None for t in played)
    assert search(study, raw(), parse(raw()), dataset, tmp_path) == 0


def test_more_trials_go_on_with_the_same_study_and_another_space_begins_another(dataset, tmp_path, played):
    first = run(dataset, tmp_path, raw())
    again = run(dataset, tmp_path, raw(trials=8))
    assert again.study_name == first.study_name and len(again.trials) == 8
    other = {"train.learning_rate": {"type": "float", "low": 1e-4, "high": 1.0, "log": True}}
    assert study_name(parse(raw(other)), dataset) != first.study_name


def test_a_losing_trial_is_pruned(dataset, tmp_path, played):
    study = run(dataset, tmp_path, raw(trials=12, pruner="asha", sampler="random"))
    states = [t.state.name for t in study.trials]
    assert states.count("PRUNED") >= 3 and "COMPLETE" in states
    assert all(len(t.intermediate_values) < 9 for t in study.trials if t.state.name == "PRUNED")


def test_a_trial_that_diverges_counts_and_says_why(dataset, tmp_path, monkeypatch):
    def fit(*_: Any, **__: Any) -> Any:
        raise NonFiniteError("the loss became nan in step 3")

    monkeypatch.setattr(searching, "fit", fit)
    study = run(dataset, tmp_path, raw(trials=2))
    assert [t.user_attrs["diverged"] for t in study.trials] == ["the loss became nan in step 3"] * 2
    with pytest.raises(SluiceError, match="no trial came to a value"):
        best(study)


def test_what_a_killed_process_left_is_run_again_with_its_settings(dataset, tmp_path, played):
    settings = raw(trials=3)
    project = parse(settings)
    lost = open_study(project, dataset, Home(tmp_path / "home")).ask()
    rate = lost.suggest_float("train.learning_rate", 1e-4, 1e-1, log=True)
    lost.suggest_categorical("train.optimizer", ["adamw", "sgd"])
    study = open_study(project, dataset, Home(tmp_path / "home"))
    assert requeue(study) == 1 and requeue(study) == 0
    search(study, settings, project, dataset, tmp_path)
    complete = [t for t in study.trials if t.state.name == "COMPLETE"]
    assert len(complete) == 3 and rate in [t.params["train.learning_rate"] for t in complete]


def test_a_trial_asked_for_beside_a_quicker_neighbour_is_given_up(dataset, tmp_path, played, monkeypatch):
    settings = raw(trials=1)
    project = parse(settings)
    study = open_study(project, dataset, Home(tmp_path / "home"))
    ask = study.ask

    def beaten() -> Any:
        study.tell(ask(), 0.5)
        return ask()

    monkeypatch.setattr(study, "ask", beaten)
    assert search(study, settings, project, dataset, tmp_path) == 0
    assert sum(t.state.name == "COMPLETE" for t in study.trials) == 1


def test_a_cluster_needs_a_storage_and_a_broken_one_is_named(dataset, monkeypatch, tmp_path):
    monkeypatch.delenv(STORAGE_ENV, raising=False)
    with pytest.raises(ProjectError, match=r"tune.storage: is not set"):
        open_study(parse(raw()), dataset, None)
    with pytest.raises(ProjectError, match="is no storage"):
        parse(raw(storage="ftp://x"))
    with pytest.raises(SluiceError, match=r"tune.storage: cannot be used"):
        open_study(parse(raw(storage="journal:/proc/nowhere/x.journal")), dataset, None)
    monkeypatch.setenv(STORAGE_ENV, f"journal:{tmp_path}/shared.journal")
    assert open_study(parse(raw()), dataset, None).trials == []


def test_the_reports_picture_shows_every_trial_and_escapes_what_users_wrote(dataset, tmp_path, played):
    settings = raw(
        {"train.learning_rate": SPACE["train.learning_rate"], "train.optimizer": {"type": "categorical", "choices": ["adamw", "sgd"]}},
        trials=8,
    )
    found = evidence(run(dataset, tmp_path, settings), parse(settings), "classification")
    found["trials"][0]["error"] = "<b>no</b>"
    html = study_page("t", found)
    assert html.count("<title>trial ") >= 8 * 3 and "value against train.learning_rate" in html and "log10" in html
    assert "<b>no</b>" not in html and "&lt;b&gt;no" in html
    assert found["best"]["value"] == max(t["value"] for t in found["trials"])
