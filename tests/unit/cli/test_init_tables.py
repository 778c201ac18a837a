"""`sluice init --data` of folders of tables, of globs, and of files in forms that are not read."""

from __future__ import annotations

import gzip
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sluice.cli import main
from sluice.project import load


def frame(seed: int = 0, rows: int = 120) -> pd.DataFrame:
    r = np.random.default_rng(seed)
    made = pd.DataFrame({"age": r.integers(18, 80, rows), "x": r.normal(size=rows).round(4)})
    return made.assign(label=np.where(made.x + r.normal(size=rows) / 3 > 0, "yes", "no"))


def said(capsys: pytest.CaptureFixture[str], folder: Path, data: str, *more: str) -> tuple[int, str]:
    code = main(["init", str(folder / "p"), "--data", data, *more])
    got = capsys.readouterr()
    return code, got.out + got.err


@pytest.mark.parametrize("names", [("train.csv", "test.csv"), ("Train.csv.gz", "valid.csv.gz")])
def test_files_that_divide_the_rows_are_taken_so(tmp_path: Path, capsys: pytest.CaptureFixture[str], names: tuple[str, str]) -> None:
    (tmp_path / "set").mkdir()
    for seed, name in enumerate(names):
        frame(seed).to_csv(tmp_path / "set" / name, index=False)
    code, text = said(capsys, tmp_path, str(tmp_path / "set"))
    assert code == 0 and f"rows are held out as the files say: {names[1]} (data.test)" in text
    data = load(tmp_path / "p" / "sluice.yaml").data
    assert (data.source, data.test) == (f"../set/{names[0]}", f"../set/{names[1]}")
    assert main(["data", "check", str(tmp_path / "p" / "sluice.yaml")]) == 0


def test_rows_to_be_told_are_not_held_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "set").mkdir()
    frame().to_csv(tmp_path / "set" / "train.csv", index=False)
    frame(1).drop(columns="label").to_csv(tmp_path / "set" / "test.csv", index=False)
    frame()[["age"]].to_csv(tmp_path / "set" / "sample_submission.csv", index=False)
    code, text = said(capsys, tmp_path, str(tmp_path / "set"))
    assert code == 0 and "not read: test.csv, which lacks label: it is what is asked (sluice predict)" in text
    assert load(tmp_path / "p" / "sluice.yaml").data.test is None


def test_parts_in_a_folder_are_one_table_and_so_is_a_glob(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "set").mkdir()
    for k in range(3):
        frame(k).to_parquet(tmp_path / "set" / f"part-0000{k}-0f1e2d3c4b5a6978{k}.snappy.parquet")
    (tmp_path / "set" / "_SUCCESS").touch()
    for data in (str(tmp_path / "set"), str(tmp_path / "set" / "part-*.parquet")):
        code, text = said(capsys, tmp_path, data)
        assert code == 0 and "360 rows" in text and "3 files" in text
        assert (
            load(tmp_path / "p" / "sluice.yaml").data.source.startswith("../set/")
            and "*" in load(tmp_path / "p" / "sluice.yaml").data.source
        )
        assert main(["data", "check", str(tmp_path / "p" / "sluice.yaml")]) == 0
        (tmp_path / "p" / "sluice.yaml").unlink()
    assert said(capsys, tmp_path, str(tmp_path / "set" / "*.csv"))[0] == 2


def test_packed_parts_are_found_by_their_whole_ending(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "set").mkdir()
    for k in range(2):
        (tmp_path / "set" / f"2024.0{k}.csv.gz").write_bytes(gzip.compress(frame(k).to_csv(index=False).encode()))
    assert said(capsys, tmp_path, str(tmp_path / "set"))[0] == 0
    assert load(tmp_path / "p" / "sluice.yaml").data.source == "../set/*.csv.gz"


def test_several_tables_are_named_and_a_divided_one_is_put_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "set").mkdir()
    for name in ("customers", "orders"):
        frame().to_csv(tmp_path / "set" / f"{name}.csv", index=False)
    code, text = said(capsys, tmp_path, str(tmp_path / "set"))
    assert code == 2 and "is a folder of several tables" in text and "set/customers.csv" in text
    for year in (2020, 2021):
        (tmp_path / "hive" / f"year={year}").mkdir(parents=True)
        frame(year).to_parquet(tmp_path / "hive" / f"year={year}" / "a.parquet")
    code, text = said(capsys, tmp_path, str(tmp_path / "hive"))
    assert code == 2 and "is a table divided by year" in text
    command = re.search(r'python3 -c "(.*)"', text)
    assert command is not None
    subprocess.run([sys.executable, "-c", command[1]], cwd=tmp_path, check=True)
    assert set(pd.read_parquet(tmp_path / "rows.parquet").columns) == {"age", "x", "label", "year"}


def _sqlite(path: Path) -> None:
    with sqlite3.connect(path) as database:
        frame().to_sql("people", database, index=False)
    database.close()


def _npz(path: Path) -> None:
    made = frame()
    np.savez(path, x=made[["age", "x"]].to_numpy(), y=made.label.to_numpy().astype(str))


def _svm(path: Path) -> None:
    path.write_text("".join(f"{int(r.label == 'yes')} 1:{r.age} 2:{r.x}\n" for r in frame().itertuples()))


def _arff(path: Path) -> None:
    rows = "".join(f"{r.age},{r.x},{r.label}\n" for r in frame().itertuples())
    path.write_text(f"% made\n@RELATION r\n@attribute age numeric\n@attribute x numeric\n@attribute label {{yes,no}}\n@data\n{rows}")


FORMS: dict[str, Callable[[Path], None]] = {
    "d.feather": lambda p: frame().to_feather(p),
    "d.orc": lambda p: frame().to_orc(p),
    "d.pkl": lambda p: frame().to_pickle(p),
    "d.dta": lambda p: frame().to_stata(p, write_index=False),
    "d.sqlite": _sqlite,
    "d.npz": _npz,
    "d.svm": _svm,
    "d.txt": _svm,
    "d.arff": _arff,
}


@pytest.mark.parametrize("name", FORMS)
def test_a_form_that_is_not_read_is_named_with_the_command_that_writes_it_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    FORMS[name](tmp_path / name)
    code, text = said(capsys, tmp_path, name)
    command = re.search(r'python3 -c "(.*)"\nthen: (.*)', text)
    assert code == 2 and text.startswith(f"sluice: {name}: is a") and command is not None
    subprocess.run([sys.executable, "-c", command[1]], cwd=tmp_path, check=True)
    assert said(capsys, tmp_path, command[2], "--label", "label")[0] == 0
    (tmp_path / "hand.yaml").write_text(f"name: d\ntask: tabular\ndata: {{source: {name}}}\n")
    if name != "d.txt":
        assert main(["data", "check", "hand.yaml"]) == 2
        assert f"{name}: is a" in capsys.readouterr().err
