"""Every fault of a file is named with the line it lies on."""

from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sluice.core.errors import DataError
from sluice.data.csvfile import line_of_row
from sluice.data.csvfile import read_csv as parse_csv
from sluice.data.dialect import Dialect
from sluice.data.readers import read_jsonl, read_parquet
from sluice.data.scheme import Found


def file(folder: Path, content: bytes, name: str = "x.csv") -> Found:
    (folder / name).write_bytes(content)
    return Found(folder / name, name)


def read_csv(found: Found, **declared) -> pa.Table:
    return parse_csv(found, Dialect(**declared)).table


CELL = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=6)


@given(st.integers(1, 4).flatmap(lambda n: st.lists(st.lists(CELL, min_size=n, max_size=n), min_size=1, max_size=8)))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_what_the_csv_module_writes_is_read_back(tmp_path: Path, rows: list[list[str]]) -> None:
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_ALL)
    names = [f"c{i}" for i in range(len(rows[0]))]
    writer.writerows([names, *rows])
    table = read_csv(file(tmp_path, out.getvalue().encode()))
    assert [list(r.values()) for r in table.to_pylist()] == rows
    assert set(table.schema.types) == {pa.string()}


@pytest.mark.parametrize(
    "content, rows",
    [
        (b"a,b\n1,2\n", [("1", "2")]),
        (b"\xef\xbb\xbfa,b\r\n1,2\r\n\r\n3,4", [("1", "2"), ("3", "4")]),
        (b"\n\na , b\n 1,2\n", [(" 1", "2")]),
        (b'a,b\n"x\ny, ""z""",2\n', [('x\ny, "z"', "2")]),
        (b'a,b\n1,5" pipe\n2,x\n', [("1", '5" pipe'), ("2", "x")]),
        (b"a,b\n007,true\n,NA\n", [("007", "true"), ("", "NA")]),
    ],
)
def test_csv_cells_are_strings_as_written(tmp_path: Path, content: bytes, rows: list[tuple[str, str]]) -> None:
    table = read_csv(file(tmp_path, content))
    assert table.to_pydict() == {"a": [a for a, _ in rows], "b": [b for _, b in rows]}


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", r"x.csv: is empty"),
        (b" \n\n", r"x.csv: is empty"),
        (b"a,b\n", r"x.csv: has a header line, but no rows"),
        (b"a,b\n1,2\n3\n", r"x.csv:3: has 1 cells, the header has 2 \(got '3'\)"),
        (b"a,b\n1,2\n\n3,4,5\n", r"x.csv:4: has 3 cells, the header has 2"),
        (b'a,b\n"1\n1",2\n3\n', r"x.csv:4: has 1 cells"),
        (b'a,b\nx,"abc\ny,def\nz,ghi\n', r"x.csv:2: a quote is opened in the row that begins here and never closed"),
        (b'a,b\n1,2\n"x,abc\ny,def\n', r"x.csv:3: has 1 cells and 2 line breaks(.|\n)*fix: look for a quote that is not closed"),
        (b"a,b\n1,2\nx,\xff\n", r"x.csv:3: is not UTF-8 text(.|\n)*fix: save it as UTF-8"),
        (b"a,\xe9\n1,2\n", r"x.csv:1: is not UTF-8 text"),
        (b"a,a\n1,2\n", r"x.csv:1: names a column twice"),
        (b"a,,b\n0,1,2\n", r"x.csv:1: column 2 has no name(.|\n)*name it in the header line"),
        ("a,b\n1,2\n".encode("utf-16"), r"x.csv: is UTF-16 text"),
        (gzip.compress(b"a,b\n1,2\n", mtime=0), r"x.csv: is packed, whatever its name says(.|\n)*x.csv.gz"),
        (b"a,b\n1,2\n" + b"x" * (100 << 20) + b",2\n", r"x.csv:3: has a row of 104,857,601 characters"),
        (("a,b\n" + "1,2\n" * 9).encode("utf-16-le"), r"x.csv: is UTF-16 text without its mark(.|\n)*data.encoding: utf-16-le"),
        (("a,b\n" + "1,2\n" * 9).encode("utf-16-be"), r"x.csv: is UTF-16 text without its mark(.|\n)*data.encoding: utf-16-be"),
    ],
)
def test_a_bad_csv_is_refused_with_its_line(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message) as e:
        read_csv(file(tmp_path, content))
    assert e.value.fix and e.value.exit_code == 2


def test_bad_bytes_far_into_a_file_are_found_on_their_line(tmp_path: Path) -> None:
    good = "é,ü\n".encode() * 600_000  # the two bytes of a letter fall on both sides of a block's end
    with pytest.raises(DataError, match=r"x.csv:600002: is not UTF-8"):
        read_csv(file(tmp_path, b"a,b\n" + good + b"x,\xc3(\nx,y\n"))


