"""`sluice init --data` of rows with several labels, with tags, with transcripts, of series, and of folders as people have them."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from PIL import Image

from sluice.cli import main
from sluice.data import labelsets
from sluice.project import load

TOPICS = ("sport", "money", "food", "travel")
R = random.Random(4)
SETS = [[t for t in TOPICS if R.random() < 0.4] for _ in range(160)]


def init(folder: Path, data: Path, task: str, *more: str) -> tuple[int, Path]:
    return main(["init", str(folder / "mine"), "--data", str(data), "--task", task, *more]), folder / "mine" / "sluice.yaml"


def texts(path: Path, cells: list[str]) -> Path:
    lines = [f'"a text of some words number {i} {" ".join(SETS[i])}","{cell}"' for i, cell in enumerate(cells)]
    path.write_text("\n".join(["text,topics", *lines]) + "\n")
    return path


@pytest.mark.parametrize(
    ("cells", "between"),
    [
        (["|".join(s) for s in SETS], "|"),
        (["; ".join(s) for s in SETS], ";"),
        ([", ".join(s) for s in SETS], ","),
        ([" ".join(s) for s in SETS], " "),
        ([json.dumps(s).replace('"', '""') for s in SETS], None),
        ([str(s) for s in SETS], None),
    ],
    ids=["pipe", "semicolon", "comma", "space", "JSON", "Python"],
)
def test_several_labels_in_a_cell_are_not_taken_for_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], cells: list[str], between: str | None
) -> None:
    status, project = init(tmp_path, texts(tmp_path / "rows.csv", cells), "text", "--label", "topics")
    said = capsys.readouterr()
    assert status == 0, said.err
    raw = yaml.safe_load(project.read_text())
    assert raw["data"]["columns"].get("label_separator") == between
    assert "any of several labels" in project.read_text()


@pytest.mark.parametrize(
    "cells",
    [
        ["Oslo, Norway", "Rome, Italy", "Lima, Peru", "Kyoto, Japan"] * 9,
        ["male, young", "male, old", "female, young", "female, old"] * 9,
        ["book flight", "cancel flight", "book hotel", "greet"] * 9,
        ["a", "b", "c"] * 9,
        ["New York", "York", "New Haven", "Boston"] * 9,
    ],
    ids=["places", "two properties", "intents", "plain", "names of two words"],
)
def test_names_of_several_parts_are_one_label_each(cells: list[str]) -> None:
    assert labelsets.separator(cells) is None


def spans(i: int) -> tuple[str, list[tuple[int, int, str]]]:
    name, place = R.choice(("Anna Berg", "Otto Lind")), R.choice(("Oslo", "Rome", "Lima"))
    text = f"{name} went to {place} {i} times."
    return text, [(0, len(name), "person"), (text.index(place), text.index(place) + len(place), "place")]


def test_spans_and_lists_of_tags_in_json_lines_are_read_as_they_are_exported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [spans(i) for i in range(80)]
    (tmp_path / "a.jsonl").write_text(
        "\n".join(json.dumps({"text": t, "entities": [{"start": a, "end": b, "label": w} for a, b, w in s]}) for t, s in rows)
    )
    (tmp_path / "b.jsonl").write_text("\n".join(json.dumps({"text": t, "label": json.dumps(s)}) for t, s in rows))
    tags = ["B-person", "I-person", "O", "O", "B-place", "O", "O"]
    (tmp_path / "c.jsonl").write_text("\n".join(json.dumps({"tokens": t.split(), "ner_tags": tags}) for t, _ in rows))
    for name, text, label in (("a", "text", "entities"), ("b", "text", "label"), ("c", "tokens", "ner_tags")):
        (tmp_path / name).mkdir()
        status, project = init(tmp_path / name, tmp_path / f"{name}.jsonl", "tagging")
        assert status == 0, capsys.readouterr().err
        wanted = yaml.safe_load(project.read_text())["data"]["columns"]
        assert (wanted["text"], wanted["label"]) == (text, label)


def test_a_list_of_numbers_and_texts_says_how_to_write_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps({"text": t, "label": s}) for t, s in map(spans, range(80))))
    assert init(tmp_path, tmp_path / "a.jsonl", "tagging")[0] == 2
    err = capsys.readouterr().err
    assert "a.jsonl:1: label: is a list of numbers and texts" in err and "json.dumps(row['label'])" in err


def test_series_in_columns_say_how_to_make_rows_of_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    months = [f"{y}-{m:02d}" for y in (2019, 2020) for m in range(1, 13)]
    rows = [f"s{i}," + ",".join(str(i + m) for m in range(24)) for i in range(30)]
    (tmp_path / "wide.csv").write_text("\n".join([",".join(["shop", *months]), *rows]) + "\n")
    assert init(tmp_path, tmp_path / "wide.csv", "forecast")[0] == 2
    err = capsys.readouterr().err
    assert "a column a time (2019-01 to 2020-12)" in err and "pandas.melt(table, id_vars='shop'" in err


def test_what_says_when_or_is_a_flag_is_not_what_is_forecast(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [f"20{i // 12 + 10}-{i % 12 + 1:02d}-01,{i % 12 + 1},{i % 5 == 0:d},{100 + i % 12 * 7 + i * 3 % 5}" for i in range(96)]
    (tmp_path / "rows.csv").write_text("\n".join(["day,month,promo,units", *rows]) + "\n")
    status, project = init(tmp_path, tmp_path / "rows.csv", "forecast")
    assert status == 0, capsys.readouterr().err
    assert yaml.safe_load(project.read_text())["data"]["columns"]["label"] == "units"


@pytest.mark.parametrize(("part", "most"), [("quarter", 4), ("Month", 12)])
def test_years_with_a_part_of_one_beside_them_are_not_series_of_years(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], part: str, most: int
) -> None:
    rows = [f"{1990 + i // most},{i % most + 1},{100 + i % most * 7 + i}.5" for i in range(30 * most)]
    (tmp_path / "rows.csv").write_text("\n".join([f"year,{part},gdp", *rows]) + "\n")
    assert init(tmp_path, tmp_path / "rows.csv", "forecast")[0] == 2
    err = capsys.readouterr().err
    assert f"holds years, and '{part}' beside it says when in the year" in err and "d.insert(0, 'when'" in err


def test_years_with_a_fraction_say_which_days_to_write(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [f"{1949 + i / 12:.9g},{100 + i % 12 * 7 + i}" for i in range(120)]
    (tmp_path / "rows.csv").write_text("\n".join(["time,value", *rows]) + "\n")
    assert init(tmp_path, tmp_path / "rows.csv", "forecast", "--set", "model.time=time")[0] == 2
    assert "years and months: write the first day of each, such as 1949-02-01 for 1949.08" in capsys.readouterr().err


def pictures(folder: Path, n: int = 24) -> None:
    folder.mkdir(parents=True)
    for i in range(n):
        Image.new("L", (8, 8), (40, 200)[i % 2] + R.randrange(30)).save(folder / f"{i}.png")


def test_a_list_in_a_folder_of_pictures_may_call_its_label_anything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pictures(tmp_path / "photos", 60)
    (tmp_path / "photos" / "labels.csv").write_text("file,breed\n" + "".join(f"{i}.png,{'ab'[i % 2]}\n" for i in range(60)))
    status, project = init(tmp_path, tmp_path / "photos", "image")
    assert status == 0, capsys.readouterr().err
    assert yaml.safe_load(project.read_text())["data"]["columns"]["label"] == "breed"


def test_what_a_machine_puts_beside_the_labels_folders_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b"):
        pictures(tmp_path / "photos" / name, 30)
    (tmp_path / "photos" / "__MACOSX" / "a").mkdir(parents=True)
    (tmp_path / "photos" / "__MACOSX" / "a" / "._1.png").write_bytes(b"\0\5\x16\7")
    assert init(tmp_path, tmp_path / "photos", "image")[0] == 0, capsys.readouterr().err


@pytest.mark.parametrize(("lies", "said"), [("images", "write images/0.png"), ("../images", "put the table into ")])
def test_files_that_lie_elsewhere_say_what_to_write(tmp_path: Path, capsys: pytest.CaptureFixture[str], lies: str, said: str) -> None:
    (tmp_path / "set" / "meta").mkdir(parents=True)
    pictures(tmp_path / "set" / "meta" / lies)
    listed = tmp_path / "set" / "meta" / "list.csv"
    listed.write_text("file,label\n" + "".join(f"{i}.png,{'ab'[i % 2]}\n" for i in range(24)))
    assert init(tmp_path, listed, "image")[0] == 2
    err = capsys.readouterr().err
    assert "names a file that is not there" in err and said in err and "images/0.png" in err


def test_a_folder_of_texts_or_of_another_format_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, task, ending in (("t", "text", ".txt"), ("s", "audio", ".mp3")):
        (tmp_path / name / "pos").mkdir(parents=True)
        (tmp_path / name / "pos" / f"1{ending}").write_bytes(b"words")
        assert init(tmp_path, tmp_path / name, task)[0] == 2
    err = capsys.readouterr().err
    assert "1 texts, a file each" in err and ".rglob('*.txt')" in err
    assert "a format that is not read (.mp3)" in err and "convert them to WAV or FLAC" in err


def test_the_column_of_transcripts_is_found_by_its_name(tmp_path: Path) -> None:
    from sluice.data.look import ColumnLook
    from sluice.tasks.transcribe import TranscribeTask

    found = [ColumnLook(n, "category", 9, 0.0, "x") for n in ("client_id", "path", "sentence")]
    assert TranscribeTask.label_in(found) == "sentence"


def test_a_label_told_in_a_column_each_is_said_with_what_makes_one_of_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One-hot labels, and several labels of a text; what the command writes can be begun from."""
    kinds = ("red", "green", "blue")
    one = ["width,height," + ",".join(kinds)]
    one += [f"{(i * 37) % 101},{(i * 53) % 89}," + ",".join(str(int(i % 3 == k)) for k in range(3)) for i in range(90)]
    several = ["body," + ",".join(kinds)]
    several += [f"a long text of number {i} with words," + ",".join(str(int(i % (k + 2) == 0)) for k in range(3)) for i in range(90)]
    for name, lines, task, told in (("one", one, "tabular", "one label"), ("several", several, "text", "several labels a row")):
        (tmp_path / f"{name}.csv").write_text("\n".join(lines) + "\n")
        assert main(["init", str(tmp_path / name), "--data", str(tmp_path / f"{name}.csv"), "--task", task]) == 2
        err = capsys.readouterr().err
        command = re.search(r'python3 -c "(.*)"\nthen', err)
        assert f"tell {told}" in err and command is not None, err
        subprocess.run([sys.executable, "-c", command[1]], cwd=tmp_path, check=True)
        made = ["--data", str(tmp_path / "labelled.csv"), "--label", "label"]
        assert main(["init", str(tmp_path / f"{name}2"), *made, "--task", task]) == 0, capsys.readouterr().err


