"""`sluice init --data` holds out whole persons, and says where rows by chance are told by their neighbours in time."""

from __future__ import annotations

import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pytest

from sluice import project as projects
from sluice.cli import main
from sluice.commands.dividing import names_whom

R = np.random.default_rng(3)
DAYS = [datetime.date(2021, 1, 1) + datetime.timedelta(d) for d in range(240)]
WALK = np.cumsum(R.normal(size=240)).round(3)
NOISE = R.normal(size=240).round(3)


def init(folder: Path, columns: dict[str, list], label: str) -> tuple[projects.Project, str]:
    pa_csv.write_csv(pa.table(columns), folder / "d.csv")
    assert main(["init", str(folder / "p"), "--data", str(folder / "d.csv"), "--label", label]) == 0
    return projects.load(folder / "p" / "sluice.yaml"), (folder / "p" / "sluice.yaml").read_text()


@pytest.mark.parametrize("patients", [[f"P{i // 6:02}" for i in range(240)], [i // 6 for i in range(240)]])
def test_rows_of_one_patient_stay_on_one_side_and_the_patient_is_no_feature(tmp_path, patients, capsys):
    columns = {"patient_id": patients, "dose": NOISE.tolist(), "outcome": R.choice(["well", "ill"], 240).tolist()}
    made, text = init(tmp_path, columns, "outcome")
    assert (made.data.split.by, made.data.split.column) == ("group", "patient_id")
    assert made.data.columns.ignore == ["patient_id"] and "names whom a row is of" in text
    assert "whole groups are held out by 'patient_id', of which there are 40 in 240 rows" in capsys.readouterr().out


def test_a_patient_who_has_one_outcome_alone_is_a_group_and_no_leak(tmp_path):
    made, text = init(
        tmp_path,
        {"patient": [i // 6 for i in range(240)], "dose": NOISE.tolist(), "outcome": ["ill" if i // 6 % 3 else "well" for i in range(240)]},
        "outcome",
    )
    assert made.data.split.by == "group" and "gives the label away" not in text


@pytest.mark.parametrize(
    ("name", "whom"),
    [
        ("patient", True),
        ("PatientID", True),
        ("subject no", True),
        ("id", True),
        ("rat_id", True),
        ("rat", False),
        ("patients", False),
        ("product_id", False),
        ("id_type", False),
        ("patient_age", False),
    ],
)
def test_a_name_says_whom_a_row_is_of_or_does_not(name, whom):
    assert names_whom(name) is whom


def test_a_person_a_row_needs_no_groups(tmp_path):
    made, _ = init(tmp_path, {"user": [i * 7 % 240 for i in range(240)], "x": NOISE.tolist(), "y": WALK.tolist()}, "y")
    assert made.data.split.by == "hash"


@pytest.mark.parametrize("name", ["day", "year"])
def test_a_label_that_goes_on_in_time_is_told_with_the_split_that_judges_by_it(tmp_path, name, capsys):
    at = DAYS if name == "day" else list(range(1760, 2000))
    order = R.permutation(240)  # the file need not be in order
    made, text = init(tmp_path, {name: [at[i] for i in order], "x": NOISE.tolist(), "level": WALK[order].tolist()}, "level")
    assert made.data.split.by == "hash"
    out = capsys.readouterr().out
    assert f"the label goes on from row to row by '{name}'" in out and f"data.split: {{by: time, column: {name}}}" in out
    assert ("# split: {by: time, column: day}" in text) is (name == "day")


def test_a_class_that_goes_on_in_time_too(tmp_path, capsys):
    init(tmp_path, {"day": DAYS, "x": NOISE.tolist(), "state": ["up" if i // 30 % 2 else "down" for i in range(240)]}, "state")
    assert "the label goes on from row to row by 'day'" in capsys.readouterr().out


@pytest.mark.parametrize("label", [NOISE.tolist(), R.choice(["a", "b"], 240).tolist()])
def test_of_a_label_that_is_another_each_day_nothing_is_said_and_the_other_way_is_written_beside_it(tmp_path, label, capsys):
    made, text = init(tmp_path, {"day": DAYS, "x": WALK.tolist(), "told": label}, "told")
    assert made.data.split.by == "hash" and "# split: {by: time, column: day}" in text
    assert "goes on" not in capsys.readouterr().out


def test_groups_that_cannot_be_divided_are_given_up_and_that_is_said(tmp_path, capsys):
    rare = ["rare" if i < 6 else "common" for i in range(240)]  # one patient has them all
    made, _ = init(tmp_path, {"patient": [i // 6 for i in range(240)], "x": NOISE.tolist(), "kind": rare}, "kind")
    out = capsys.readouterr().out
    assert made.data.split.by == "group" or "rows are not split by group, as 'patient' would have it" in out
