"""Tables that are packed: read as they would be plain, or refused with what to do."""

from __future__ import annotations

import lzma
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sluice.core.errors import DataError
from sluice.data.archives import is_archive
from sluice.data.config import Columns
from sluice.data.look import looked_at
from sluice.data.sources import read_source

ROWS = "x,c,y\n" + "".join(f"{i / 7:.3f},{'red' if i % 3 else 'blue'},{'yes' if i % 2 else 'no'}\n" for i in range(300))
LINES = "".join(f'{{"x": {i}, "y": "{"yes" if i % 2 else "no"}"}}\n' for i in range(300))


def rows(path: Path) -> pa.Table:
    return read_source(str(path), "auto", Path(), None, Columns(label="y")).table


def zipped(path: Path, **files: bytes | str) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def xz(path: Path, text: str) -> Path:
    path.write_bytes(lzma.compress(text.encode()))
    return path


@pytest.mark.parametrize("kind", ["xz", "csv.zip", "zip", "folder", "mac"])
def test_a_packed_table_is_read_as_the_plain_one(tmp_path: Path, kind: str):
    (plain := tmp_path / "plain.csv").write_text(ROWS)
    packed = {
        "xz": lambda: xz(tmp_path / "rows.csv.xz", ROWS),
        "csv.zip": lambda: zipped(tmp_path / "rows.csv.zip", **{"rows.csv": ROWS}),
        "zip": lambda: zipped(tmp_path / "download.zip", **{"train.csv": ROWS}),
        "folder": lambda: zipped(tmp_path / "download.ZIP", **{"a/b/train.csv": ROWS}),
        "mac": lambda: zipped(tmp_path / "download.zip", **{"train.csv": ROWS, "__MACOSX/._train.csv": b"\0", ".DS_Store": b"\0"}),
    }[kind]()
    assert rows(packed).equals(rows(plain))
    with looked_at(packed, "given") as look:
        assert [c.name for c in look.columns] == ["x", "c", "y"] and look.rows == 300


def test_lines_of_json_may_be_packed_too(tmp_path: Path):
    packed = zipped(tmp_path / "rows.zip", **{"rows.jsonl": LINES})
    assert rows(packed).num_rows == rows(xz(tmp_path / "rows.jsonl.xz", LINES)).num_rows == 300


def test_a_zip_file_of_many_or_of_pictures_stays_an_archive_of_files(tmp_path: Path):
    assert is_archive(zipped(tmp_path / "two.zip", **{"a.csv": ROWS, "b.csv": ROWS}))
    assert is_archive(zipped(tmp_path / "one.zip", **{"cat/1.png": b"\x89PNG"}))
    assert not is_archive(zipped(tmp_path / "table.zip", **{"a.csv": ROWS}))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda p: zipped(p / "x.csv.zip", **{"a.csv": ROWS, "b.csv": ROWS}), "does not hold one file"),
        (lambda p: cut(xz(p / "x.csv.xz", ROWS)), "x.csv.xz"),
        (lambda p: cut(zipped(p / "x.csv.zip", **{"a.csv": ROWS})), "does not hold one file"),
        (lambda p: broken(zipped(p / "x.csv.zip", **{"a.csv": ROWS})), "x.csv.zip"),
        (lambda p: packed_parquet(p), "packed once more"),
    ],
)
def test_what_cannot_be_unpacked_is_an_error_with_what_to_do(tmp_path: Path, make, said: str):
    with pytest.raises(DataError, match=said) as e:
        rows(make(tmp_path))
    assert e.value.fix


def cut(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[:-60])
    return path


def broken(path: Path) -> Path:
    data = bytearray(path.read_bytes())
    data[60:90] = bytes(30)
    path.write_bytes(data)
    return path


def packed_parquet(folder: Path) -> Path:
    pq.write_table(pa.table({"x": [1.0], "y": ["a"]}), folder / "t.parquet")
    return zipped(folder / "t.zip", **{"t.parquet": (folder / "t.parquet").read_bytes()})
