"""A source in any form gives the same table, and says what is wrong with it."""

from __future__ import annotations

import os
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sluice.core.errors import DataError
from sluice.data.config import Columns
from sluice.data.dialect import Dialect
from sluice.data.sources import load_source, read_source
from sluice.fields import field_of

ROWS = [
    {"age": 30.0, "town": "Rome", "label": "yes"},
    {"age": None, "town": "Oslo", "label": "no"},
    {"age": 4.5, "town": "Rome", "label": "yes"},
]
CSV = "age,town,label\n30,Rome,yes\nNA,Oslo,no\n4.50,Rome,yes\n"


def load(folder: Path, uri: str, task: str = "tabular", columns: Columns | None = None, **kwargs) -> pa.Table:
    return load_source(uri, kwargs.pop("format", "auto"), folder, None if task == "tabular" else field_of(task, task), columns, **kwargs)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.csv").write_text(CSV)
    (tmp_path / "a.jsonl").write_bytes(b"".join(orjson.dumps(r) + b"\n" for r in ROWS))
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "a.parquet", row_group_size=1, use_dictionary=False)
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts/1.csv").write_text("town,label,age\nRome,yes,30\n")
    (tmp_path / "parts/2.csv").write_text("age,town,label\nNA,Oslo,no\n4.50,Rome,yes\n")
    return tmp_path


@pytest.mark.parametrize("uri", ["a.csv", "a.jsonl", "a.parquet", "./a.csv"])
def test_every_form_gives_the_same_rows_and_the_same_digest(folder: Path, uri: str) -> None:
    found, csv = read_source(uri, "auto", folder, None), read_source("a.csv", "auto", folder, None)
    assert found.table.to_pylist() == ROWS
    assert found.digest == csv.digest


def test_a_glob_joins_files_in_the_order_of_their_names_whatever_the_order_of_columns(folder: Path) -> None:
    found = read_source("parts/*.csv", "auto", folder, None)
    assert found.table.select(["age", "town", "label"]).to_pylist() == ROWS
    assert found.parts == (("parts/1.csv", 1), ("parts/2.csv", 2))
    assert [found.place(i) for i in range(3)] == ["parts/1.csv row 1", "parts/2.csv row 1", "parts/2.csv row 2"]
    assert read_source("**/[12].csv", "auto", folder, None).digest == found.digest


