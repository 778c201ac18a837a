"""`sluice init --data`: a file nobody described becomes a project that its data passes, the first time."""

from __future__ import annotations

import random
import zipfile
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sluice import project as projects
from sluice.cli import main
from sluice.data import look
from sluice.data.computed import sums_to
from sluice.data.prepare import prepare, validate_project_data
from sluice.tasks import load_task

R = random.Random(5)
N = 300


def table(folder: Path, columns: dict[str, list[Any]], name: str = "d.csv", separator: str = ",") -> Path:
    lines = [separator.join(columns), *(separator.join(map(str, row)) for row in zip(*columns.values(), strict=True))]
    (folder / name).write_text("\n".join(lines) + "\n")
    return folder / name


def init(folder: Path, data: Path, *more: str, capsys: pytest.CaptureFixture[str] | None = None) -> projects.Project:
    """The project written, whose data passes and can be prepared."""
    status = main(["init", str(folder / "p"), "--data", str(data), *more])
    assert status == 0, capsys.readouterr().err if capsys else ""
    made = projects.load(folder / "p" / "sluice.yaml")
    task = load_task(made, folder / "p")
    report = validate_project_data(made, folder / "p", task)
    assert report.decision == "pass", report.reasons
    prepare(made, folder / "p", task, folder / "dataset")
    return made


LABELS = [R.choice("ab") for _ in range(N)]
SIZE = [round(R.gauss(ord(v), 1), 3) for v in LABELS]
COLOUR = [R.choice(["red", "green", "blue"]) for _ in range(N)]
AGES = [R.randint(18, 80) for _ in range(N)]


def test_a_table_becomes_a_project_with_its_path_from_there_and_what_it_leaves_out_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data").mkdir()
    data = table(
        tmp_path / "data",
        {
            "id": list(range(1, N + 1)),
            "size": SIZE,
            "colour": COLOUR,
            "told": [v.upper() for v in LABELS],
            "same": ["x"] * N,
            "note": [f"a note on row {i} of it" for i in range(N)],
            "label": LABELS,
        },
    )
    made = init(tmp_path, data)
    text = (tmp_path / "p" / "sluice.yaml").read_text()
    assert (made.task, made.name, made.data.source) == ("tabular", "p", "../data/d.csv")
    assert made.data.columns.ignore == ["id", "same", "told"]
    assert made.data.checks.labels == ["a", "b"] and made.data.checks.rows_min == 150
    for column, why in (
        ("id", "names the row"),
        ("same", "every value is x"),
        ("told", "gives the label away alone"),
    ):
        assert f"- {column}" in text and why in text.split(f"- {column}")[1].split("\n")[0]
    out = capsys.readouterr().out
    assert "task tabular, label 'label', 300 rows" in out and "left out told: gives the label away" in out and "next: sluice run" in out


@pytest.mark.parametrize("label", [LABELS, [f"{v:.3f}" for v in SIZE]])
def test_a_column_of_free_text_is_read_by_what_reads_words(tmp_path: Path, label: list[str]) -> None:
    """Also where the label is a quantity, for which the network is proposed otherwise."""
    notes = [f"a note on row {i} of it" for i in range(N)]
    made = init(tmp_path, table(tmp_path, {"colour": COLOUR, "age": AGES, "note": notes, "label": label}))
    assert made.model.estimator == "auto" and made.data.columns.ignore == []
    text = (tmp_path / "p" / "sluice.yaml").read_text()
    assert "from 3 features" in text and "note" not in text.split("columns:")[1].split("checks:")[0]


def test_few_rows_of_a_quantity_are_no_task_for_the_network(tmp_path: Path) -> None:
    values = [f"{v:.3f}" for v in SIZE]
    made = init(tmp_path, table(tmp_path, {"colour": COLOUR[:40], "age": AGES[:40], "label": values[:40]}))
    assert made.model.estimator == "auto"


