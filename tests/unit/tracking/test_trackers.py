"""Trackers: what was logged can be read back, and a tracker that is down never stops the work."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from sluice.core import sqlite
from sluice.core.errors import SluiceError
from sluice.core.home import Home
from sluice.package.store import open_store
from sluice.project import Project, parse
from sluice.registry.references import find_version, registry_of
from sluice.tracking.mlflow import MLflowTracker, _create_database, client
from sluice.tracking.outbox import Outbox
from sluice.tracking.several import Several
from sluice.tracking.tracker import flatten, open_tracker


def project(**tracking: object) -> Project:
    return parse({"name": "digits", "task": "image", "data": {"source": "sklearn://digits"}, "tracking": tracking})


def test_a_run_is_written_to_the_home_s_own_store(tmp_path: Path) -> None:
    home = Home(tmp_path / "home").create()
    tracker = open_tracker(project(), home, name="a-run")
    tracker.params({"train": {"epochs": 3}})
    for step in range(3):
        tracker.metrics({"loss": 1.0 / (step + 1)}, step)
    (tmp_path / "note.txt").write_text("hello")
    tracker.artifact(tmp_path / "note.txt", "notes")
    tracker.finish()
    c = client(home.tracking_uri)
    run = c.get_run(tracker.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params["train.epochs"] == "3"
    assert [m.value for m in c.get_metric_history(tracker.run_id, "loss")] == [1.0, 0.5, pytest.approx(1 / 3)]
    assert [a.path for a in c.list_artifacts(tracker.run_id, "notes")] == ["notes/note.txt"]
    assert list(home.root.rglob("note.txt")), "artifacts stay below the home"


@pytest.mark.parametrize("name", ["plain", "a b", "a#b", "a%20b", "x%2Fy", "a?b=1&c", "100%", "%25"])
def test_the_address_of_a_database_means_its_file(tmp_path: Path, name: str) -> None:
    from sqlalchemy.engine import make_url

    path = tmp_path / name / "mlflow.db"
    assert make_url(sqlite.uri_of(path)).database == str(path) and sqlite.path_of(sqlite.uri_of(path)) == path


@pytest.mark.parametrize("name", ["plain", "a b", "a#b", "a%20b", "x%2Fy", "a?b", "100%"])
def test_an_address_a_path_was_written_into_as_it_stands_means_that_path(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    path = tmp_path / name / "mlflow.db"
    assert sqlite.path_of(f"sqlite:///{path}") == sqlite.path_of(sqlite.meant(f"sqlite:///{path}")) == path
    assert sqlite.path_of(f"sqlite:///{tmp_path}/m.db?timeout=5") == tmp_path / "m.db", "a query is one"


def test_a_home_may_be_named_as_its_user_likes(tmp_path: Path) -> None:
    """Jenkins names a workspace ``job_feature%2Fx``; in an address %, ? and # mean something else."""
    name = "100% a%20b?c=d#e job_feature%2Fx"
    home = Home(tmp_path / name / "home").create()
    with pytest.raises(SluiceError, match="nothing was run in this home yet"):
        registry_of(home)
    tracker = open_tracker(project(), home)
    tracker.metrics({"loss": 0.5}, 1)
    (tmp_path / "note.txt").write_text("hello")
    tracker.artifact(tmp_path / "note.txt")
    tracker.finish()
    store = home.store / "sha256" / ("a" * 64)
    store.mkdir(parents=True)
    registry_of(home).register("m", "a" * 64, store.as_uri(), metrics={}, tags={}, run_id=tracker.run_id)
    c = client(home.tracking_uri)
    assert c.get_run(tracker.run_id).data.metrics == {"loss": 0.5} and [a.path for a in c.list_artifacts(tracker.run_id)] == ["note.txt"]
    found = find_version("m@1", registry_of(home))
    assert open_store(found.uri, Home(tmp_path / "moved")).path(found.digest) == store
    assert [p.name for p in tmp_path.iterdir() if p.is_dir()] == [name], "nothing was written beside it"


