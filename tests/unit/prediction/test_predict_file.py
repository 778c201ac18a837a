"""`sluice predict`: the same rows out, in every format, with the package's answers; bad rows named by line; whole or not at all."""

from __future__ import annotations

import csv
import gzip
import json
import lzma
import subprocess
import sys
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sluice.cli import main
from sluice.core import files
from sluice.data.config import Columns
from sluice.data.scheme import Found
from sluice.engines.predictor import Predictor
from sluice.fields import load_processor
from sluice.package import package as packages
from sluice.package.package import Package
from sluice.prediction.cells import reader
from tests.unit.serving import builders

ROWS = [
    {"id": "r1", "age": 20.0, "job": "cook", "label": "a"},
    {"id": "r2", "age": None, "job": "nurse", "label": "b"},
    {"id": "r3", "age": 61.5, "job": None, "label": "c"},
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Package:
    return builders.tabular(tmp_path_factory.mktemp("model") / "p")


def expected(model: Package, rows: list[dict] = ROWS) -> tuple[list[str], np.ndarray]:
    answers = Predictor(model).predict([{"age": r["age"], "job": r["job"]} for r in rows])
    return [model.labels[i] for i in answers.argmax(axis=1)], answers.max(axis=1)


def predict(model: Package, file: Path, *more: str) -> int:
    return main(["predict", str(model.root), str(file), *more])


def told(package: Package, root: Path, reading: dict) -> Package:
    """The same package with a word about how its source was read."""
    (root / packages.MANIFEST).unlink()
    files.write_json(root / packages.READING, reading)
    return packages.write(
        root,
        name=package.name,
        task=package.task,
        objective=package.objective,
        inputs=list(package.inputs),
        outputs=list(package.outputs),
        labels=list(package.labels),
        preprocess=package.preprocess,
        precision="fp32",
        metrics={},
        provenance={},
    )


@pytest.mark.parametrize(("name", "separator"), [("rows.csv", ","), ("rows.tsv", "\t"), ("semicolons.csv", ";")])
def test_a_csv_comes_back_with_its_own_cells_and_separator(model: Package, tmp_path: Path, name: str, separator: str) -> None:
    lines = [["id", "age", "job", "label"], ["007", "20.0", "cook", "a"], ["1.10", "", "nurse", "x y"], ["r3", "61.5", "", 'say "hi"']]
    with (tmp_path / name).open("w", newline="") as f:
        csv.writer(f, delimiter=separator).writerows(lines)
    assert predict(model, tmp_path / name, "-o", str(tmp_path / f"out{name[-4:]}")) == 0
    with (tmp_path / f"out{name[-4:]}").open(newline="") as f:
        out = list(csv.reader(f, delimiter=separator))
    labels, probabilities = expected(model)
    assert [r[:4] for r in out] == lines
    assert out[0][4:] == ["prediction", "probability"]
    assert [r[4] for r in out[1:]] == labels
    assert [float(r[5]) for r in out[1:]] == pytest.approx(probabilities.tolist())


def test_json_lines_come_back_as_they_were_written(model: Package, tmp_path: Path) -> None:
    raw = ['{"id": 12345678901234567890123, "age":20.0,"job":"cook"}', '  { "job": "nurse", "w": 1.10 } ', '{"age": "61.5", "job": null}']
    (tmp_path / "rows.jsonl").write_text("\n".join(raw) + "\n\n")
    assert predict(model, tmp_path / "rows.jsonl", "-o", str(tmp_path / "out.jsonl")) == 0
    out = (tmp_path / "out.jsonl").read_text().splitlines()
    assert [line.startswith(r.strip()[:-1].rstrip()) for line, r in zip(out, raw, strict=True)] == [True] * 3
    labels, probabilities = expected(model)
    assert [json.loads(line)["prediction"] for line in out] == labels
    assert [json.loads(line)["probability"] for line in out] == pytest.approx(probabilities.tolist())


def test_parquet_comes_back_with_its_types(model: Package, tmp_path: Path) -> None:
    table = pa.table(
        {
            "id": pa.array([1, 2, 3], pa.int16()),
            "age": pa.array([20.0, None, 61.5], pa.float32()),
            "job": pa.array(["cook", "nurse", None]).dictionary_encode(),
            "when": pa.array([0, 1, 2], pa.timestamp("us")),
        }
    )
    pq.write_table(table, tmp_path / "rows.parquet")
    assert predict(model, tmp_path / "rows.parquet", "-o", str(tmp_path / "out.parquet")) == 0
    out = pq.read_table(tmp_path / "out.parquet")
    assert out.select(table.schema.names).cast(table.schema).equals(table)
    assert out.column("prediction").to_pylist() == expected(model)[0]
    assert out.schema.field("probability").type == pa.float32()


def test_a_bad_cell_is_named_by_its_line_and_nothing_is_written(model: Package, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "rows.csv").write_text('job,age\n"two\nlines",1\ncook,old\ncook,3\n')
    assert predict(model, tmp_path / "rows.csv", "-o", str(tmp_path / "out.csv")) == 2
    said = capsys.readouterr().err
    assert "rows.csv:4: age" in said and "'old'" in said and "--on-error skip" in said
    assert [p.name for p in tmp_path.iterdir()] == ["rows.csv"]


def test_bad_rows_are_left_out_counted_and_named_on_request(model: Package, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "rows.csv").write_text("job,age\ncook,1\ncook,old\nonly-one-cell\nnurse,2\n")
    assert predict(model, tmp_path / "rows.csv", "-o", str(tmp_path / "out.csv"), "--on-error", "skip", "--json") == 0
    said = capsys.readouterr()
    found = orjson.loads(said.out)
    assert (found["rows"], found["skipped"], sum(found["labels"].values())) == (4, 2, 2)
    assert "rows.csv:3: age" in said.err and "rows.csv:4: has 1 cells, the header has 2" in said.err
    assert [line.split(",")[:2] for line in (tmp_path / "out.csv").read_text().splitlines()[1:]] == [["cook", "1"], ["nurse", "2"]]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("rows.csv", "job,agee\ncook,1\n", "did you mean 'agee'"),
        ("rows.csv", "job,age\n", "holds no rows"),
        ("rows.csv", 'job,age\n"cook,1\nnurse,2\n', "never closed"),
        ("rows.csv", "", "is empty"),
        ("rows.jsonl", "[1]", "write one object a line"),
        ("rows.jsonl", '{"age": 1, "job": "x"}\n{"age": 1', "rows.jsonl:2"),
        ("rows.parquet", "PAR1", "not a readable Parquet file"),
        ("rows.xlsx", "x", "does not tell its format"),
    ],
)
def test_a_file_that_cannot_be_used_is_status_2_with_a_reason(
    model: Package, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: str, said: str
) -> None:
    (tmp_path / name).write_text(content)
    assert predict(model, tmp_path / name, "-o", str(tmp_path / f"out{Path(name).suffix}")) == 2
    assert said in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_the_output_is_neither_the_input_nor_of_another_format(model: Package, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "rows.csv").write_text("job,age\ncook,1\n")
    assert predict(model, tmp_path / "rows.csv", "-o", str(tmp_path / "rows.csv")) == 2
    assert predict(model, tmp_path / "rows.csv", "-o", str(tmp_path / "out.parquet")) == 2
    assert (tmp_path / "rows.csv").read_text() == "job,age\ncook,1\n"
    monkeypatch.chdir(tmp_path)
    with gzip.open("more.csv.gz", "wt") as f:
        f.write("job,age\ncook,1\n")
    assert predict(model, Path("more.csv.gz")) == 0
    with gzip.open("more.predictions.csv.gz", "rt") as f:
        assert f.read().startswith("job,age,prediction,probability\ncook,1,")