def test_relative_paths_start_at_the_project_and_absolute_ones_and_home_do_not(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    monkeypatch.setenv("HOME", str(folder))
    for uri in ("a.csv", str(folder / "a.csv"), "~/a.csv"):
        assert load(folder, uri).num_rows == 3
    assert load(folder / "parts", "../a.csv").num_rows == 3


def test_a_file_whose_name_holds_glob_characters_is_that_file(folder: Path) -> None:
    (folder / "a[1].csv").write_text(CSV)
    assert load(folder, "a[1].csv").num_rows == 3


def test_one_changed_cell_even_in_an_ignored_column_is_another_digest(folder: Path) -> None:
    columns = Columns(ignore=["town"])
    before = read_source("a.csv", "auto", folder, None, columns).digest
    (folder / "a.csv").write_text(CSV.replace("Oslo", "Bonn"))
    assert read_source("a.csv", "auto", folder, None, columns).digest != before


@pytest.mark.parametrize(
    "uri, message",
    [
        ("b.csv", r"no such file \(got 'b.csv'\)\n  fix: it was looked for at .*b.csv; did you mean 'a.csv'"),
        ("sub/b.csv", r"no such file(.|\n)*holds a.csv"),
        ("*.txt", r"matches no file(.|\n)*relative paths start in"),
        ("parts", r"is a directory where a file is meant \(got 'parts'\)\n  fix: name a file in it, or a glob: parts/\*.csv"),
        ("", "names no file"),
        ("a\0b", "names no file"),
        ("ftp://x/y.csv", r"unknown scheme(.|\n)*download the file"),
        ("gopher://x", r"unknown scheme(.|\n)*known: a path"),
        ("a.doc", "the file's name does not tell its format"),
        ("a.xlsx", r"is a workbook of a spreadsheet program(.|\n)*save its sheet as CSV"),
        ("a.*", "names files of different formats"),
    ],
)
def test_a_source_that_is_not_there_or_not_readable_says_what_to_do(folder: Path, uri: str, message: str) -> None:
    if uri in ("a.doc", "a.xlsx"):
        (folder / uri).write_text("x")
    with pytest.raises(DataError, match=message) as e:
        load(folder, uri)
    assert e.value.fix and e.value.exit_code == 2


def test_a_link_to_nothing_is_told_apart_from_a_missing_file(folder: Path) -> None:
    (folder / "link.csv").symlink_to("gone.csv")
    with pytest.raises(DataError, match="is a link to nothing"):
        load(folder, "link.csv")


def test_an_unreadable_file_says_so(folder: Path) -> None:
    (folder / "a.csv").chmod(0)
    if os.access(folder / "a.csv", os.R_OK):
        pytest.skip("this user reads every file")
    with pytest.raises(DataError, match=r"a.csv: cannot be read: Permission denied"):
        load(folder, "a.csv")


def test_text_in_a_column_of_numbers_names_row_line_and_value(folder: Path) -> None:
    lines = ["age,note,label"] + [f'{i},"two\nlines",x' for i in range(30)]
    lines[18] = 'young,"two\nlines",x'
    (folder / "parts/9.csv").write_text("\n".join(lines) + "\n")
    with pytest.raises(DataError, match=r"parts/9.csv:36: age, row 18: is text in a column of numbers \(got 'young'\)") as e:
        load(folder, "parts/9.csv")
    assert "data.columns.categorical" in str(e.value.fix)
    for columns in (Columns(categorical=["age"]), Columns(ignore=["age"]), Columns(features=["note"])):
        assert load(folder, "parts/9.csv", columns=columns).schema.field("age").type == pa.string()


def test_a_column_mostly_of_text_is_one_of_categories(folder: Path) -> None:
    (folder / "a.csv").write_text("code,label\n1,x\n2,x\nA,x\nB,x\n")
    assert load(folder, "a.csv").column("code").to_pylist() == ["1", "2", "A", "B"]


def test_texts_and_labels_are_never_turned_into_numbers(folder: Path) -> None:
    (folder / "t.csv").write_text("text,label,other\n12,007,5\n1e3,008,6\n")
    assert load(folder, "t.csv", "text").to_pydict() == {"text": ["12", "1e3"], "label": ["007", "008"], "other": ["5", "6"]}
    assert load(folder, "t.csv", "tabular").to_pydict() == {"text": [12.0, 1000.0], "label": ["007", "008"], "other": [5.0, 6.0]}


@pytest.mark.parametrize("missing", ["", "nan", "NaN", "null"])
def test_a_label_that_is_missing_is_null(folder: Path, missing: str) -> None:
    (folder / "t.csv").write_text(f"text,label\na,{missing}\nb,NA\n")
    assert load(folder, "t.csv", "text").column("label").to_pylist() == [None, "NA"]


def test_held_out_rows_take_the_types_of_the_training_rows(folder: Path) -> None:
    like = load(folder, "a.csv").schema
    (folder / "t.csv").write_text("age,town,label\n,7,yes\n")
    found = load(folder, "t.csv", like=like)
    assert found.to_pylist() == [{"age": None, "town": "7", "label": "yes"}]
    (folder / "t.csv").write_text("age,town,label\nold,7,yes\nyoung,8,yes\n3,8,no\n")
    with pytest.raises(DataError, match=r"t.csv:2: age, row 1: is text in a column of numbers \(and 1 more\)"):
        load(folder, "t.csv", like=like)


@pytest.mark.parametrize(
    "content, columns, task, message",
    [
        (
            "how is the weather today,weather\nplay some music,music\n",
            Columns(),
            "text",
            r"a.csv:1: has no header line: its first line looks like a row",
        ),
        ("5.1,3.5,setosa\n4.9,3.0,setosa\n", Columns(), "tabular", "has no header line"),
        (
            "a;b;label\n1;2\n1;2;x;4\n",
            Columns(),
            "tabular",
            r"a.csv:1: is not separated by commas: its first line has semicolons(.|\n)*set data.delimiter: ';'",
        ),
        (
            "a,lable\n1,x\n",
            Columns(),
            "tabular",
            r"data.columns.label: a.csv has no such column \(got 'label'\)\n  fix: did you mean 'lable'\? columns: a, lable",
        ),
        ("text,sort\nx,y\n", Columns(label="kind"), "text", r"data.columns.label: a.csv has no such column \(got 'kind'\)"),
        ("txt,label\nx,y\n", Columns(), "text", r"data.columns.text: .*got 'text'(.|\n)*did you mean 'txt'"),
        ("a,label\n1,y\n", Columns(features=["a", "b"]), "tabular", r"data.columns.features: .*got 'b'"),
        ("a,label\n1,y\n", Columns(categorical=["A"]), "tabular", r"data.columns.categorical: .*got 'A'"),
        ("a,label\n1,y\n", Columns(kinds={"b": "categorical"}), "tabular", r"data.columns.kinds: .*got 'b'"),
        ("a,label\n1,y\n", Columns(ignore=["idd"]), "tabular", r"data.columns.ignore: .*got 'idd'"),
    ],
)
def test_a_header_or_column_that_is_not_there_is_named(folder: Path, content: str, columns: Columns, task: str, message: str) -> None:
    (folder / "a.csv").write_text(content)
    with pytest.raises(DataError, match=message):
        load(folder, "a.csv", task, columns)


def test_files_of_one_source_with_other_columns_are_named(folder: Path) -> None:
    (folder / "parts/3.csv").write_text("age,town,label,extra\n1,Rome,no,1\n")
    with pytest.raises(DataError, match=r"parts/3.csv: has a column 'extra', unlike parts/1.csv"):
        load(folder, "parts/*.csv")
    (folder / "parts/3.csv").write_text("age,label\n1,no\n")
    with pytest.raises(DataError, match=r"parts/3.csv: has no column 'town', unlike parts/1.csv"):
        load(folder, "parts/*.csv")


def test_files_of_one_source_with_other_types_are_named(folder: Path) -> None:
    (folder / "b.jsonl").write_text('{"age": "old", "town": "Rome", "label": "no"}\n')
    with pytest.raises(DataError, match=r"b.jsonl: column 'age' is string, in a.jsonl it is double"):
        load(folder, "*.jsonl")
    (folder / "b.jsonl").write_text('{"age": 7, "town": "Rome", "label": "no"}\n')
    assert load(folder, "*.jsonl").column("age").to_pylist() == [30.0, None, 4.5, 7.0]


def test_the_format_may_be_named_where_the_file_does_not_tell(folder: Path) -> None:
    (folder / "rows.txt").write_text(CSV)
    assert load(folder, "rows.txt", format="csv").num_rows == 3
    with pytest.raises(DataError, match="is a file where a folder of images is meant"):
        load(folder, "a.csv", "image", format="images")


@pytest.mark.parametrize(
    "name, task, rows, columns",
    [
        ("digits", "image", 1797, ["image", "label"]),
        ("digits", "tabular", 1797, [f"pixel_{r}_{c}" for r in range(8) for c in range(8)] + ["label"]),
        ("iris", "tabular", 150, ["sepal_length_cm", "sepal_width_cm", "petal_length_cm", "petal_width_cm", "label"]),
        ("wine", "tabular", 178, None),
        ("breast_cancer", "tabular", 569, None),
        ("diabetes", "tabular", 442, None),
    ],
)
def test_scikit_learns_sets_are_sources(name: str, task: str, rows: int, columns: list[str] | None) -> None:
    table = load(Path(), f"sklearn://{name}", task)
    assert table.num_rows == rows
    assert columns is None or table.schema.names == columns
    assert table.schema.field("label").type == (pa.float64() if name == "diabetes" else pa.string())
    assert table.column("label").null_count == 0


def test_digits_as_images_hold_the_pixels_scaled() -> None:
    from io import BytesIO

    import numpy as np
    from PIL import Image
    from sklearn.datasets import load_digits

    table = load(Path(), "sklearn://digits", "image", Columns(image="picture", label="digit"))
    pixels = np.stack([np.asarray(Image.open(BytesIO(b))) for b in table.column("picture").to_pylist()])
    assert np.array_equal(pixels, np.rint(load_digits().images * 255 / 16).astype(np.uint8))
    assert table.column("digit").to_pylist() == [str(t) for t in load_digits().target]


@pytest.mark.parametrize(
    "uri, task, message",
    [
        ("sklearn://digit", "image", "did you mean 'digits'"),
        ("sklearn://iris", "image", "holds no images"),
        ("sklearn://iris", "text", "holds no texts"),
        ("sklearn://", "tabular", "bundles no such set"),
    ],
)
def test_a_set_scikit_learn_does_not_have_is_refused(uri: str, task: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load(Path(), uri, task)


def test_what_says_how_cells_are_separated_is_no_setting_of_parquet(folder: Path) -> None:
    with pytest.raises(DataError, match=r"data.delimiter: is for files of separated cells(.|\n)*a.parquet is parquet"):
        load(folder, "a.parquet", dialect=Dialect(delimiter=";"))


def test_the_index_of_a_saved_table_is_left_out_and_said_unless_it_is_named(tmp_path: Path) -> None:
    table = pa.table({"x": [1.0, 2.0], "label": ["a", "b"], "__index_level_0__": [7, 3], "day": [1, 2]})
    index = orjson.dumps({"index_columns": ["__index_level_0__", "day"], "columns": []})
    pq.write_table(table.replace_schema_metadata({"pandas": index}), tmp_path / "p.parquet")
    found = read_source("p.parquet", "auto", tmp_path, None)
    assert found.table.schema.names == ["x", "label"] and found.table.schema.metadata is None
    assert len(found.notes) == 1 and "'__index_level_0__' and 'day' is left out" in found.notes[0]
    assert load(tmp_path, "p.parquet", columns=Columns(features=["x", "day"])).schema.names == ["x", "label", "day"]
    assert load(tmp_path, "p.parquet", named=["day"]).schema.names == ["x", "label", "day"]
    for header in (",x,label", "Unnamed: 0,x,label"):
        (tmp_path / "c.csv").write_text(f"{header}\n0,1,a\n1,2,b\n")
        found = read_source("c.csv", "auto", tmp_path, None)
        assert found.table.schema.names == ["x", "label"] and "is left out: the index" in found.notes[0]
    (tmp_path / "c.csv").write_text("x,label,\n0,a,\n1,b, \n")  # a separator at the end of each line
    found = read_source("c.csv", "auto", tmp_path, None)
    assert found.table.schema.names == ["x", "label"] and "column 3 has no name and no cell" in found.notes[0]
