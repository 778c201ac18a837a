"""A project of a prompt on its way: checked, packaged, asked, judged; what failed counts, what was asked is kept, a key is nowhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from sluice.cli import main
from sluice.core.errors import DataError, ProjectError
from sluice.data.dataset import Dataset
from sluice.data.prepare import prepare, validate_project_data
from sluice.engines.base import open_package
from sluice.engines.predictor import Predictor
from sluice.engines.scoring import asked_and_judged
from sluice.formats.export import export_package
from sluice.gates.facts import Judged
from sluice.gates.prompts import Prompts
from sluice.learners.base import Job
from sluice.llm import evaluation
from sluice.package.inspection import diff, inspect
from sluice.package.package import Package
from sluice.problems.comparison import compare
from sluice.problems.evaluator import evaluate
from sluice.problems.of_scores import COLUMNS
from sluice.project import Project, load
from sluice.tasks import load_task
from tests.support.capitals import CAPITALS, said
from tests.support.endpoint import Scripted

KEY = "sk-never-written-1234567890"
ASKED = ("", ", please", ", quickly")
N = len(CAPITALS) * len(ASKED)


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[Scripted]:
    monkeypatch.setenv("CAPITALS_KEY", KEY)
    evaluation._found.clear()
    with Scripted(answer=said).serving() as found:
        yield found


def written(folder: Path, url: str, **model: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    given = {"endpoint": {"url": url, "model": "played", "key_env": "CAPITALS_KEY", "retries": 0}} | model
    data = {"source": "golden.jsonl", "columns": {"label": "answer"}}
    (folder / "sluice.yaml").write_bytes(orjson.dumps({"name": "capitals", "task": "llm", "data": data, "model": given}))
    (folder / "prompt.yaml").write_text(
        "user: 'Capital of {{ country }}?'\nvariables: {country: {}}\nparameters: {temperature: 0, max_tokens: 8}\n"
    )
    items = [{"country": c + ask, "answer": v} for c, v in CAPITALS.items() for ask in ASKED]
    (folder / "golden.jsonl").write_bytes(b"\n".join(map(orjson.dumps, items)))
    return folder


def made(folder: Path) -> tuple[Project, Dataset, Package]:
    project = load(folder / "sluice.yaml")
    task = load_task(project, folder)
    report = validate_project_data(project, folder, task)
    assert report.decision == "pass", report.reasons
    dataset = prepare(project, folder, task, folder / "dataset")
    task.learner().fit(Job(dataset, folder / "model"))
    result = export_package(project, folder / "model", dataset, folder / "package", base_dir=folder)
    assert result.package is not None
    return project, dataset, result.package


def test_from_a_project_to_a_verdict_and_a_rerun_costs_nothing(tmp_path: Path, endpoint: Scripted) -> None:
    project, dataset, package = made(written(tmp_path / "p", endpoint.url))
    assert dataset.rows("test") == N and package.provenance["model"] == {"asked": "played", "reported": "played-1"}
    assert inspect(package)["graph"] is None
    outputs, targets = asked_and_judged(package, dataset, "test", project, tmp_path / "answers")
    assert outputs.shape == (N, len(COLUMNS)) and set(targets) == set(CAPITALS.values())
    found = evaluate(outputs, targets, [], project.evaluate, asked=dataset.problem)
    assert (found["metric"], found["value"]) == ("score", 1.0) and found["low"] < 1
    of_35 = evaluate(np.tile(outputs, (2, 1))[:35], [*targets, *targets][:35], [], project.evaluate, asked=dataset.problem)
    assert [of_35["metrics"][n]["low"] for n in ("failed", "invalid")] == [0, 0], (
        "of none in 35 the interval begins at none, and not at 6.9e-18"
    )
    asked = len(endpoint.bodies)
    evaluation._found.clear()
    again, _ = asked_and_judged(package, dataset, "test", project, tmp_path / "answers")
    assert len(endpoint.bodies) == asked and np.array_equal(again, outputs, equal_nan=True)
    assert Predictor(package).predict([{"country": "Peru"}]).tolist() == ["Lima"]
    assert open_package(package).blocking
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or KEY.encode() not in path.read_bytes(), path


def test_equal_projects_make_equal_packages_and_a_changed_word_another(tmp_path: Path, endpoint: Scripted) -> None:
    one, two, three = (written(tmp_path / n, endpoint.url) for n in ("a", "b", "c"))
    (three / "prompt.yaml").write_text((three / "prompt.yaml").read_text().replace("Capital", "The capital"))
    packages = [made(f)[2] for f in (one, two, three)]
    assert packages[0].digest == packages[1].digest != packages[2].digest
    assert diff(packages[0], packages[2])["files"]["changed"] == ["prompt.json"]
    assert main(["inspect", str(packages[0].root)]) == 0


def test_answers_that_do_not_come_count_as_wrong_and_too_many_are_refused(tmp_path: Path, endpoint: Scripted) -> None:
    project, dataset, package = made(written(tmp_path / "p", endpoint.url))
    endpoint.script = lambda body, n: "400" if "Peru?" in body["messages"][-1]["content"] else "ok"
    outputs, targets = asked_and_judged(package, dataset, "test", project, tmp_path / "answers")
    assert outputs[:, COLUMNS.index("failed")].sum() == 1 and outputs[:, 0].sum() == N - 1
    found = evaluate(outputs, targets, [], project.evaluate, asked=dataset.problem)
    facts = Judged(project, dataset, package, outputs, targets, None, None, found, kept=tmp_path / "answers")
    decision = Prompts().judge(facts, None)
    assert decision.decision == "refuse" and "1 of 21 answers did not come" in decision.reasons[0]
    assert KEY not in str(decision) and "did not come" in Prompts().section(decision)
    endpoint.script = lambda body, n: "ok"  # what failed was not kept
    evaluation._found.clear()
    assert asked_and_judged(package, dataset, "test", project, tmp_path / "answers")[0][:, 0].mean() == 1


def test_a_judge_that_decides_and_takes_whatever_stands_first_is_warned_of(tmp_path: Path, endpoint: Scripted) -> None:
    endpoint.answer = lambda q: "1" if "Answer 1:" in q else said(q)
    project, dataset, package = made(written(tmp_path / "p", endpoint.url, scorers={"judge": {}}))
    outputs, targets = asked_and_judged(package, dataset, "test", project, tmp_path / "answers")
    facts = Judged(project, dataset, package, outputs, targets, None, None, {}, kept=tmp_path / "answers")
    decision = Prompts().judge(facts, None)
    assert set(outputs[:, 0]) == {0.5} and "changes with the order of the two answers on 100% of the items" in decision.cautions[0]


def test_two_prompts_are_compared_item_by_item(tmp_path: Path, endpoint: Scripted) -> None:
    project, dataset, champion = made(written(tmp_path / "p", endpoint.url))
    worse = written(tmp_path / "w", endpoint.url)
    (worse / "prompt.yaml").write_text((worse / "prompt.yaml").read_text().replace("Capital", "Loudly: capital"))
    endpoint.answer = lambda q: said(q).upper() if "Loudly" in q else said(q)
    _, _, candidate = made(worse)
    (ours, targets), (theirs, _) = (asked_and_judged(p, dataset, "test", project, None) for p in (candidate, champion))
    c = compare(ours, theirs, targets, [], [], project.evaluate, asked=dataset.problem)
    assert (c["verdict"], c["candidate"], c["champion"], c["champion_better"]) == ("worse", 0.0, 1.0, N)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"scorers": {"exakt": {}}}, "did you mean 'exact'"),
        ({"scorers": {"regex": {}}}, "needs pattern or column"),
        ({"scorers": {"regex": {"column": "pattern"}}}, "is read by a scorer"),
        ({"tests": "none.yaml"}, "cannot be read"),
        ({"prompt": "none.yaml"}, "cannot be read"),
        ({"retrieval": {"folder": "docs"}}, "no place for passages"),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_asked(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    folder = written(tmp_path, "http://127.0.0.1:9/v1", **change)
    with pytest.raises(ProjectError, match=said):
        project = load(folder / "sluice.yaml")
        validate_project_data(project, folder, load_task(project, folder))


def test_a_golden_set_without_a_variable_is_refused(tmp_path: Path) -> None:
    folder = written(tmp_path, "http://127.0.0.1:9/v1")
    (folder / "prompt.yaml").write_text("user: '{{ city }}'\nvariables: {city: {}}\n")
    project = load(folder / "sluice.yaml")
    with pytest.raises(DataError, match="no such variable"):
        validate_project_data(project, folder, load_task(project, folder))


def test_an_item_that_cannot_be_asked_is_named_before_anything_is(tmp_path: Path) -> None:
    folder = written(tmp_path, "http://127.0.0.1:9/v1")
    with (folder / "golden.jsonl").open("a") as f:
        f.write('\n{"country": "' + "x" * 21_000 + '", "answer": "y"}\n')
    project = load(folder / "sluice.yaml")
    with pytest.raises(DataError, match="20,000 are allowed") as e:
        validate_project_data(project, folder, load_task(project, folder))
    assert "item 22" in str(e.value)