def test_packed_and_tab_separated_files_are_read(tmp_path: Path) -> None:
    assert read_csv(file(tmp_path, gzip.compress(b"a,b\n1,2\n", mtime=0), "x.csv.gz")).to_pylist() == [{"a": "1", "b": "2"}]
    assert read_csv(file(tmp_path, b"a\tb\n1,5\t2\n", "x.tsv")).to_pylist() == [{"a": "1,5", "b": "2"}]
    assert read_csv(file(tmp_path, gzip.compress(b"a\tb\n1,5\t2\n", mtime=0), "x.tsv.gz")).to_pylist() == [{"a": "1,5", "b": "2"}]
    assert read_jsonl(file(tmp_path, gzip.compress(b'{"a": 1}\n'), "x.jsonl.gz")).to_pylist() == [{"a": 1}]


@pytest.mark.parametrize("content", [gzip.compress(b"a,b\n1,2\n" * 999)[:-20], b"no gzip at all"], ids=["truncated", "not packed"])
def test_a_damaged_packed_file_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(DataError, match=r"x.csv.gz: cannot be unpacked"):
        read_csv(file(tmp_path, content, "x.csv.gz"))
    with pytest.raises(DataError, match=r"x.jsonl.gz: cannot be unpacked"):
        read_jsonl(file(tmp_path, content, "x.jsonl.gz"))


def test_a_rows_line_is_found_behind_cells_with_line_breaks(tmp_path: Path) -> None:
    found = file(tmp_path, b'\na,b\n"1\n\n1",2\n\n3,4\n')
    assert [line_of_row(found, i, Dialect()) for i in range(3)] == [3, 7, None]


def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    for read in (read_csv, read_jsonl, read_parquet):
        with pytest.raises(DataError, match=r"gone: cannot be read: No such file"):
            read(Found(tmp_path / "gone", "gone"))
        with pytest.raises(DataError, match=r"here: is a directory where a file is meant(.|\n)*fix: name a file in it"):
            read(Found(tmp_path, "here"))


def test_jsonl_strings_that_look_like_dates_stay_strings(tmp_path: Path) -> None:
    table = read_jsonl(file(tmp_path, b'{"a": "2020-01-01", "n": 1}\n{"b": "2020-01-01"}\n\n', "x.jsonl"))
    assert table.to_pylist() == [{"a": "2020-01-01", "n": 1, "b": None}, {"a": None, "n": None, "b": "2020-01-01"}]


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "is empty"),
        (b'{"a": 1}\n{"a": 1\n', r"x.jsonl:2: is not JSON"),
        (b'{"a": 1}\n\nnot json\n', r"x.jsonl:3: is not JSON.*got 'not json'"),
        (b'{"a": 1}\n{"a": "x"}\n', r"x.jsonl:2: a: is a string here and a number in line 1"),
        (b'{"a": 1}\n[1]\n', r"x.jsonl:2: is no JSON object"),
        (b"[1, 2]", r"is an array, and not of objects"),
        (b'{"a": 1}\n{"a": "\xff"}', r"x.jsonl:2: (is not UTF-8|a: is a string)"),
        (b'{"a": "x"}\n{"a": "\xff"}', r"x.jsonl:2: is not UTF-8"),
        (b"{}\n", "holds no rows"),
        (b'{"a": [1]}\n{"a": ["x"]}\n', "cannot be read as JSON lines"),
    ],
)
def test_bad_json_lines_are_refused_with_their_line(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message) as e:
        read_jsonl(file(tmp_path, content, "x.jsonl"))
    assert e.value.fix


ROW = st.fixed_dictionaries(
    {},
    optional={"t": st.one_of(st.none(), st.text(max_size=5)), "n": st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False))},
)


@given(st.lists(ROW, min_size=1, max_size=8).filter(lambda rows: any(rows)))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_what_is_written_as_json_lines_is_read_back(tmp_path: Path, rows: list[dict]) -> None:
    found = read_jsonl(file(tmp_path, b"".join(orjson.dumps(r) + b"\n" for r in rows), "x.jsonl")).to_pylist()
    assert [{k: r.get(k) for k in ("t", "n")} for r in found] == [{k: r.get(k) for k in ("t", "n")} for r in rows]


@pytest.mark.parametrize(
    "spoil, message",
    [
        (lambda b: b[:-30], "is not a readable Parquet file"),
        (lambda b: b"", "is empty"),
        (lambda b: b"a,b\n1,2\n", "is not a readable Parquet file"),
    ],
)
def test_a_damaged_parquet_file_is_refused(tmp_path: Path, spoil, message: str) -> None:
    pq.write_table(pa.table({"a": [1, 2]}), tmp_path / "x.parquet")
    with pytest.raises(DataError, match=message):
        read_parquet(file(tmp_path, spoil((tmp_path / "x.parquet").read_bytes()), "x.parquet"))


def test_parquet_without_rows_with_bad_text_or_a_name_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"a": pa.array([], pa.string())}), path)
    with pytest.raises(DataError, match="holds no rows"):
        read_parquet(Found(path, "x"))
    raw = pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0"), pa.py_buffer(b"\xff")])
    pq.write_table(pa.table({"a": raw}), path)
    with pytest.raises(DataError, match="UTF8"):
        read_parquet(Found(path, "x"))
    pq.write_table(pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"]), path)
    with pytest.raises(DataError, match=r"names a column twice \(got 'a'\)"):
        read_parquet(Found(path, "x"))