def test_a_quantity_computed_from_columns_is_found(tmp_path: Path) -> None:
    casual, registered = [R.randrange(50) for _ in range(N)], [R.randrange(200) for _ in range(N)]
    data = table(
        tmp_path,
        {"temp": SIZE, "casual": casual, "registered": registered, "count": [a + b for a, b in zip(casual, registered, strict=True)]},
    )
    made = init(tmp_path, data)
    assert made.data.columns.label == "count" and made.data.columns.ignore == ["casual", "registered"]
    assert "the label is computed from it and registered" in (tmp_path / "p" / "sluice.yaml").read_text()


def test_a_linear_relation_that_is_no_sum_is_learnt_not_left_out(tmp_path: Path) -> None:
    made = init(
        tmp_path,
        table(tmp_path, {"a": SIZE, "b": [R.gauss(0, 1) for _ in SIZE], "target": [0.37 * v + 2 for v in SIZE]}, "e.csv"),
        "--label",
        "target",
    )
    assert made.data.columns.ignore == ["a"], "alone it gives the label away, which is another matter"
    both = [R.gauss(0, 1) for _ in range(N)], [R.gauss(0, 1) for _ in range(N)]
    found = sums_to(
        pa.table({"a": both[0], "b": both[1], "label": [0.3 * x + 1.7 * y for x, y in zip(*both, strict=True)]}), ["a", "b"], "label"
    )
    assert found == []
    assert sums_to(pa.table({"a": both[0], "b": both[1], "label": [x * y for x, y in zip(*both, strict=True)]}), ["a", "b"], "label") == [
        "a",
        "b",
    ]


def test_rare_labels_get_a_metric_that_sees_them_and_a_threshold(tmp_path: Path) -> None:
    made = init(tmp_path, table(tmp_path, {"size": SIZE, "churn": ["yes" if i % 12 == 0 else "no" for i in range(N)]}))
    assert made.evaluate.metric == "average_precision" and made.evaluate.decision is not None and made.evaluate.decision.aim == "f1"
    assert "yes has 25 rows, no 275" in (tmp_path / "p" / "sluice.yaml").read_text()


def test_texts_and_labels_become_a_text_project(tmp_path: Path) -> None:
    rows = [f"{'ham' if i % 3 else 'spam'}\tmessage {i} with {'free money' if i % 3 == 0 else 'regards to you'}" for i in range(N)]
    (tmp_path / "sms.tsv").write_text("v1\tv2\n" + "\n".join(rows) + '\nham\t"lone quote\nham\tthe end it is\n')
    made = init(tmp_path, tmp_path / "sms.tsv")
    assert (made.task, made.data.columns.text, made.data.columns.label) == ("text", "v2", "v1")


def test_a_file_whose_name_tells_nothing_without_a_header_line_is_a_project_too(tmp_path: Path) -> None:
    """As the UCI archive ships its SMS collection."""
    rows = [f"{'ham' if i % 3 else 'spam'}\tmessage {i} with {'free money' if i % 3 == 0 else 'regards to you'}" for i in range(N)]
    (tmp_path / "SMSSpamCollection").write_text("\n".join([*rows[:9], 'ham\t"lone quote, that is it', *rows[9:]]) + "\n")
    made = init(tmp_path, tmp_path / "SMSSpamCollection")
    assert (made.data.format, made.data.header, made.data.columns.label, made.data.columns.text) == ("csv", False, "column_1", "column_2")
    assert "quotes are read as plain text, since line 10 has one that is not closed" in (tmp_path / "p" / "sluice.yaml").read_text()


@pytest.mark.parametrize(
    "content, message",
    [
        (b"\x89PNG\0\0", "1: holds zero bytes: it is no text"),
        (b"a,b\n1,x\n2,\0\0\0\0\0\0", "3: holds zero bytes: it is no text"),
        (b"text\none\ntwo\n", " has one column: nothing to learn"),
        (b"", " is empty"),
    ],
)
def test_what_is_no_table_is_refused_by_the_name_it_was_given(
    tmp_path: Path, content: bytes, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "d.csv").write_bytes(content)
    assert main(["init", str(tmp_path / "p"), "--data", str(tmp_path / "d.csv")]) == 2
    assert f"{tmp_path / 'd.csv'}:{message}" in capsys.readouterr().err and not (tmp_path / "p").exists()


