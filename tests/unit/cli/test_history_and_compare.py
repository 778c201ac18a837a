"""`sluice history`, `sluice compare`, and what a project's folder means to the commands."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import orjson
import pytest

from sluice import Client, cli
from sluice.cli import main
from sluice.core import files
from sluice.core.errors import ProjectError
from sluice.core.gate import Gate
from sluice.core.home import Home
from sluice.package.store import default_store
from sluice.registry.references import locate
from sluice.registry.versions import CHAMPION, Registry
from sluice.tracking.mlflow import MLflowTracker
from tests.unit.serving.builders import classifier

PROJECT = "{name: points, task: text, data: {source: rows.csv}}"


def outcome(home: Home, run: str, seconds: float, **more: object) -> None:
    found = {
        "run": run,
        "project": "points",
        "outcome": "promoted",
        "exit_code": 0,
        "reasons": [],
        "seconds": seconds,
        "steps": [],
        "report": "",
    }
    files.write_json(home.runs / run / "outcome.json", found | more)


def judged(home: Home, run: str, comparison: dict | None, note: str = "") -> None:
    evaluation = {"metric": "accuracy", "value": 0.98331, "low": 0.9611, "high": 0.9932, "rows": 100}
    Gate("evaluate", "pass", (), {"evaluation": evaluation, "comparison": comparison, "champion_note": note}).write(
        home.runs / run / "gates" / "evaluate.json"
    )
    Gate("preprocess", "pass", (), {"rows": {"train": 700, "test": 100}}).write(home.runs / run / "gates" / "preprocess.json")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Two registered versions whose trainings differ in one setting, and the runs that made them."""
    home = Home(tmp_path_factory.mktemp("compared") / "home").create()
    registry, store = Registry(home.tracking_uri), default_store(home)
    for i, (rate, accuracy) in enumerate([(0.001, 0.9), (0.01, 0.95)]):
        package = store.add(classifier(tmp_path_factory.mktemp("package") / "p", "points", scale=1.0 + i))
        tracker = MLflowTracker(home.tracking_uri, "points", artifacts=None, run_id=None, name=f"run-{i}")
        tracker.params({"train": {"learning_rate": rate, "epochs": 3}, "data": {"source": "rows.csv"}})
        tracker.finish()
        version = registry.register(
            "points",
            package.digest,
            store.uri(package.digest),
            metrics={"accuracy": accuracy},
            tags={"sluice.data": "d" * 64, "sluice.config": str(i) * 64},
            run_id=tracker.run_id,
        )
        registry.set_alias("points", CHAMPION, version.number)
        outcome(home, f"points-2026010{i + 1}-000000-0000", 100.0 + i, digest=package.digest, version=version.number)
        judged(
            home,
            f"points-2026010{i + 1}-000000-0000",
            {"verdict": "no_worse"} if i else None,
            "there is no champion yet: this is the first model",
        )
    outcome(home, "points-20260103-000000-0000", 12, outcome="refused", gate="validate_data", reasons=["x" * 200])
    return home


def test_brackets_and_colons_of_a_reason_are_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = Home(tmp_path / "home").create()
    outcome(home, "points-20260103-000000-0000", 12, outcome="refused", gate="validate_data", reasons=["label '[/b]' and ':smile:' [red]"])
    assert main(["history", "--home", str(home.root)]) == 0
    assert "label '[/b]' and ':smile:' [red]" in capsys.readouterr().out


def test_history_shows_the_metric_with_its_interval_the_verdict_and_the_time(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["history", "--home", str(home.root)]) == 0
    lines = capsys.readouterr().out.splitlines()
    second = next(line for line in lines if "20260102" in line)
    assert "accuracy 0.9833 (0.9611 to 0.9932)" in second and "no worse" in second and "1 min 41 s" in second
    assert "first model" in next(line for line in lines if "20260101" in line)
    assert "12 s" in next(line for line in lines if "20260103" in line)
    assert "120 more" in " ".join(lines), "a reason that is cut says by how much"


def test_history_of_fewer_runs_says_how_many_there_are_and_json_has_the_metric(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["history", "--home", str(home.root), "--limit", "2", "--json"]) == 0
    found = orjson.loads(capsys.readouterr().out)["runs"]
    assert [f["metric"] and f["metric"]["verdict"] for f in found] == [None, "no worse"]
    assert main(["history", "--home", str(home.root), "--limit", "2"]) == 0
    assert "2 of 3 runs" in capsys.readouterr().err


def test_compare_shows_the_settings_that_differ_and_only_those(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "points@1", "points@2", "--home", str(home.root)]) == 0
    shown = capsys.readouterr().out
    row = next(line for line in shown.splitlines() if line.startswith("train.learning_rate"))
    assert row.split()[1:] == ["0.001", "0.01"]
    assert "train.epochs" not in shown and "data.source" not in shown
    assert "100 test, 700 train" in shown and "+0.05" in shown
    assert next(line for line in shown.splitlines() if line.startswith("data")).split()[-1] == "same"
    assert main(["compare", "points@1", "points@2", "--home", str(home.root), "--json"]) == 0
    assert orjson.loads(capsys.readouterr().out)["settings"] == {"train.learning_rate": ["0.001", "0.01"]}


