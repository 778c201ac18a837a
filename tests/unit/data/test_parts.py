"""A source's parts from one reading to the next."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sluice import project as projects
from sluice.core import files
from sluice.core.errors import ProjectError
from sluice.data import objects, prepare
from sluice.data.parts import MANIFEST, Parts, keeping
from sluice.data.scheme import Asked
from sluice.tasks import load_task


class Store:
    """In place of an object store: what it holds, and what was fetched of it."""

    held: dict[str, tuple[bytes, str]] = {}
    fetched: list[str] = []

    def __init__(self, *_: Any, **__: Any): ...

    def versions(self, below: str) -> list[tuple[str, int, str]]:
        return [(k, len(v), tag) for k, (v, tag) in self.held.items() if k.startswith(below)]

    def etag(self, name: str) -> tuple[str, int]:
        return self.held[name][1], len(self.held[name][0])

    def fetch(self, name: str, path: Path) -> None:
        self.fetched.append(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.held[name][0])


def read(tmp_path: Path, number: int, key: str = "rows/*.csv", kept: bool = True) -> tuple[dict[str, bytes], list[str]]:
    Store.fetched = []
    folder = tmp_path / str(number)
    folder.mkdir()
    with keeping(str(tmp_path / "parts") if kept else None, None):
        from sluice.data.parts import parts

        found = objects.fetch(Asked(f"s3://b/{key}", f"b/{key}", folder, projects.parse(RAW).data.columns))
        told = seen.told() if (seen := parts()) else []
    return {f.where: f.path.read_bytes() for f in found}, told


RAW: dict[str, Any] = {"name": "trial", "task": "tabular", "data": {"source": "a.csv"}}


def test_only_new_and_changed_objects_are_fetched_and_what_is_otherwise_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "Place", Store)
    Store.held = {"rows/a.csv": (b"a", "1"), "rows/b.csv": (b"b", "1")}
    first, told = read(tmp_path, 1)
    assert sorted(Store.fetched) == ["rows/a.csv", "rows/b.csv"] and told == []
    Store.held |= {"rows/c.csv": (b"c", "1"), "rows/b.csv": (b"B", "2")}
    grown, told = read(tmp_path, 2)
    assert sorted(Store.fetched) == ["rows/b.csv", "rows/c.csv"] and grown == read(tmp_path, 3, kept=False)[0]
    assert told == [
        "since the last reading 1 part of the source is new: s3://b/rows/c.csv",
        "since the last reading 1 part of the source was changed: s3://b/rows/b.csv",
    ]
    del Store.held["rows/a.csv"]
    _, told = read(tmp_path, 4)
    assert Store.fetched == [] and told == ["since the last reading 1 part of the source is gone: s3://b/rows/a.csv"]
    assert len(list((tmp_path / "parts/files").iterdir())) == 2 and set(first) < set(grown) | {"s3://b/rows/a.csv"}
    next((tmp_path / "parts/files").iterdir()).write_bytes(b"half of it")  # spoilt: fetched again
    assert read(tmp_path, 5)[0] == {"s3://b/rows/b.csv": b"B", "s3://b/rows/c.csv": b"c"} and len(Store.fetched) == 1


def test_the_manifest_tells_each_part_and_a_digest_over_them(tmp_path: Path) -> None:
    def digest(folder: str) -> Any:
        with keeping(folder, tmp_path):
            from sluice.data.locations import brought

            with brought("rows*.parquet", tmp_path):
                pass
        return files.read_json(tmp_path / folder / MANIFEST)

    for i in range(2):
        pq.write_table(pa.table({"x": [1.0] * (3 + i)}), tmp_path / f"rows{i}.parquet")
    one = digest("one")
    assert [(p["name"], p["rows"]) for p in one["parts"]] == [("rows0.parquet", 3), ("rows1.parquet", 4)]
    (tmp_path / "rows0.parquet").touch()
    assert digest("two")["digest"] == one["digest"]  # written again with the same bytes
    pq.write_table(pa.table({"x": [2.0]}), tmp_path / "rows0.parquet")
    assert digest("two")["digest"] != one["digest"]


def test_a_report_says_what_changed_and_nothing_is_written_down_after_a_fault(tmp_path: Path) -> None:
    def report(**data: Any) -> Any:
        raw = {**RAW, "data": {"source": "rows*.csv", "parts": "kept", **data}}
        project = projects.parse(raw, base_dir=tmp_path)
        return prepare.validate_project_data(project, tmp_path, load_task(project, tmp_path)).to_dict()

    def rows(name: str, n: int) -> None:
        (tmp_path / name).write_text("size,label\n" + "".join(f"{i}.5,{'yn'[i % 2]}\n" for i in range(n)))

    rows("rows0.csv", 30)
    before = report()
    rows("rows1.csv", 31)
    with pytest.raises(Exception, match="nothing"):
        report(columns={"label": "nothing"})
    after = report()
    assert "part of the source is new: rows1.csv" in str(after) and "is new" not in str(before)
    assert "is new" not in str(report())
    assert projects.parse({**RAW, "data": {"source": "a.csv", "parts": "x"}}).digest == projects.parse(RAW).digest


def test_another_folder_is_not_taken_for_one_of_parts(tmp_path: Path) -> None:
    files.write_json(tmp_path / MANIFEST, {"format": "other"})
    with pytest.raises(ProjectError, match=r"data\.parts"):
        Parts(tmp_path)