@pytest.mark.parametrize("name", ["d.csv.gz", "d.jsonl.gz", "d.parquet"])
def test_what_cannot_be_unpacked_is_told(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / name).write_bytes(b"PAR1 no gzip, no parquet PAR1")
    assert main(["init", str(tmp_path / "p"), "--data", str(tmp_path / name)]) == 2
    assert f"{tmp_path / name}: cannot be read: " in capsys.readouterr().err


@pytest.mark.parametrize(
    "encoding, words",
    [
        ("cp1252", ["schöne Grüße", "naïve café"]),
        ("cp949", ["재미있는 영화", "지루한 드라마"]),
        ("utf-16", ["日本語の文章です", "中文的句子"]),
        ("utf-16-le", ["schöne Grüße", "naïve café"]),
        ("utf-16-be", ["schöne Grüße", "naïve café"]),
    ],
)
def test_a_file_of_another_encoding_and_without_a_header_line_is_read(tmp_path: Path, encoding: str, words: list[str]) -> None:
    lines = [f"{words[i % 2]} {i} ja wohl doch;{'ab'[i % 2]}" for i in range(60)]
    (tmp_path / "d.csv").write_bytes(("5;a\n" + "\n".join(lines) + "\n").encode(encoding))
    made = init(tmp_path, tmp_path / "d.csv", "--label", "column_2")
    assert made.data.encoding == encoding and made.data.header is False and made.task == "text"
    assert made.data.columns.label == "column_2"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-8"])