def test_a_text_project_says_which_columns_are_not_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = ["title,review,votes,score"]
    lines += [
        f"title {i % 60},the meal number {i} was {'fine' if i % 2 else 'cold'} as ever,{i % 7},{'good' if i % 2 else 'bad'}"
        for i in range(120)
    ]
    (tmp_path / "d.csv").write_text("\n".join(lines) + "\n")
    assert main(["init", str(tmp_path / "p"), "--data", str(tmp_path / "d.csv"), "--task", "text", "--label", "score"]) == 0
    for said in (capsys.readouterr().out, (tmp_path / "p" / "sluice.yaml").read_text()):
        assert "read are 'review' and 'score' alone; not read: title and votes" in said or "not read: title, votes" in said


def test_objects_in_rows_are_told_how_to_become_columns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        {"who": {"age": 20 + i % 50, "city": "ab"[i % 2]}, "use": {"day": (i * 37) % 101}, "churn": "yes" if i % 3 else "no"}
        for i in range(120)
    ]
    (tmp_path / "d.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    code, _ = init(tmp_path, tmp_path / "d.jsonl", "tabular", "--label", "churn")
    err = capsys.readouterr().err
    command = re.search(r'python3 -c "(.*)"\nthen', err)
    assert code == 2 and "who (holds objects" in err and command is not None, err
    subprocess.run([sys.executable, "-c", command[1]], cwd=tmp_path, check=True)
    code, project = init(tmp_path, tmp_path / "flat.jsonl", "tabular", "--label", "churn")
    assert code == 0 and "from 3 features" in project.read_text()


def test_a_long_label_is_cut_in_the_comment_and_whole_in_the_setting(tmp_path: Path) -> None:
    long = "the first line\nand a second one: " + "very long " * 50
    rows = "".join(f'{i % 2 + i / 1000},"{long if i % 2 else "plain"}"\n' for i in range(100))
    (tmp_path / "d.csv").write_text("x,label\n" + rows)
    assert main(["init", str(tmp_path / "p"), "--data", str(tmp_path / "d.csv"), "--label", "label"]) == 0
    text = (tmp_path / "p" / "sluice.yaml").read_text()
    comment = next(line for line in text.splitlines() if line.strip().startswith("label: label"))
    assert len(comment) < 250 and "more characters)" in comment
    assert set(load(tmp_path / "p" / "sluice.yaml").data.checks.labels) == {long, "plain"}
