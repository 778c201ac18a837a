"""Files that are one JSON array of objects."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.core.errors import DataError
from sluice.data import jsonarray
from sluice.data.jsonarray import Elements, begins_array
from sluice.data.readers import read_jsonl
from sluice.data.scheme import Found


def found(tmp_path: Path, content: bytes, name: str = "x.json") -> Found:
    path = tmp_path / name
    path.write_bytes(content)
    return Found(path, name)


class Trickle(io.BytesIO):
    """A file that gives three bytes at a time."""

    def read(self, size: int | None = -1) -> bytes:
        return super().read(3)


VALUE = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(), inner, max_size=3)),
    max_leaves=8,
)


@given(st.lists(st.dictionaries(st.text(), VALUE, max_size=3), max_size=6), st.sampled_from([None, 2]), st.booleans())
@settings(max_examples=200, deadline=None)
def test_each_object_becomes_a_line_however_it_is_written(rows: list[dict], indent: int | None, ascii_only: bool) -> None:
    text = json.dumps(rows, indent=indent, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    try:
        text.decode()
    except UnicodeDecodeError:
        return  # half a pair of surrogates is no text
    assert begins_array(text)
    lines = io.BufferedReader(Elements(Trickle(text), "x.json")).read().split(b"\n")
    assert lines.pop() == b"" and [json.loads(line) for line in lines] == rows


@pytest.mark.parametrize("ending", [".json", ".json.gz"])
def test_an_array_is_read_as_its_rows(tmp_path: Path, ending: str) -> None:
    text = b'\xef\xbb\xbf [\n  {"a": 1, "t": "2020-01-01"},\r\n  {"a": 2,\n   "t": null}\n]\n'
    table = read_jsonl(found(tmp_path, gzip.compress(text) if ending.endswith(".gz") else text, f"x{ending}"))
    assert table.to_pylist() == [{"a": 1, "t": "2020-01-01"}, {"a": 2, "t": None}]


@pytest.mark.parametrize(
    "content, message",
    [
        (b"[]", "holds no rows"),
        (b'[{"a": 1}, {"a": ]', r"x.json: item 2: is not JSON"),
        (b'[{"a": 1}, {"a": 2}', r"x.json: item 2: is not followed by a comma"),
        (b'[{"a": 1}, {"a": 2', r"x.json: item 2: is not JSON"),
        (b'[{"a": 1}, ', r"x.json: item 2: is missing: the file ends"),
        (b'[{"a": 1},]', r"x.json: item 2: is no JSON object.*got '\]'"),
        (b'[{"a": 1}, 7]', r"x.json: item 2: is no JSON object.*got '7\]'"),
        (b'[{"a": 1} {"a": 2}]', r"x.json: item 1: is not followed by a comma"),
        (b'[{"a": 1}] [{"a": 2}]', r"x.json: item 1: has more behind the array's end"),
        (b'[{"a": 1}, {"a": "x"}]', r"x.json: item 2: a: is a string here and a number"),
        (b'[{"a": "x"}, {"a": "\xff"}]', r"not UTF-8"),
    ],
)
def test_a_bad_array_is_refused_with_the_item(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message) as e:
        read_jsonl(found(tmp_path, content))
    assert e.value.fix


def test_an_object_has_a_largest_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonarray, "_LONGEST", 1000)
    monkeypatch.setattr(jsonarray, "_BLOCK", 100)
    read_jsonl(found(tmp_path, json.dumps([{"a": "x" * 900}, {"a": "y" * 900}]).encode()))
    with pytest.raises(DataError, match=r"item 2: is no JSON object of at most 64 MB"):
        read_jsonl(found(tmp_path, json.dumps([{"a": "x"}, {"a": "y" * 9000}]).encode()))


def test_lines_of_lists_are_no_array_of_objects() -> None:
    assert not begins_array(b"[1, 2]\n[3, 4]\n") and not begins_array(b'{"a": [{}]}') and begins_array(b" [ {")


ROWS = [{"age": 31, "city": "Rome"}, {"age": 44, "city": "Oslo"}, {"age": 52, "city": "Bonn"}]


@pytest.mark.parametrize(
    "whole, fix",
    [
        ({name: {str(i): r[name] for i, r in enumerate(ROWS)} for name in ROWS[0]}, r"orient='columns'"),
        ({str(i): r for i, r in enumerate(ROWS)}, r"orient='index'"),
        ({"columns": ["age", "city"], "index": [0, 1, 2], "data": [[*r.values()] for r in ROWS]}, r"orient='split'"),
        ({"count": 3, "results": ROWS}, r"""jq -c '\.\["results"\]\[\]' x.json > rows.jsonl"""),
    ],
    ids=["columns", "index", "split", "wrapped"],
)
@pytest.mark.parametrize("indent", [None, 1])
def test_one_object_of_all_rows_is_told_by_its_form(tmp_path: Path, whole: dict, fix: str, indent: int | None) -> None:
    with pytest.raises(DataError, match=r"(?s)x.json: is one JSON object in which all rows lie.*" + fix):
        read_jsonl(found(tmp_path, json.dumps(whole, indent=indent).encode()))


def test_a_file_of_one_row_is_a_row(tmp_path: Path) -> None:
    for row in ({"a": 1, "b": [1, 2]}, {"a": 1, "b": {"c": 2}}, {"a": {"b": 1}}):
        assert read_jsonl(found(tmp_path, json.dumps(row).encode())).to_pylist() == [row]
