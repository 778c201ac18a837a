"""A tracker of a user's own beside the first."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest

from sluice.core.errors import MissingExtra, ProjectError
from sluice.core.home import Home
from sluice.project import parse
from sluice.tracking.config import TRACKERS
from sluice.tracking.tracker import check_trackers, open_tracker

PLUGIN = Path(__file__).parents[2] / "plugins" / "csv_tracker.py"
BASE = {"name": "mine", "task": "tabular", "data": {"source": "rows.csv"}}


def project(folder: Path, *also: str):
    return parse({**BASE, "tracking": {"also": list(also)}}, base_dir=folder)


@pytest.fixture
def folder(tmp_path):
    shutil.copy(PLUGIN, tmp_path)
    return tmp_path


def test_it_is_told_what_the_first_one_is_told(folder):
    found = project(folder, "csv_tracker:CsvTracker")
    check_trackers(found)
    home = Home(folder / "home").create()
    tracker = open_tracker(found, home, name="a-run")
    tracker.params({"lr": 0.1})
    for step in range(3):
        tracker.metrics({"loss": 1.0 / (step + 1)}, step)
    tracker.finish()
    with (home.root / "csv" / "a-run.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["parameter", "0", "lr", "0.1"] and rows[-1] == ["end", "0", "status", "FINISHED"]
    assert [r[3] for r in rows if r[0] == "metric"] == ["1.0", "0.5", str(1 / 3)]
    assert tracker.run_id != "a-run", "the run's id is MLflow's"


@pytest.mark.parametrize(
    ("name", "error", "said"),
    [
        ("tensorbord", ProjectError, "did you mean 'tensorboard'?"),
        ("comet", ProjectError, "there are tensorboard, wandb"),
    ],
)
def test_a_name_that_is_none_is_refused_when_the_project_is_read(folder, name, error, said):
    with pytest.raises(error) as told:
        project(folder, name)
    assert said in str(told.value) and "tracking.also" in str(told.value)


@pytest.mark.parametrize(
    ("source", "name", "error", "said"),
    [
        ("", "absent_a:X", ProjectError, "has no X"),
        (None, "absent_b:X", ProjectError, "cannot import absent_b"),
        ("class X: pass\n", "absent_c:X", ProjectError, "is no tracker"),
        (
            "from sluice.tracking.tracker import Needs\nclass X:\n    needs = Needs('no_such_package_y')\n    def open(*a): ...\n",
            "absent_d:X",
            MissingExtra,
            "pip install 'no_such_package_y'",
        ),
    ],
)
def test_what_cannot_track_is_told_before_anything_is_trained(tmp_path, source, name, error, said):
    if source is not None:
        (tmp_path / f"{name.partition(':')[0]}.py").write_text(source)
    with pytest.raises(error) as told:
        check_trackers(project(tmp_path, name))
    assert said in str(told.value)


def test_every_built_in_tracker_is_there_and_says_what_it_needs():
    assert [TRACKERS.get(name).needs.module for name in ("tensorboard", "wandb")] == ["tensorboard", "wandb"]