def test_folds_are_runs_below_their_own(tmp_path: Path) -> None:
    home = Home(tmp_path / "home").create()
    tracker = open_tracker(project(also=["tensorboard"]), home, name="a-run")
    tracker.child("fold-1", [(1, {"train_loss": 0.5}), (2, {"train_loss": 0.25}), (2, {"fold_accuracy": 0.9})], {"sluice.fold": "1"})
    tracker.finish()
    c = client(home.tracking_uri)
    (below,) = c.search_runs([c.get_run(tracker.run_id).info.experiment_id], f"tags.mlflow.parentRunId = '{tracker.run_id}'")
    assert below.info.run_name == "fold-1" and below.info.status == "FINISHED" and below.data.tags["sluice.fold"] == "1"
    assert [m.value for m in c.get_metric_history(below.info.run_id, "train_loss")] == [0.5, 0.25]
    assert below.data.metrics["fold_accuracy"] == 0.9
    assert list((home.root / "tensorboard" / "a-run" / "fold-1").glob("events.*"))


def test_a_run_can_be_taken_up_again_by_its_id(tmp_path: Path) -> None:
    home = Home(tmp_path / "home").create()
    first = open_tracker(project(), home)
    open_tracker(project(), home, run_id=first.run_id).metrics({"test_accuracy": 0.9})
    assert client(home.tracking_uri).get_run(first.run_id).data.metrics["test_accuracy"] == 0.9


def test_a_server_that_is_down_costs_one_word_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    said: list[str] = []
    tracker = MLflowTracker("http://127.0.0.1:9", "x", say=said.append)
    tracker.params({"a": 1})
    for step in range(500):
        tracker.metrics({"loss": 1.0}, step)
    tracker.finish()
    assert len(said) == 2 and "the work goes on, and it is tried again" in said[0] and "were not written" in said[1]


class Flaky:
    """An MLflow client whose server may be away; counts what it is asked meanwhile."""

    def __init__(self, real: Any):
        self.real, self.away, self.asked = real, False, 0

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any, **more: Any) -> Any:
            if self.away:
                self.asked += 1
                raise ConnectionError("gone")
            return getattr(self.real, name)(*args, **more)

        return call


def test_what_could_not_be_sent_is_sent_when_the_server_is_back(tmp_path: Path) -> None:
    """The run itself, parameters, tags, curves, files and its end: none is lost, in whatever moment the server went away."""
    said: list[str] = []
    now = [0.0]
    tracker = MLflowTracker(f"sqlite:///{tmp_path / 'm.db'}", "x", run_id="not yet", say=said.append, clock=lambda: now[0])
    flaky = tracker._client = Flaky(tracker._client)
    flaky.away, tracker.run_id = True, None
    tracker._outbox.put("start the run", lambda: tracker._start("x", (tmp_path / "artifacts").as_uri(), "late"))
    tracker.params({"train": {"epochs": 3}})
    tracker.tags({"who": "me"})
    for step in range(2500):
        tracker.metrics({"loss": float(step)}, step)
    (tmp_path / "note.txt").write_text("hello")
    tracker.artifact(tmp_path / "note.txt")
    assert tracker.run_id is None and flaky.asked == 1 and len(said) == 1, "asked once, said once, the work goes on"
    now[0], flaky.away = 3600.0, False
    tracker.metrics({"loss": 0.0}, 2500)
    tracker.finish()
    run = flaky.real.get_run(tracker.run_id)
    assert (run.info.status, run.data.params, run.data.tags["who"]) == ("FINISHED", {"train.epochs": "3"}, "me")
    assert [m.step for m in flaky.real.get_metric_history(tracker.run_id, "loss")] == list(range(2501))
    assert [a.path for a in flaky.real.list_artifacts(tracker.run_id)] == ["note.txt"]
    assert len(said) == 1


class Down:
    def __init__(self) -> None:
        self.took: list[str] = []
        self.away = True

    def __getattr__(self, name: str) -> Any:
        def call(*_: Any) -> None:
            if self.away:
                raise ConnectionError("gone")
            self.took.append(name)

        return call


def test_what_waits_is_bounded_and_the_pauses_between_tries_grow() -> None:
    now, tries = [0.0], []
    outbox = Outbox("it", say=lambda _: None, clock=lambda: now[0])

    def fail() -> None:
        tries.append(now[0])
        raise ConnectionError("gone")

    for i in range(3000):
        outbox.put(f"{i}", fail)
        now[0] += 1
    assert len(outbox) == 1000 and outbox.lost == 2000 and outbox.holds("0"), "what opens the run is kept"
    pauses = [b - a for a, b in itertools.pairwise(tries)]
    assert pauses[0] <= 2 and max(pauses) == 60 and len(tries) < 70


