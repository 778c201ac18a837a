"""How files of text are written: separators, quotes, header lines, encodings."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from sluice.core.errors import DataError, ProjectError
from sluice.data.config import Columns
from sluice.data.dialect import Dialect
from sluice.data.sources import read_source
from sluice.fields import field_of
from sluice.project import parse
from tests.unit.data.test_sources import load

MESSAGES = [
    ("ham", "see you"),
    ("ham", '"Hello, there'),
    ("spam", 'win 5" pipes'),
    ("ham", 'he said "yes" twice'),
    ("spam", 'done"'),
    ("ham", "bye"),
]


def test_lone_quotes_swallow_no_row_of_a_file_separated_by_tabs(tmp_path: Path) -> None:
    """5,574 messages in, 5,574 read: what a cell's first quote swallows are rows up to the next one."""
    (tmp_path / "sms.tsv").write_text("label\ttext\n" + "".join(f"{a}\t{b}\n" for a, b in MESSAGES))
    found = read_source("sms.tsv", "auto", tmp_path, field_of("text", "text"))
    assert [tuple(r.values()) for r in found.table.to_pylist()] == MESSAGES
    assert len(found.notes) == 1 and "line 3" in found.notes[0] and "data.quote" in found.notes[0]


def test_a_lone_quote_in_another_file_is_named_with_its_line_and_taken_as_text_where_that_is_said(tmp_path: Path) -> None:
    (tmp_path / "sms.csv").write_text('label,text\nham,see you\nspam,win\nham,"hello\nspam,call now\nham,done"\nspam,bye\n')
    with pytest.raises(DataError, match=r"sms.csv:4: a quote is opened in the row that begins here and closed 2 line\(s\) further on") as e:
        load(tmp_path, "sms.csv", "text")
    assert "data.quote: none" in str(e.value.fix) and "data.quote: '\"'" in str(e.value.fix)
    assert load(tmp_path, "sms.csv", "text", dialect=Dialect(quote="none")).num_rows == 6
    assert load(tmp_path, "sms.csv", "text", dialect=Dialect(quote='"')).num_rows == 4


@pytest.mark.parametrize(
    "name, text",
    [
        ("a.csv", "Dear all,\n1,000 people came,\nbye"),
        ("a.csv", "ham\n\neggs, toast\n"),
        ("a.tsv", 'he said ""hi""\nand left'),
        ("a.csv", "one\ntwo"),
    ],
)
def test_cells_of_several_lines_that_are_meant_so_stay_one(tmp_path: Path, name: str, text: str) -> None:
    d = "\t" if name.endswith("tsv") else ","
    (tmp_path / name).write_text(f'text{d}label\n"{text}"{d}1\nother{d}0\nmore{d}1\nless{d}0\n')
    found = read_source(name, "auto", tmp_path, field_of("text", "text"))
    assert found.table.column("text").to_pylist()[0] == text.replace('""', '"') and found.table.num_rows == 4 and not found.notes


@pytest.mark.parametrize(
    "name, separator, words",
    [
        ("a.csv", ";", "semicolons"),
        ("a.csv", "\t", "tabs"),
        ("a.csv", "|", "bars"),
        ("a.tsv", ",", "commas"),
        ("a.txt", "\t", "tabs"),
        ("a.data", ";", "semicolons"),
    ],
)
def test_the_separator_is_found_out_and_said(tmp_path: Path, name: str, separator: str, words: str) -> None:
    rows = [["amount", "text", "label"], *[[f"{i}.5", "one two", "ab"[i % 2]] for i in range(9)]]
    (tmp_path / name).write_text("\n".join(separator.join(r) for r in rows))
    found = read_source(name, "auto", tmp_path, None)
    assert found.table.schema.names == rows[0] and found.table.column("amount")[1].as_py() == 1.5
    assert found.notes == (f"{name} is separated by {words}, as its first rows show; data.delimiter sets it",)
    declared = read_source(name, "csv", tmp_path, None, dialect=Dialect(delimiter=separator))
    assert declared.digest == found.digest and not declared.notes


