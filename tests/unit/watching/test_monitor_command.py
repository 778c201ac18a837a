"""`sluice monitor` on a real package and a log as servers write it; a look that goes on from the last one, whatever became of it."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sluice.cli import main
from sluice.core import files
from sluice.core.errors import DataError
from sluice.monitor import MonitorConfig, PredictionLog, profile_of
from sluice.monitor.retrain import run_name
from sluice.monitor.watch import Watch
from sluice.steps.detect_drift import detect_drift, section
from tests.support import logged
from tests.tools.long import long
from tests.unit.serving import builders

KINDS = {"age": "numeric", "job": "categorical"}


def people(rng: np.random.Generator, n: int, older: float = 0.0) -> pa.Table:
    jobs = np.array(["nurse", "cook"], dtype=object)[rng.choice(2, n)]
    return pa.table({"age": rng.normal(40 + older, 10, n), "job": pa.array(jobs, pa.string())})


def write(log: Path, version: str, second: int, rows: pa.Table, begins: int = 1_790_000_000) -> None:
    folder = log / f"predictions/model=churn/version={version[:12]}"
    folder.mkdir(parents=True, exist_ok=True)
    times = pa.array(begins * 1_000_000 + second * 600_000_000 + np.arange(rows.num_rows) * 1_000_000, pa.timestamp("us", tz="UTC"))
    table = pa.table({"time": times, "prediction": ["a"] * rows.num_rows, "features": rows.to_struct_array()})
    pq.write_table(table, folder / f"20261130T0000{second:02d}-h-000001.parquet")


@pytest.fixture(scope="module")
def profile():
    return profile_of(people(np.random.default_rng(0), 5000), KINDS, ["a"] * 4000 + ["b"] * 1000)


@pytest.fixture
def package(tmp_path, profile):
    (tmp_path / "churn").mkdir()
    files.write_json(tmp_path / "churn" / "profile.json", profile)
    return builders.tabular(tmp_path / "churn")


def test_quiet_then_moved_on_the_command_line(tmp_path, package, capsys):
    rng, log = np.random.default_rng(1), tmp_path / "log"
    command = ["monitor", str(package.root), "--log", str(log), "--home", str(tmp_path / "home"), "--json"]
    log.mkdir()
    assert main(command) == 0 and json.loads(capsys.readouterr().out)["headline"] == "no predictions yet"
    write(log, package.digest, 1, people(rng, 1300))
    assert main(command) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["rows"], told["windows"], told["open"], told["decision"]) == (1300, 2, 300, "pass") and "nothing has moved" in told[
        "headline"
    ]
    write(log, package.digest, 9, people(rng, 1200, older=8))
    assert main(command) == 3
    told = json.loads(capsys.readouterr().out)
    assert told["new_rows"] == 1200 and [a["feature"] for a in told["standing"]] == ["age"] and told["exit_code"] == 3
    page = Path(told["report"]).read_text()
    assert "age has moved" in page and "<svg" in page and "<script" not in page
    assert main(command[:-1]) == 3
    shown = capsys.readouterr().out
    assert "age moved, since 2026-" in shown and "0 new rows" in shown and "by chance" in shown


def test_settings_are_the_projects_and_can_be_overridden(tmp_path, package, capsys):
    log = tmp_path / "log"
    write(log, package.digest, 1, people(np.random.default_rng(2), 800))
    project = tmp_path / "sluice.yaml"
    project.write_text("name: churn\ntask: tabular\ndata: {source: rows.csv}\nmonitor: {window: {rows: 200}}\n")
    command = ["monitor", str(package.root), "--log", str(log), "--home", str(tmp_path / "home"), "--json", "--project", str(project)]
    assert main(command) == 0 and json.loads(capsys.readouterr().out)["windows"] == 4
    assert main([*command, "--set", "monitor.window.rows=400"]) == 0 and json.loads(capsys.readouterr().out)["windows"] == 2
    assert main([*command, "--set", "monitor.drift.threshold=-1"]) == 2 and "monitor.drift.threshold" in capsys.readouterr().err
    assert main([*command, "--set", "train.epochs=1"]) == 2 and "is no setting of the monitor" in capsys.readouterr().err
    assert main([*command[:3], str(tmp_path / "none"), "--home", str(tmp_path / "home")]) == 2 and "--log" in capsys.readouterr().err


def test_a_package_without_a_profile_is_told(tmp_path, capsys):
    package = builders.tabular(tmp_path / "plain")
    assert main(["monitor", str(package.root), "--log", str(tmp_path), "--home", str(tmp_path / "home")]) == 2
    assert "has no profile" in capsys.readouterr().err


def test_a_look_that_was_killed_counts_nothing_twice(tmp_path, profile):
    rng, log = np.random.default_rng(3), tmp_path / "log"
    for second in range(1, 6):
        write(log, "c" * 12, second, people(rng, 333))
    whole = Watch(profile, MonitorConfig(), PredictionLog(log, "churn"), tmp_path / "whole.json").look()
    for i in range(20):  # each look is ended after a few rows, as by a kill between two batches
        Watch(profile, MonitorConfig(), PredictionLog(log, "churn"), tmp_path / "pieces.json").look(most=1 + 97 * i)
    pieces = Watch(profile, MonitorConfig(), PredictionLog(log, "churn"), tmp_path / "pieces.json").look()
    assert (pieces.rows, pieces.windows, pieces.history) == (whole.rows, whole.windows, whole.history) and whole.rows == 1665
    other = Watch(
        profile, MonitorConfig.model_validate({"window": {"rows": 100}}), PredictionLog(log, "churn"), tmp_path / "pieces.json"
    ).look()
    assert other.windows == 16 and other.rows == 1665
    (tmp_path / "pieces.json").write_text("{")
    with pytest.raises(DataError, match="begin again"):
        Watch(profile, MonitorConfig(), PredictionLog(log, "churn"), tmp_path / "pieces.json").look()


def test_labels_that_came_are_judged_beside_the_drift_and_once(tmp_path, package, capsys):
    rng, log, version = np.random.default_rng(4), tmp_path / "log", package.digest[:12]
    command = [
        "monitor",
        str(package.root),
        "--log",
        str(log),
        "--home",
        str(tmp_path / "home"),
        "--json",
        "--set",
        "monitor.quality.floor=0.8",
    ]
    labels = list(package.labels)
    n = 1200
    wrong = rng.random(n) < np.where(np.arange(n) < 600, 0.02, 0.5)
    p = np.tile([[0.9, *[0.1 / (len(labels) - 1)] * (len(labels) - 1)]], (n, 1))
    features = people(rng, n)
    ids = [f"r{i}" for i in range(n)]
    second = 1_000_000
    at = 1_790_000_000 * second + np.arange(n) * second
    more = {"features": {c: features.column(c).to_pylist() for c in features.column_names}, "model": "churn", "version": version}
    logged.predictions(log, at, ids=ids, labels=labels, probabilities=p, **more)
    assert main(command) == 0 and json.loads(capsys.readouterr().out)["quality"] is None
    for k, part in enumerate((slice(0, 550), slice(550, n))):
        told = [labels[int(w)] for w in wrong[part]]
        logged.feedback(log, at[part] + 7200 * second, ids[part], told, model="churn", name=f"20261130T09000{k}-a.parquet")
        assert main(command) == (3 if k else 0)
        found = json.loads(capsys.readouterr().out)
        assert found["quality"]["risen"]["standing"] is bool(k) and found["standing"] == []
    assert len(found["quality"]["wrong"]) == 2 and "under the floor of 0.8" in found["quality"]["wrong"][0]
    page = Path(found["report"]).read_text()
    assert "wrong more often" in page and ">worse<" in page
    assert page.index("wrong more often") < page.index("nothing has moved"), "the answer stands first"
    config = MonitorConfig.model_validate({"quality": {"floor": 0.8}})
    kept = str(tmp_path / "kept" / "churn.json")
    for _ in range(2):  # the step of the pipeline says the same, and goes on from what it kept
        gate = detect_drift(package, str(log), config, kept=kept)
        assert gate.decision == "refuse" and list(gate.reasons) == found["quality"]["wrong"]
        assert gate.evidence["quality"] == found["quality"] and "wrong more often" in section(gate.evidence)
    assert (tmp_path / "kept" / "churn-quality.json").exists()
    again = (main([*command, "--again"]), json.loads(capsys.readouterr().out))
    assert again[0] == 3 and again[1]["quality"] == found["quality"]


def retraining(home: Path) -> dict:
    return json.loads((home / "monitor" / "churn-retraining.json").read_text())["state"]


def test_a_retraining_is_a_run_of_the_home_once_and_backs_off_where_it_gives_no_model(tmp_path, package, capsys):
    """A real run, of a project whose rows are not there: it fails in its first step."""
    log, home, project = tmp_path / "log", tmp_path / "home", tmp_path / "sluice.yaml"
    text = "name: {}\ntask: tabular\ndata: {{source: rows.csv, columns: {{label: churned}}}}\nmonitor: {{retrain: {{drift: {{windows: 2}}}}}}\n"
    command = ["monitor", str(package.root), "--log", str(log), "--home", str(home), "--json", "--retrain"]
    write(log, package.digest, 1, people(np.random.default_rng(1), 1100))
    assert main(command) == 2 and "add --project" in capsys.readouterr().err
    project.write_text(text.format("other"))
    command += ["--project", str(project)]
    assert main(command) == 2 and "is the project of another model" in capsys.readouterr().err
    project.write_text(text.format(package.name))
    assert main(command) == 0 and json.loads(capsys.readouterr().out)["retraining"]["what"] == "none"
    write(log, package.digest, 9, people(np.random.default_rng(2), 1500, older=12))
    # A look without --retrain, as one that was killed behind it, takes no window from the policy.
    assert main([c for c in command if c != "--retrain"]) == 3 and "retraining" not in json.loads(capsys.readouterr().out)
    code = main(command)
    told = json.loads(capsys.readouterr().out)["retraining"]
    assert code == told["exit_code"] == 2 and told["what"] == "ran" and told["outcome"] == "failed" and told["reason"] == "drift"
    name = run_name("churn", str(home.resolve()), 1)
    assert told["run"] == name and [p.name for p in (home / "runs").iterdir()] == [name] and "rows.csv" in told["said"]
    assert retraining(home)["failed"] == 1
    later = int(time.time())  # what was seen before the run ended asks for no other
    write(log, package.digest, 20, people(np.random.default_rng(3), 1500, older=12), later)
    assert main(command) == 3 and "waits after 1 in a row" in json.loads(capsys.readouterr().out)["retraining"]["told"]
    # Killed behind what was written, before the run left anything: the same run, and no other.
    state = retraining(home)
    state |= {"run": {**state["run"], "ended": None, "outcome": ""}, "until": 0.0, "failed": 0}
    files.write_json(
        home / "monitor" / "churn-retraining.json", {"format": "sluice.retraining/v1", "version": package.digest, "state": state}
    )
    (home / "runs" / name / "outcome.json").unlink()
    assert main(command) == 2 and json.loads(capsys.readouterr().out)["retraining"]["run"] == name
    assert [p.name for p in (home / "runs").iterdir()] == [name] and retraining(home)["number"] == 1
    (home / "monitor" / "churn-retraining.json").write_text("[]")
    assert main(command) == 2 and "begin again" in capsys.readouterr().err


@long
def test_evidentlys_report_of_the_last_rows_beside_the_first_ones(tmp_path, package, capsys):
    rng, log, page = np.random.default_rng(6), tmp_path / "log", tmp_path / "pages" / "evidently.html"
    command = ["monitor", str(package.root), "--log", str(log), "--home", str(tmp_path / "home"), "--json", "--evidently", str(page)]
    write(log, package.digest, 1, people(rng, 300))
    command += ["--set", "monitor.drift.baseline=300"]
    assert main(command) == 2 and "300 and 0" in capsys.readouterr().err and not page.exists()
    write(log, package.digest, 9, people(rng, 400, older=12))
    assert main(command) in (0, 3)
    told = json.loads(capsys.readouterr().out)["evidently"]
    assert (told["reference"], told["current"], told["left_out"]) == (300, 400, []) and told["scores"]["age"] != told["scores"]["job"]
    assert page.stat().st_size > 10_000 and "<html" in page.read_text()[:2000].lower()


def test_evidently_that_is_not_there_is_named_with_its_extra(tmp_path, package, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "evidently", None)
    log = tmp_path / "log"
    write(log, package.digest, 1, people(np.random.default_rng(7), 200))
    command = ["monitor", str(package.root), "--log", str(log), "--home", str(tmp_path / "home"), "--evidently", str(tmp_path / "e.html")]
    assert main(command) != 0 and "sluice-ml[evidently]" in capsys.readouterr().err