def test_what_a_tracker_refuses_does_not_hold_up_the_rest(tmp_path: Path) -> None:
    said: list[str] = []
    tracker = MLflowTracker(f"sqlite:///{tmp_path / 'm.db'}", "x", artifacts=(tmp_path / "artifacts").as_uri(), say=said.append)
    tracker.params({"lr": 1})
    tracker.params({"lr": 2})  # MLflow's parameters never change
    tracker.artifact(tmp_path / "gone.txt")
    tracker.metrics({"loss": 1.0})
    tracker.finish()
    run = client(f"sqlite:///{tmp_path / 'm.db'}").get_run(tracker.run_id)
    assert (run.info.status, run.data.metrics, run.data.params) == ("FINISHED", {"loss": 1.0}, {"lr": "1"})
    assert len(said) == 1 and "did not take what was to log parameters" in said[0]


def test_nested_settings_are_flattened_to_dotted_names() -> None:
    assert flatten({"a": {"b": 1, "c": [1, 2]}, "d": {}}) == {"a.b": 1, "a.c": [1, 2], "d": {}}


def test_tensorboard_reads_back_what_was_written_beside_mlflow(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    home = Home(tmp_path / "home").create()
    tracker = open_tracker(project(also=["tensorboard"]), home, name="a-run")
    tracker.params({"lr": 0.1})
    tracker.metrics({"loss": 0.5}, 0)
    tracker.metrics({"loss": 0.25}, 1)
    tracker.finish()
    seen = EventAccumulator(str(home.root / "tensorboard" / "a-run"))
    seen.Reload()
    assert [(e.step, e.value) for e in seen.Scalars("loss")] == [(0, 0.5), (1, 0.25)]


def test_tensorboard_has_the_curves_of_a_process_that_never_said_finish(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    home = Home(tmp_path / "home").create()
    open_tracker(project(also=["tensorboard"]), home, name="cut-off").metrics({"loss": 0.5}, 0)
    seen = EventAccumulator(str(home.root / "tensorboard" / "cut-off"))
    seen.Reload()
    assert [e.value for e in seen.Scalars("loss")] == [0.5]


def test_one_broken_tracker_stops_neither_the_others_nor_the_work(tmp_path: Path) -> None:
    said: list[str] = []
    now = [0.0]
    first, broken = MLflowTracker(f"sqlite:///{tmp_path / 'm.db'}", "x"), Down()
    both = Several([first, broken], say=said.append, clock=lambda: now[0])
    for step in range(20):
        both.metrics({"loss": 1.0, "undefined": None}, step)
    assert len(said) == 1 and "Down could not metrics" in said[0]
    now[0], broken.away = 100.0, False
    both.finish()
    assert broken.took == ["metrics"] * 20 + ["finish"], "it caught up"
    assert client(f"sqlite:///{tmp_path / 'm.db'}").get_run(first.run_id).data.metrics == {"loss": 1.0}


def test_a_second_process_never_replaces_the_database_of_the_first(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'm.db'}"
    run = MLflowTracker(uri, "x").run_id
    _create_database(tmp_path / "m.db")
    assert client(uri).get_run(run).info.run_id == run


@pytest.mark.parametrize("uri", ["htp://mlflow", "mlflow.db"])
def test_an_address_of_no_known_kind_is_refused_by_the_project_file(uri: str) -> None:
    with pytest.raises(SluiceError, match=r"tracking\.uri"):
        project(uri=uri)


def test_wandb_offline_writes_its_files_below_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    home = Home(tmp_path / "home").create()
    tracker = open_tracker(project(also=["wandb"]), home, name="a-run")
    tracker.params({"lr": 0.1})
    tracker.metrics({"loss": 0.5}, 0)
    tracker.finish()
    assert list((home.root / "wandb").rglob("*.wandb"))


def test_an_unknown_tracker_is_refused_by_the_project_file() -> None:
    with pytest.raises(SluiceError, match=r"tracking\.also"):
        project(also=["comet"])