def test_commas_in_the_numbers_of_a_semicolon_file_mislead_nobody(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("Preis, EUR;label\n" + "".join(f"{i},5;{'xy'[i % 2]}\n" for i in range(9)))
    assert load(tmp_path, "a.csv").schema.names == ["Preis, EUR", "label"]


def test_a_text_file_of_one_column_asks_for_the_separator(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a\nb\nc\n")
    with pytest.raises(DataError, match=r"a.txt: has no separator that divides(.|\n)*data.delimiter"):
        load(tmp_path, "a.txt", "text")


def test_a_file_without_a_header_line_is_read_with_names_given_or_numbered(tmp_path: Path) -> None:
    (tmp_path / "iris.data").write_text("5.1,3.5,setosa\n\n4.9,3.0,setosa\n6.0,x,virginica\n")
    columns = Columns(label="column_3", categorical=["column_2"])
    assert load(tmp_path, "iris.data", columns=columns, dialect=Dialect(header=False)).to_pydict() == {
        "column_1": [5.1, 4.9, 6.0],
        "column_2": ["3.5", "3.0", "x"],
        "column_3": ["setosa", "setosa", "virginica"],
    }
    named = load(tmp_path, "iris.data", dialect=Dialect(header=("a", "b", "label")), columns=Columns(ignore=["b"]))
    assert named.schema.names == ["a", "b", "label"] and named.num_rows == 3
    with pytest.raises(DataError, match=r"data.header: lists 2 names, the first line of iris.data has 3 cells"):
        load(tmp_path, "iris.data", dialect=Dialect(header=("a", "label")))
    (tmp_path / "iris.data").write_text("a,b,label\n1,2,x\n")
    with pytest.raises(DataError, match=r"data.header: is the first line"):
        load(tmp_path, "iris.data", dialect=Dialect(header=("a", "b", "label")))
    (tmp_path / "iris.data").write_text("1,2,x\n" * 30 + "1,2\n")
    with pytest.raises(DataError, match=r"iris.data:31: has 2 cells, the first line has 3"):
        load(tmp_path, "iris.data", dialect=Dialect(header=False))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_an_encoding_whose_mark_is_missing_is_told(tmp_path: Path, encoding: str, name: str) -> None:
    content = b"text,label\na,b\nx,y\n"
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    with pytest.raises(DataError, match=f"does not begin with the mark of {encoding.upper()}(.|\n)*{encoding}-le"):
        load(tmp_path, name, "text", dialect=Dialect(encoding=encoding))


@pytest.mark.parametrize("encoding", ["idna", "punycode", "rot13", "zlib", "undefined", "unicode_escape", "a\0b", ""])
def test_what_is_no_encoding_of_files_is_refused(encoding: str) -> None:
    with pytest.raises(ProjectError, match=r"data\.encoding: is no text encoding"):
        parse({"name": "x", "task": "text", "data": {"source": "a.csv", "encoding": encoding}})


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "utf-16", "utf-16-le", "cp949"])
def test_a_declared_encoding_is_read(tmp_path: Path, encoding: str) -> None:
    word = "영화" if encoding in ("cp949", "utf-16") else "Größe é"
    (tmp_path / "a.csv").write_bytes(f"text,label\n{word},{word}\nx,y\n".encode(encoding))
    assert load(tmp_path, "a.csv", "text", dialect=Dialect(encoding=encoding)).to_pydict() == {"text": [word, "x"], "label": [word, "y"]}
    if encoding != "utf-16-le":
        with pytest.raises(DataError, match=r"a.csv(:2)?: is (not UTF-8|UTF-16) text(.|\n)*data.encoding"):
            load(tmp_path, "a.csv", "text")


def test_a_space_beside_every_separator_is_no_part_of_the_cells_and_one_beside_some_is(tmp_path: Path) -> None:
    (tmp_path / "adult.csv").write_text("age, job, label\n39, State-gov, <=50K\n50, , >50K\n")
    found = read_source("adult.csv", "auto", tmp_path, None)
    assert found.table.to_pydict() == {"age": [39.0, 50.0], "job": ["State-gov", None], "label": ["<=50K", ">50K"]}
    assert found.notes == ("adult.csv: the space after each separator is no part of the cells",)
    (tmp_path / "adult.csv").write_text("age | job | label\n39 | a | x\n50 | b | y\n")
    assert load(tmp_path, "adult.csv").to_pydict() == {"age": [39.0, 50.0], "job": ["a", "b"], "label": ["x", "y"]}
    (tmp_path / "adult.csv").write_text("age,job,label\n39, a,<=50K\n50,b, >50K\n")
    assert load(tmp_path, "adult.csv").column("job").to_pylist() == [" a", "b"]


def test_a_header_line_one_cell_short_has_the_names_of_rows_first_or_nothing_last(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text('\n"x","label"\n"1",3,"a"\n"2",oops,"b"\n' + "".join(f'"{i}",{i},"a"\n' for i in range(3, 30)))
    with pytest.raises(DataError, match=r"r.csv:4: x, row 2: is text in a column of numbers"):
        load(tmp_path, "r.csv")
    (tmp_path / "r.csv").write_text('"x","label"\n"1",3,"a"\n"2",4,"b"\n')  # as R's write.table does
    found = read_source("r.csv", "auto", tmp_path, None)
    assert (
        found.table.to_pydict() == {"x": [3.0, 4.0], "label": ["a", "b"]}
        and "the first column, without a name, is left out" in found.notes[0]
    )
    (tmp_path / "r.csv").write_text("x,label\n1,a,\n2,b,\n")
    assert load(tmp_path, "r.csv").to_pydict() == {"x": [1.0, 2.0], "label": ["a", "b"]}


@pytest.mark.parametrize(
    "content, message",
    [
        ('text,label\n"he said \\"hi\\", ok",a\n"plain",b\n', r'a.csv:2: has 3 cells(.|\n)*as "", not as'),
        ("# made by x\nx,label\n1,a\n2,b\n", r"a.csv:2: has 2 cells, the header has 1(.|\n)*names stand further down, remove the lines"),
        (
            "Report;;\non 3 May;;\n\nx;y;z;label\n1;2;3;a\n2;3;4;b\n",
            r"a.csv:4: has 3 lines before its columns' names(.|\n)*tail -n \+4 a.csv",
        ),
        ("x,label\n1,a\n2,b\n(2 rows)\n", r"a.csv:4: has 1 cells(.|\n)*remove the line if it is no row"),
        ("sep=;\nx;label\n1;a\n", r"a.csv:1: begins with the line that tells Excel the separator"),
    ],
)
def test_what_programs_put_around_the_rows_is_told(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(DataError, match=message):
        load(tmp_path, "a.csv", "text")
