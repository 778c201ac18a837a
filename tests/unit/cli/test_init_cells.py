"""`sluice init --data` on cells as people write them: months, quarters, words for nothing, a header twice."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from sluice import project as projects
from sluice.cli import main
from sluice.data.prepare import validate_project_data
from sluice.tasks import load_task
from tests.unit.cli.test_init_data import COLOUR, LABELS, SIZE, N, init, table


@pytest.mark.parametrize("form", ["%b %Y", "%Y-%m", "%d-%b-%Y"])
def test_months_and_days_in_any_form_that_is_read_are_times_and_no_key(tmp_path: Path, form: str) -> None:
    days = [datetime.date(1990 + i // 12, 1 + i % 12, 1).strftime(form) for i in range(200)]
    made = init(tmp_path, table(tmp_path, {"when": days, "size": SIZE[:200], "label": LABELS[:200]}))
    assert "when" not in made.data.columns.ignore and (tmp_path / "p" / "sluice.yaml").read_text().count("column: when") == 1


def test_quarters_are_times(tmp_path: Path) -> None:
    quarters = [f"{1990 + i // 4}Q{1 + i % 4}" for i in range(120)]
    made = init(tmp_path, table(tmp_path, {"quarter": quarters, "size": SIZE[:120], "label": LABELS[:120]}))
    task = load_task(made, tmp_path / "p")
    report = validate_project_data(made, tmp_path / "p", task)
    assert any(c.name == "times" and "from 1990-01-01T00:00:00 to 2019-10-01T00:00:00" in c.message for c in report.checks)


def test_a_quantity_with_words_where_it_is_missing_stays_one(tmp_path: Path) -> None:
    price = [("missing", "unknown", "n.a.", "-")[i % 4] if i % 9 == 0 else f"${1000 + i * 37:,}" for i in range(N)]
    made = init(tmp_path, table(tmp_path, {"size": SIZE, "colour": COLOUR, "price": price}, separator=";"), "--label", "price")
    report = validate_project_data(made, tmp_path / "p", load_task(made, tmp_path / "p"))
    assert report.objective == "regression" and not made.data.columns.categorical


def test_a_header_that_stands_in_the_file_again_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = table(tmp_path, {"size": [*SIZE[:90], "size", *SIZE[90:]], "colour": [*COLOUR[:90], "colour", *COLOUR[90:]]})
    assert main(["init", str(tmp_path / "p"), "--data", str(data), "--label", "colour"]) == 2
    told = capsys.readouterr().err
    assert "repeats the columns' names" in told and "row 91" in told and "'size'" in told and "remove the line" in told


def test_a_column_of_years_is_the_time_of_a_forecast_and_not_its_label(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = table(tmp_path, {"year": list(range(1821, 1935)), "lynx": [round(abs(v) * 100) for v in SIZE[:114]]})
    assert main(["init", str(tmp_path / "p"), "--data", str(data), "--task", "forecast"]) == 0
    made = projects.load(tmp_path / "p" / "sluice.yaml")
    assert (made.data.columns.label, made.model.time) == ("lynx", "year")
    assert "'year' is taken for the time, a year each (model.time)" in capsys.readouterr().out


def test_a_quantity_called_as_labels_are_is_no_label_of_anomalies(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = table(tmp_path, {"size": SIZE[:80], "weight": [round(v * 2.5, 2) for v in SIZE[80:160]], "y": SIZE[160:240]})
    assert main(["init", str(tmp_path / "p"), "--data", str(data), "--task", "anomaly"]) == 0
    assert "no labels" in capsys.readouterr().out


def test_labels_in_several_spellings_are_no_classes_of_their_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    label = [("Yes", "yes", "YES")[i % 3] if v == "a" else ("No", " No")[i % 2] for i, v in enumerate(LABELS)]
    data = table(tmp_path, {"size": SIZE, "age": SIZE[::-1], "churn": label})
    assert main(["init", str(tmp_path / "p"), "--data", str(data), "--label", "churn"]) == 2
    told = capsys.readouterr().err
    assert "label churn" in told and "' No' = 'No'" in told and "write each the same way" in told
    assert not (tmp_path / "p").exists()
