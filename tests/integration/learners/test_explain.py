"""`sluice explain`: contributions that add up to the answer, and name the columns that made it; bad input told."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sluice.cli import main
from sluice.core.errors import InputError, ProjectError
from sluice.data.prepare import prepare
from sluice.engines.predictor import Predictor
from sluice.formats.export import export_package
from sluice.learners.base import Job
from sluice.package import package as packages
from sluice.prediction.explain import Explainer
from sluice.project import parse
from sluice.tasks import load_task
from tests.integration.serving.server import eventually, serving


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two packages of one table: ``two`` of labels, ``value`` of a quantity, and the table."""
    base = tmp_path_factory.mktemp("explain")
    rng = random.Random(4)
    for label, model in (("two", {"estimator": "logistic_regression"}), ("value", {"estimator": "xgboost", "n_estimators": 60})):
        lines = ["x,z,city,since,answer"]
        for i in range(400):
            x, z, city = rng.gauss(5, 1), rng.random(), rng.choice(["Rome", "Oslo", "Lima"])
            score = 2 * (x - 5) + 3 * (city == "Oslo") - 1 + rng.gauss(0, 0.3)
            told = f"{score:.3f}" if label == "value" else ("no", "yes")[score > 0]
            lines.append(f"{'' if i % 20 == 0 else f'{x:.3f}'},{z:.3f},{city},2024-0{rng.randint(1, 9)}-11T08:00:00,{told}")
        (base / f"{label}.csv").write_text("\n".join(lines) + "\n")
        data = {"source": f"{label}.csv", "columns": {"label": "answer"}}
        project = parse({"name": "t", "task": "tabular", "data": data, "model": model}, base_dir=base)
        task = load_task(project, base)
        dataset = prepare(project, base, task, base / f"{label}-data")
        task.learner().fit(Job(dataset, base / f"{label}-model"))
        assert export_package(project, base / f"{label}-model", dataset, base / label, base_dir=base).decision == "pass"
    return base


def explainer(made: Path, name: str) -> Explainer:
    return Explainer(Predictor(packages.read(made / name)))


ROW: dict[str, Any] = {"x": 6.5, "z": 0.4, "city": "Rome", "since": "2024-03-11T08:00:00"}


@pytest.mark.parametrize("name", ["two", "value"])
@pytest.mark.parametrize("row", [ROW, {"x": None, "z": 0.1, "city": "Nowhere"}, {}])
def test_contributions_add_up_to_the_answer_less_the_base(name: str, row: dict[str, Any], made: Path) -> None:
    told = explainer(made, name)
    found = told.explain(row)
    parts = found["contributions"]
    assert sorted(p["column"] for p in parts) == ["city", "since", "x", "z"]
    assert found["base"] + sum(p["contribution"] for p in parts) == pytest.approx(found["value"], abs=1e-9)
    assert abs(found["residual"]) < 1e-9
    served = told.predictor.predict([row])
    assert found["value"] == pytest.approx(float(served[0] if name == "value" else served[0].max()), abs=1e-5)
    assert all(p["low"] <= p["contribution"] <= p["high"] for p in parts)
    assert told.explain(row) == found  # nothing of chance in it


def test_what_made_the_answer_stands_first_and_of_two_labels_one_is_the_other_turned(made: Path) -> None:
    told = explainer(made, "value").explain(ROW)["contributions"]
    by = {p["column"]: p for p in told}
    assert told[0]["column"] == "x" and by["x"]["value"] == 6.5
    # 2 (6.5 - 5), and 3 times the third of the cities that is Oslo.
    assert by["x"]["contribution"] == pytest.approx(3, abs=0.8) and by["city"]["contribution"] == pytest.approx(-1, abs=0.6)
    assert abs(by["z"]["contribution"]) < 0.3
    yes, no = (explainer(made, "two").explain(ROW, label) for label in ("yes", "no"))
    assert yes["base"] + no["base"] == pytest.approx(1, abs=1e-6) and yes["answer"] == no["answer"] == "yes"
    turned = {p["column"]: -p["contribution"] for p in no["contributions"]}
    assert {p["column"]: p["contribution"] for p in yes["contributions"]} == pytest.approx(turned, abs=1e-6)