def test_the_beginning_of_a_large_file_ends_with_a_whole_row_in_every_encoding(
    tmp_path: Path, encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(look, "MOST_BYTES", 4001)
    rows = "".join(f"{i % 7},\u010a{'ab'[i % 2]},{'yes' if i % 3 else 'no'}\n" for i in range(900))
    (tmp_path / "d.csv").write_bytes(("size,place,label\n" + rows).encode(encoding))
    made = init(tmp_path, tmp_path / "d.csv")
    assert made.data.encoding == encoding and made.data.columns.label == "label"


def test_what_would_be_refused_gets_a_limit_that_the_data_passes(tmp_path: Path) -> None:
    made = init(
        tmp_path,
        table(
            tmp_path,
            {
                "size": [*SIZE[:14], "inf"],
                "colour": COLOUR[:15],
                "gone": [""] * 15,
                "amount": [*range(15)],
                "label": [*LABELS[:14], "once"],
            },
        ),
        "--name",
        "tiny",
    )
    assert (
        made.data.checks.rows_min == 7
        and made.data.checks.label_rows_min == 1
        and "gone" in made.data.columns.ignore
        and made.name == "tiny"
    )


def test_text_among_numbers_makes_a_column_of_categories_with_the_cell_named(tmp_path: Path) -> None:
    size = [str(R.randrange(90)) for _ in range(N)]
    size[7] = "many"
    made = init(tmp_path, table(tmp_path, {"size": size, "x": SIZE, "label": LABELS}))
    assert made.data.columns.categorical == ["size"]
    assert "- size" in (text := (tmp_path / "p" / "sluice.yaml").read_text()) and "numbers, but for 'many' (row 8)" in text


def test_names_with_colons_quotes_and_control_characters_survive(tmp_path: Path) -> None:
    made = init(
        tmp_path,
        table(tmp_path, {"a: b": SIZE, 'it\'s \x92 "q" # no': COLOUR, "- dash": [f"k{i}" for i in range(N)], "yes": LABELS}),
        "--label",
        "yes",
    )
    assert made.data.columns.ignore == ["- dash"] and made.data.columns.label == "yes"


def test_labels_and_names_that_yaml_would_take_for_numbers_stay_texts(tmp_path: Path) -> None:
    made = init(
        tmp_path,
        table(tmp_path, {"size": SIZE, "1e5": [f"k{i}" for i in range(N)], "month": [f"{8 + i % 3:02}" for i in range(N)]}),
        "--label",
        "month",
    )
    assert made.data.checks.labels == ["08", "09", "10"] and made.data.columns.ignore == ["1e5"]


def test_a_name_that_is_a_value_of_its_column_too_stays_a_name_above_numbers(tmp_path: Path) -> None:
    made = init(tmp_path, table(tmp_path, {"a": SIZE, "b": [R.choice("abc") for _ in range(N)], "label": LABELS}))
    assert made.data.header is True and made.data.columns.label == "label"


def test_labels_with_control_characters_are_written_as_escapes(tmp_path: Path) -> None:
    made = init(tmp_path, table(tmp_path, {"size": SIZE, "label": ["p\x85x" if i % 2 else "q" for i in range(N)]}))
    assert made.data.checks.labels == ["p\x85x", "q"]


def test_where_no_column_is_left_the_reasons_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", str(tmp_path / "p"), "--data", str(table(tmp_path, {"size": [1] * N, "label": LABELS}))]) == 2
    assert "no column is left to learn from: size (every value is 1)" in capsys.readouterr().err


def test_without_a_label_the_candidates_are_listed_and_nothing_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = table(tmp_path, {"survived": LABELS, "size": SIZE, "class": COLOUR})
    assert main(["init", str(tmp_path / "p"), "--data", str(data), "--json"]) == 2
    found = orjson.loads(capsys.readouterr().out)
    assert found["field"] == "--label" and "class, survived, size" in found["fix"] and not (tmp_path / "p").exists()
    assert main(["init", str(tmp_path / "p"), "--data", str(data), "--label", "Survived"]) == 2
    assert "did you mean 'survived'" in capsys.readouterr().err
    assert main(["init", str(tmp_path / "p"), "--data", str(tmp_path / "gone.csv")]) == 2
    assert main(["init", str(tmp_path / "p")]) == 2 and main(["init", str(tmp_path / "p"), "--label", "x"]) == 2


def test_where_nobody_can_be_asked_a_last_column_of_few_classes_is_taken_for_the_label_and_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A number in front may be called as labels often are; a number that is last is not taken, nor one of two columns of classes with such names."""
    made = init(tmp_path, table(tmp_path, {"size": SIZE, "score": SIZE, "smoker": COLOUR, "bought": LABELS}))
    assert made.data.columns.label == "bought" and "bought is taken for the label" in capsys.readouterr().out
    for columns in ({"smoker": COLOUR, "size": SIZE}, {"size": SIZE, "outcome": COLOUR, "bought": LABELS}):
        assert main(["init", str(tmp_path / "q"), "--data", str(table(tmp_path, columns))]) == 2
        assert "which column is to be learnt cannot be told" in capsys.readouterr().err


def test_on_a_terminal_the_label_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    data = table(tmp_path, {"survived": LABELS, "size": SIZE, "class": COLOUR})
    answers = iter(["9\n", "2\n"])
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stdin.readline", lambda: next(answers), raising=False)
    assert init(tmp_path, data).data.columns.label == "survived"
    assert "2  survived  (category, 2 values" in capsys.readouterr().err


def test_parquet_with_an_index_and_a_large_file_is_looked_at_in_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    index = orjson.dumps({"index_columns": ["__index_level_0__"], "columns": []})
    made = pa.table({"size": SIZE, "label": LABELS, "__index_level_0__": list(range(N))}).replace_schema_metadata({"pandas": index})
    pq.write_table(made, tmp_path / "d.parquet")
    monkeypatch.setattr(look, "MOST_ROWS", 100)
    found = init(tmp_path, tmp_path / "d.parquet")
    assert found.data.checks.labels is None and found.data.columns.ignore == []
    assert "only the first 300 rows were looked at" in (tmp_path / "p" / "sluice.yaml").read_text()
    monkeypatch.setattr(look, "MOST_BYTES", 4000)
    lines = [f'{LABELS[i]},"two\nlines, {i}"' for i in range(N)]
    (tmp_path / "q.csv").write_text("label,text\n" + "\n".join(lines) + "\n")
    (tmp_path / "q").mkdir()
    capsys.readouterr()
    assert main(["init", str(tmp_path / "q"), "--data", str(tmp_path / "q.csv"), "--json", "--task", "text"]) == 0
    said = orjson.loads(capsys.readouterr().out)
    assert said["whole"] is False and 150 < said["rows"] < 250 and said["label"] == "label"


def test_a_folder_of_images_becomes_an_image_project(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from sluice.core.png import png

    for label in ("cat", "dog"):
        (tmp_path / "pets" / label).mkdir(parents=True)
        for i in range(15):
            (tmp_path / "pets" / label / f"{i}.png").write_bytes(png([[R.randrange(256) for _ in range(8)] for _ in range(8)]))
    made = init(tmp_path, tmp_path / "pets")
    assert (made.task, made.data.source) == ("image", "../pets")
    assert main(["init", str(tmp_path / "r"), "--data", str(tmp_path / "dataset")]) == 2
    assert "is a folder without images" in capsys.readouterr().err


def test_days_that_can_be_read_in_two_ways_are_a_guess_that_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [f"{i % 12 + 1:02}/{i * 5 % 12 + 1:02}/2024,{i % 17},{'ab'[i % 2]}" for i in range(200)]
    (tmp_path / "d.csv").write_text("when,size,label\n" + "\n".join(rows) + "\n")
    assert main(["init", str(tmp_path / "p"), "--data", str(tmp_path / "d.csv"), "--label", "label"]) == 0
    assert "can be read in two ways: %m/%d/%Y is a guess" in capsys.readouterr().out
    assert "timestamps: {when: '%m/%d/%Y'}" in (tmp_path / "p" / "sluice.yaml").read_text()


@pytest.mark.parametrize("label", [LABELS, [i * 1.37 % 7 + 0.001 for i in range(N)]], ids=["classes", "a quantity"])
def test_it_writes_down_who_learns_and_names_the_others(label: list[Any], tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    made = init(tmp_path, table(tmp_path / "data", {"size": SIZE, "colour": COLOUR, "label": label}))
    text = (tmp_path / "p" / "sluice.yaml").read_text()
    assert made.model.estimator == "auto" and "model: {estimator: auto}" in text and "lightgbm" in text
    assert "a network learns by hidden: [64, 64] in its place" in text


def test_a_cell_that_is_no_number_to_compute_with_is_named_where_its_column_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    init(tmp_path, table(tmp_path, {"size": [*SIZE[:-1], "inf"], "age": AGES, "label": LABELS}))
    assert "left out size: holds 1 number no model computes with, as in" in (said := capsys.readouterr().out)
    assert f"row {N}: inf; mend it or leave the cells empty" in said and "holds 1 number" in (tmp_path / "p" / "sluice.yaml").read_text()


def test_a_zip_file_is_the_one_table_in_it_and_of_two_the_names_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = table(tmp_path, {"size": SIZE, "age": AGES, "label": LABELS})
    for name, files in (("one.zip", ["train.csv"]), ("two.zip", ["train.csv", "test.csv"])):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            for file in files:
                archive.write(data, file)
    assert init(tmp_path, tmp_path / "one.zip").data.source == "../one.zip"
    assert main(["init", str(tmp_path / "q"), "--data", str(tmp_path / "two.zip")]) == 2
    assert "is an archive of several tables" in (said := capsys.readouterr().err) and "name one of test.csv, train.csv" in said


def test_of_a_forecast_the_label_is_a_column_of_numbers_and_the_horizon_fits_the_series(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    years = [f"{2001 + i}-01-01" for i in range(17)] * 3
    power = {
        "year": years,
        "power": [round(R.gauss(100, 9), 1) for _ in years],
        "source": [s for s in ("coal", "wind", "sun") for _ in range(17)],
    }
    made = init(tmp_path, table(tmp_path, power), "--task", "forecast")
    assert (
        made.data.columns.label == "power"
        and "5 ahead are forecast" in (said := capsys.readouterr().out)
        and "one of a few classes" not in said
    )
    words = table(tmp_path, {"year": years, "power": power["power"], "watts": power["power"], "source": power["source"]}, "two.csv")
    assert main(["init", str(tmp_path / "q"), "--task", "forecast", "--data", str(words)]) == 2
    assert "candidates, the likeliest first: watts, power" in capsys.readouterr().err
    assert main(["init", str(tmp_path / "q"), "--task", "forecast", "--label", "source", "--data", str(words)]) == 2
    assert "label source, row 1: is not a number" in (said := capsys.readouterr().err) and "name a column of numbers" in said