def test_a_column_of_the_predictions_name_is_kept(tmp_path: Path) -> None:
    model = builders.echo(tmp_path / "p")
    (tmp_path / "rows.csv").write_text("x,value\n1.5,9\n2,\n")
    assert predict(model, tmp_path / "rows.csv", "-o", str(tmp_path / "out.csv")) == 0
    assert (tmp_path / "out.csv").read_text() == "x,value,predicted_value\n1.5,9,1.5\n2,,2.0\n"


def test_text_is_read_as_its_source_was(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "p"
    model = told(
        builders.text(root),
        root,
        {"columns": {"text": "v2", "label": "v1"}, "header": ["v1", "v2"], "encoding": "cp1252", "delimiter": "\t"},
    )
    rows = ["send money £5", 'book "a', "  ", "my balance"]
    (tmp_path / "rows.txt").write_bytes("\n".join(rows).encode("cp1252"))
    assert predict(model, tmp_path / "rows.txt", "-o", str(tmp_path / "out.txt")) == 2
    assert "rows.txt:3" in capsys.readouterr().err
    assert predict(model, tmp_path / "rows.txt", "-o", str(tmp_path / "out.txt"), "--on-error", "skip") == 0
    answers = Predictor(model).predict([rows[0], rows[1], rows[3]])
    out = list(csv.reader((tmp_path / "out.txt").read_bytes().decode("cp1252").splitlines(), delimiter="\t"))
    assert [r[:2] for r in out] == [[t, model.labels[i]] for t, i in zip([rows[0], rows[1], rows[3]], answers.argmax(axis=1), strict=True)]


def test_times_and_numbers_with_separators_reach_the_processor_as_they_are_written(model: Package) -> None:
    class Dated:
        preprocess = {"kind": "tabular", "columns": [{"name": "when", "type": "timestamp"}, {"name": "age", "type": "numeric"}]}

        def profile(self) -> None:
            return None

    read = reader(Dated(), Columns(), ["when", "age"], Found(Path("x"), "x"))  # type: ignore[arg-type]
    assert read({"when": ["2026-01-02", ""], "age": ["1,234", " 5 "]}) == [
        {"when": "2026-01-02", "age": "1,234"},
        {"when": None, "age": 5.0},
    ]
    moment = pa.array([0, None], pa.timestamp("s"))
    assert read({"when": moment, "age": pa.array([1, None])}) == [{"when": "1970-01-01 00:00:00", "age": 1}, {"when": None, "age": None}]


def test_what_the_training_rows_wrote_with_separators_is_never_read_without_them(model: Package) -> None:
    """In a column of 1.234,50 a cell of 1.234 is a thousand and more, however many plain numbers stand beside it."""

    class German:
        preprocess = {
            "kind": "tabular",
            "columns": [{"name": "age", "type": "numeric", "numerals": {"decimal": ",", "thousands": ".", "unit": None}}],
        }

        def profile(self) -> None:
            return None

    read = reader(German(), Columns(), ["age"], Found(Path("x"), "x"))  # type: ignore[arg-type]
    rows = read({"age": ["1.234", "5", "", "2,5"]})
    assert rows == [{"age": "1.234"}, {"age": "5"}, {"age": None}, {"age": "2,5"}]
    processor = load_processor(German.preprocess, {})
    assert np.array_equal(processor.encode_batch(rows)["age"].ravel(), np.float32([1234, 5, np.nan, 2.5]), equal_nan=True)


@pytest.mark.parametrize(
    "content",
    [
        "age, job\n20, cook\n40, nurse\n",
        "age | job\n20 | cook\n40 | nurse\n",
        '"age","job"\n"1",20,"cook"\n"2",40,"nurse"\n',
        "age,job\n20,cook,\n40,nurse,\n",
    ],
    ids=["spaces after", "spaces around", "names of rows", "a separator last"],
)
def test_a_file_is_read_as_training_reads_it_whatever_stands_around_the_cells(tmp_path: Path, model: Package, content: str) -> None:
    (tmp_path / "rows.csv").write_text(content)
    assert predict(model, tmp_path / "rows.csv", "-o", str(tmp_path / "out.csv")) == 0
    labels, _ = expected(model, [{"age": 20, "job": "cook"}, {"age": 40, "job": "nurse"}])
    rows = list(csv.reader((tmp_path / "out.csv").open(), delimiter="|" if "|" in content else ","))
    assert [r[rows[0].index("prediction")] for r in rows[1:]] == labels


def test_images_are_named_from_the_file_s_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = builders.image(tmp_path / "p")
    picture = np.zeros((4, 4), np.uint8)
    picture[0] = 255
    (tmp_path / "one.png").write_bytes(builders.png(picture))
    (tmp_path / "list.csv").write_text("file,note\none.png,x\n../outside.png,y\n")
    assert predict(model, tmp_path / "list.csv", "-o", str(tmp_path / "out.csv")) == 2
    assert "list.csv:3" in capsys.readouterr().err
    assert predict(model, tmp_path / "list.csv", "-o", str(tmp_path / "out.csv"), "--on-error", "skip") == 0
    assert (tmp_path / "out.csv").read_text().splitlines()[1].startswith("one.png,x,a,")


def test_memory_does_not_grow_with_the_file(model: Package, tmp_path: Path) -> None:
    code = """
import resource, sys
from pathlib import Path
from sluice.data.scheme import Found
from sluice.package import package
from sluice.prediction.files import predict_file
p = Path(sys.argv[2])
predict_file(package.read(Path(sys.argv[1])), Found(p, p.name), p.with_suffix(".out.csv"))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
    sizes = []
    for rows in (5_000, 60_000):
        path = tmp_path / f"{rows}.csv"
        with path.open("w") as f:
            f.write("age,job,more\n")
            f.writelines(f"{i % 90},cook,{'x' * 500}\n" for i in range(rows))
        out = subprocess.run(
            [sys.executable, "-c", code, str(model.root), str(path)], capture_output=True, text=True, timeout=120, check=True
        )
        sizes.append(int(out.stdout) / 1024)
    assert sizes[1] - sizes[0] < 15, f"{sizes} MiB; the larger file has {path.stat().st_size >> 20} MiB"


@pytest.mark.parametrize("value", ["null", '"a"'])
def test_a_key_of_the_predictions_name_that_comes_late_is_told(
    model: Package, tmp_path: Path, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "rows.jsonl").write_text('{"age": 1, "job": "cook"}\n' * 4100 + f'{{"age": 1, "job": "cook", "prediction": {value}}}\n')
    assert predict(model, tmp_path / "rows.jsonl", "-o", str(tmp_path / "out.jsonl")) == 2
    assert "prediction: is a key here, and not in the lines before" in capsys.readouterr().err and not (tmp_path / "out.jsonl").exists()


def test_a_packed_file_is_read_and_what_is_not_written_so_is_refused(
    model: Package, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "rows.csv.xz").write_bytes(lzma.compress(b"job,age\ncook,20\nnurse,61.5\n"))
    for name in ("out.csv.xz", "out.csv.zip"):
        assert predict(model, tmp_path / "rows.csv.xz", "-o", str(tmp_path / name)) == 2
        assert "is read but not written" in capsys.readouterr().err and not (tmp_path / name).exists()
    assert predict(model, tmp_path / "rows.csv.xz", "-o", str(tmp_path / "out.csv")) == 0
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 3