def test_drawn_rows_are_as_the_training_rows(made: Path) -> None:
    drawn = explainer(made, "value")._background
    x = drawn["x"][:, 0]
    assert np.nanmean(x) == pytest.approx(5, abs=0.7) and np.nanmin(x) > 0 and np.nanmax(x) < 10
    assert set(drawn["city"][:, 0]) == {"Rome", "Oslo", "Lima"}


def test_what_cannot_be_used_is_told(made: Path) -> None:
    with pytest.raises(ProjectError, match="is no label") as e:
        explainer(made, "two").explain(ROW, "maybe")
    assert e.value.value == "maybe" and "yes" in (e.value.fix or "")
    with pytest.raises(ProjectError, match="is no label"):
        explainer(made, "value").explain(ROW, "yes")
    with pytest.raises(InputError, match="is not a number"):
        explainer(made, "two").explain({"x": "much"})


def test_the_command_explains_rows_of_a_file(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = [str(made / "two"), str(made / "two.csv")]
    assert main(["explain", *where, "--row", "3", "--row", "7", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [e["row"] for e in told["explanations"]] == [3, 7] and told["explanations"][0]["place"] == "4"
    for e in told["explanations"]:
        assert e["base"] + sum(p["contribution"] for p in e["contributions"]) == pytest.approx(e["value"], abs=1e-9)
    assert main(["explain", *where, "--limit", "2", "--label", "no"]) == 0
    out = capsys.readouterr().out
    assert out.count("against") == 2 and "row 1 (line 2): no " in out and "±" in out


@pytest.mark.parametrize(
    ("more", "said"),
    [(["--row", "9999"], "has no such row"), (["--label", "maybe"], "is no label"), (["--row", "0"], "whole number above 0")],
)
def test_the_command_says_what_is_wrong(more: list[str], said: str, made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        status = main(["explain", str(made / "two"), str(made / "two.csv"), *more])
    except SystemExit as e:
        status = int(str(e.code))
    assert status == 2 and said in capsys.readouterr().err


def test_a_cell_that_cannot_be_used_is_named_by_its_line(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "new.csv").write_text("x,z,city,since\n1,2,Rome,2024-01-11\n1,2,Rome,soon\n")
    assert main(["explain", str(made / "value"), str(tmp_path / "new.csv"), "--row", "1", "--json"]) == 0
    capsys.readouterr()
    assert main(["explain", str(made / "value"), str(tmp_path / "new.csv")]) == 2
    said = capsys.readouterr().err
    assert "new.csv:3: since" in said and "is not a time" in said and "fix" in said


def test_a_server_explains_the_same_and_its_series_of_requests_do_not_count_it(made: Path, tmp_path: Path) -> None:
    with serving(tmp_path / "log", made / "two") as server:
        row = {"x": 6.5, "z": 0.4, "city": "Rome", "since": "2024-03-11T08:00:00"}
        told = server.post("/v1/models/t:explain", {"instances": [row, {}], "label": "no"})
        own = explainer(made, "two")
        for found, sent in zip(told["explanations"], [row, {}], strict=True):
            assert found == json.loads(json.dumps(own.explain(sent, "no")))
        for body, code, said in (
            # each says what to send
            ({"instances": [row], "label": "maybe"}, 400, "is no label"),
            ({"instances": [row, {"x": "much"}]}, 400, "rows[1].x"),
            ({"instances": [row] * 9}, 413, "more than 8"),
            ({"instances": []}, 400, "at least one row"),
        ):
            status, _, answer = server.request("POST", "/v1/models/t:explain", body)
            assert (status, said in json.loads(answer)["error"]) == (code, True), answer
        assert server.request("POST", "/v1/models/nobody:explain", {"instances": [row]})[0] == 404
        assert server.predict("t", row)[0]["label"] == "yes"
        eventually(lambda: server.metric("sluice_inference_requests_total") > 0)  # counted once the answer is sent
        assert server.metric("sluice_inference_requests_total") == 1
