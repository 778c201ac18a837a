"""`sluice init --data FILE --task forecast`: where the times are numbers, in several columns, or nowhere; and rows that are named or numbered."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from sluice.cli import main


def write(folder: Path, header: str, rows: list[str]) -> Path:
    (folder / "rows.csv").write_text("\n".join([header, *rows]) + "\n")
    return folder / "rows.csv"


def init(path: Path, *more: str) -> tuple[int, Path]:
    return main(["init", str(path.parent / "mine"), "--data", str(path), *more]), path.parent / "mine" / "sluice.yaml"


@pytest.mark.parametrize(
    ("name", "at"),
    [("time", "{i}"), ("Time", "{i}.0"), ("t", "{half}"), ("period", "{twice}")],
)
def test_whole_numbers_called_as_times_count_them(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, at: str) -> None:
    rows = [f"{at.format(i=i + 1, half=i + 500, twice=2 * i)},{i % 7}.5,{i % 5}.25" for i in range(120)]
    code, made = init(write(tmp_path, f"{name},value,rain", rows), "--task", "forecast")
    assert code == 0, capsys.readouterr().err
    assert f"time: {name}" in made.read_text()
    assert f"{name!r} is taken for the time" in capsys.readouterr().out


def test_days_as_six_digits_count_no_times(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [f"{80 + i // 336:02d}{i // 28 % 12 + 1:02d}{i % 28 + 1:02d},{i % 7}.5" for i in range(700)]
    assert init(write(tmp_path, "date,value", rows), "--task", "forecast")[0] == 2
    assert "--set model.time=NAME" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("header", "cells", "what"),
    [
        ("time,value", "{month:.4f},{y}", "years with a fraction"),
        ("time,value", "{quarter},{y}", "years with a fraction"),
        ("Year,Month,value", "{year},{m},{y}", "make one column of both"),
        ("year,qtr,value", "{quarters},{q},{y}", "make one column of both"),
        ("gdp,value", "{y},{z}", "number them"),
    ],
)
def test_the_command_that_makes_times_is_told_and_works(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], header: str, cells: str, what: str
) -> None:
    rows = [
        cells.format(
            month=1950 + i / 12, quarter=1950 + i / 4, year=1950 + i // 12, m=i % 12 + 1, quarters=1950 + i // 4, q=i % 4 + 1,
            y=f"{i % 12 * 3 + i % 5}.5", z=f"{i % 7 * 2 + i % 3}.25",
        )
        for i in range(240)
    ]  # fmt: skip
    path = write(tmp_path, header, rows)
    assert init(path, "--task", "forecast", "--label", "value")[0] == 2
    err = capsys.readouterr().err
    command = re.search(r'python3 -c "(.*)"\nthen: --data dated.csv --task forecast', err)
    assert what in err and command is not None, err
    subprocess.run([sys.executable, "-c", command[1]], cwd=tmp_path, check=True, env={**os.environ})
    assert init(tmp_path / "dated.csv", "--task", "forecast", "--label", "value")[0] == 0, capsys.readouterr().err
    if "fraction" in what:
        assert "1950-04-01" in (tmp_path / "dated.csv").read_text()


@pytest.mark.parametrize("form", ["csv", "jsonl", "array", "parquet"])
@pytest.mark.parametrize("kind", ["labels", "years"])
def test_the_command_opens_every_form_of_file(tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str, form: str) -> None:
    table = pd.DataFrame({"time": [1950 + i / 12 for i in range(144)], "value": [i % 12 * 3 + i % 5 + 0.5 for i in range(144)]})
    if kind == "labels":
        table = pd.DataFrame({"size": [i / 7 for i in range(60)], **{c: [int("abc"[i % 3] == c) for i in range(60)] for c in "abc"}})
    path = tmp_path / f"rows.{'json' if form == 'array' else form}"
    {
        "csv": lambda: table.to_csv(path, index=False),
        "jsonl": lambda: table.to_json(path, orient="records", lines=True),
        "array": lambda: table.to_json(path, orient="records"),
        "parquet": lambda: table.to_parquet(path),
    }[form]()
    assert init(path, *(["--task", "forecast"] if kind == "years" else []))[0] == 2
    command = re.search(r'python3 -c "(.*)"\nthen: --data (\S+) (.*)', capsys.readouterr().err)
    assert command is not None
    subprocess.run([sys.executable, "-c", command[1]], cwd=tmp_path, check=True, env={**os.environ})
    assert init(tmp_path / command[2], *command[3].split())[0] == 0, capsys.readouterr().err


def test_months_behind_their_year_are_times(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
    rows = [f"{1950 + i // 12} {names[i % 12]},{i % 12 * 3 + i % 5}.5" for i in range(144)]
    assert init(write(tmp_path, "Month,value", rows), "--task", "forecast")[0] == 0
    assert "times of a month" in capsys.readouterr().out


def test_a_table_that_says_when_is_told_of_forecasts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [f"{1950 + i / 12:.4f},{i % 12 * 3}.5,{i % 5}.5" for i in range(144)]
    assert init(write(tmp_path, "time,gas,oil", rows))[0] == 2
    assert "to forecast what comes after the last 'time': --task forecast" in capsys.readouterr().err
    rows = [f"{i * 37 % 900 + 3},{i % 12 * 3}.5,{i % 5}.5" for i in range(144)]
    assert init(write(tmp_path, "time,gas,oil", rows))[0] == 2
    assert "to forecast" not in capsys.readouterr().err


def test_a_table_of_one_series_by_years_with_a_fraction_says_that_its_rows_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, "time,gas", [f"{1950 + i / 12:.4f},{i + i % 12 * 3}.5" for i in range(240)])
    assert init(path, "--label", "gas")[0] == 0
    out = capsys.readouterr().out
    assert "the label goes on from row to row by 'time'" in out and "--task forecast" in out


def test_a_file_of_one_column_of_numbers_may_be_a_series(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "rows.jsonl").write_text("".join(f'{{"value": {i % 7}.5}}\n' for i in range(60)))
    assert init(tmp_path / "rows.jsonl")[0] == 2
    err = capsys.readouterr().err
    assert "number them" in err and "read_json" in err and "commas" not in err


@pytest.mark.parametrize(("name", "rows"), [("rownames", 12), ("row_id", 12), ("id", 40), ("orderId", 40)])
def test_numbers_that_tell_rows_apart_are_neither_learnt_nor_asked_about(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, rows: int
) -> None:
    path = write(tmp_path, f"{name},size,weight", [f"{i * 7 % 97 + 1000},{i}.5,{i * 2 + i % 3}.25" for i in range(rows)])
    code, _ = init(path)
    assert code == 2 and not re.search(rf"\b{name}\b", capsys.readouterr().err)
    code, made = init(path, "--label", "weight")
    assert code == 0 and f"- {name} " in made.read_text()


def test_a_column_of_another_number_in_each_row_that_is_called_as_none_stays(tmp_path: Path) -> None:
    path = write(tmp_path, "size,id,weight", [f"{i * 7 % 97 + 1000},{i % 5},{i * 2 + i % 3}.25" for i in range(40)])
    code, made = init(path, "--label", "weight")
    assert code == 0 and "ignore" not in made.read_text()


@pytest.mark.parametrize("last", ["sex", "country", "id", "Treatment"])
def test_what_is_known_of_a_row_beforehand_is_not_guessed_to_be_the_label(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], last: str
) -> None:
    path = write(tmp_path, f"bought,paid,{last}", [f"{'yn'[i % 3 > 0]},{i % 17}.5,{'ab'[i % 2]}" for i in range(80)])
    assert init(path)[0] == 2
    assert "--label bought" in capsys.readouterr().err


def test_whole_numbers_of_which_hardly_one_comes_twice_are_a_quantity(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, "size,hours", [f"{i}.5,{i * i + 3}" for i in range(18)])
    code, made = init(path, "--label", "hours")
    assert code == 0, capsys.readouterr().err
    assert "objective: regression" in made.read_text() and "learns a quantity" in made.read_text()
    (tmp_path / "mine" / "sluice.yaml").unlink()
    path = write(tmp_path, "size,visits", [f"{i % 29}.5,{i % 8}" for i in range(200)])
    assert init(path, "--label", "visits")[0] == 0
    assert "--set model.objective=regression" in capsys.readouterr().out


def test_na_among_a_labels_numbers_is_no_class(tmp_path: Path) -> None:
    path = write(tmp_path, "size,value", [f"{i % 37}.5,{'NA' if i % 10 == 3 else f'{i * 7 % 61}.0'}" for i in range(200)])
    code, made = init(path, "--label", "value")
    assert code == 0 and "learns a quantity" in made.read_text()