def test_a_project_means_its_champion_to_the_commands_that_take_a_package(home: Home, tmp_path: Path) -> None:
    (tmp_path / "sluice.yaml").write_text(PROJECT)
    champion = Registry(home.tracking_uri).by_alias("points", CHAMPION)
    assert champion is not None and champion.number == "2"
    for reference in (str(tmp_path), f"{tmp_path}/", str(tmp_path / "sluice.yaml"), "points", "points@2", champion.digest[:8]):
        assert locate(reference, home).name == champion.digest, reference


def test_a_project_without_a_champion_is_told_so(home: Home, tmp_path: Path) -> None:
    (tmp_path / "sluice.yaml").write_text(PROJECT.replace("points", "never-run"))
    with pytest.raises(ProjectError, match="never-run@champion"):
        locate(str(tmp_path), home)


@pytest.mark.parametrize(
    "command", [["run", "."], ["tune", "."], ["compile", ".", "-o", "x"], ["submit", "."], ["data", "check", "."], ["data", "infer", "."]]
)
def test_a_folder_is_its_project_file(command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sluice.yaml").write_text(PROJECT)
    assert cli.parser().parse_args(command).project == Path("sluice.yaml")


def test_a_folder_without_a_project_says_which_file_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", str(tmp_path)]) == 2
    assert "sluice.yaml" in capsys.readouterr().err


def test_models_shows_what_serves_beside_what_is_registered_and_where_they_differ(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    versions = Registry(home.tracking_uri).versions("points")
    champion = next(v for v in versions if CHAMPION in v.aliases)
    other = next(v for v in versions if CHAMPION not in v.aliases)

    def rollout(digest: str | None, conditions: list[dict], name: str = "points") -> dict:
        return {
            "metadata": {"name": name},
            "spec": {"model": {"digest": "x"}},
            "status": {"state": {"stable": digest}, "models": {}, "conditions": conditions},
        }

    said = {"type": "Registered", "status": "False", "reason": "RegistryAway", "message": "no answer; tried again by itself"}
    for found, words, row in (
        (rollout(champion.digest, []), "", f"{champion.digest[:12]}"),
        (
            rollout(other.digest, [said]),
            f"version {other.number} ({other.digest[:12]}) serves in prod (ModelRollout points), and the champion in",
            other.digest[:12],
        ),
        (rollout(other.digest, [said]), "no answer; tried again by itself", other.digest[:12]),
        (rollout("f" * 64, []), "ffffffffffff, which is in no version, serves in prod", "ffffffffffff"),
        (
            rollout("f" * 64, [], "unheard"),
            "unheard: ffffffffffff, which is in no version, serves in prod (ModelRollout unheard), and the champion",
            "ffffffffffff",
        ),
        (rollout(None, []), "", "points"),
    ):
        monkeypatch.setattr("sluice.rollouts.cluster.connect", lambda found=found: SimpleNamespace(list=lambda *_: [found]))
        assert main(["models", "--home", str(home.root), "-n", "prod"]) == 0
        out, err = capsys.readouterr()
        assert words in err and bool(words) == bool(err.strip()), err
        serves = [line for line in out.splitlines() if " yes " in line]
        assert len(serves) == (0 if row == "points" else 1) and all(row in line for line in serves)
    assert main(["models", "--home", str(home.root), "-n", "prod", "--json"]) == 0
    shown = orjson.loads(capsys.readouterr().out)
    assert shown["serving"][0]["rollout"] == "points" and shown["differences"] == []


def test_a_notebook_compares_two_versions_of_the_registry(home: Home) -> None:
    found = Client(home.root).compare("points@1", "points@2")
    assert found.difference["accuracy"] == pytest.approx(0.05) and found.settings["train.learning_rate"] == ("0.001", "0.01")
    assert "points@2" in found.plot("accuracy").body and "points@1" in found._repr_html_()


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["verify", "sha256:zz"], "is no model's name"),
        (["verify", "/nowhere/at/all"], "is no model's name"),
        (["predict", "sha256:zz", "x.csv"], "write six or more of its digits"),
        (["predict", "./nowhere/at/all", "x.csv"], "no such folder or file"),
        (["compare", "points", "points@2"], "write points@champion or points@NUMBER"),
        (["compare", "points@1", "b"], "is no version (got 'b')"),
        (["history", "nosuch"], "no run of this project (got 'nosuch')"),
    ],
)
def test_a_name_that_is_none_is_told_as_such_and_not_as_a_fault_of_the_registry(
    command: list[str], said: str, home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, "--home", str(home.root)]) == 2
    assert said in (told := capsys.readouterr().err) and "is the server up" not in told
