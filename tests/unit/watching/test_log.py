"""The prediction log is read in bounded batches, and from where one stopped: nothing twice, nothing left out."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sluice.core.errors import DataError
from sluice.monitor.log import PredictionLog


def part(root: Path, stamp: str, rows: range, *, version: str = "a" * 12, host: str = "h", model: str = "m") -> None:
    folder = root / f"predictions/model={model}/version={version}"
    folder.mkdir(parents=True, exist_ok=True)
    table = pa.table({"request_id": [str(i) for i in rows], "features": [{"x": float(i), "y": "a"} for i in rows]})
    pq.write_table(table, folder / f"{stamp}-{host}-000001.parquet", row_group_size=7)


def ids(found) -> list[int]:
    return [int(v) for batch, _ in found for v in batch.column("request_id").to_pylist()]


def test_parts_of_versions_come_in_their_order_and_one_version_alone(tmp_path):
    part(tmp_path, "20261130T100000", range(10))
    part(tmp_path, "20261130T100002", range(20, 30))
    part(tmp_path, "20261130T100001", range(10, 20), version="b" * 12)
    part(tmp_path, "20261130T100001", range(90, 95), model="another")
    assert ids(PredictionLog(tmp_path, "m").read()) == list(range(30))
    assert ids(PredictionLog(tmp_path, "m", version="b" * 64).read()) == list(range(10, 20))


def test_it_goes_on_from_every_cursor_it_gave(tmp_path):
    part(tmp_path, "20261130T100000", range(20))
    part(tmp_path, "20261130T100001", range(20, 33))
    lines = tmp_path / "predictions/model=m/more.jsonl"
    lines.write_text("".join(json.dumps({"request_id": str(i)}) + "\n" for i in range(33, 50)) + '{"request_id": "cut')
    every = list(PredictionLog(tmp_path, "m").read(rows=6))
    assert ids(every) == list(range(50)) and max(b.num_rows for b, _ in every) <= 7
    for i, (_, cursor) in enumerate(every):
        again = PredictionLog(tmp_path, "m").read(json.loads(json.dumps(cursor)), rows=6)
        assert ids(every[: i + 1]) + ids(again) == list(range(50))
    assert PredictionLog(tmp_path, "m").parts() and ids(PredictionLog(tmp_path, "m").read(every[-1][1])) == []
    with lines.open("a") as file:
        file.write('"}\n{"request_id": "50"}\n')
    assert [b.column("request_id").to_pylist() for b, _ in PredictionLog(tmp_path, "m").read(every[-1][1])] == [["cut", "50"]]


def test_a_part_that_comes_late_is_read_and_an_old_one_is_not_listed_for_ever(tmp_path):
    part(tmp_path, "20261130T100000", range(10))
    log = PredictionLog(tmp_path, "m", late_seconds=60)
    *_, (_, cursor) = log.read()
    part(tmp_path, "20261130T095950", range(10, 20), host="late")
    *_, (_, cursor) = found = list(log.read(cursor))
    assert ids(found) == list(range(10, 20))
    part(tmp_path, "20261130T110000", range(20, 30))
    *_, (_, cursor) = log.read(cursor)
    assert len(cursor["done"]) == 1 and cursor["boundary"] == "20261130T105900"
    part(tmp_path, "20261130T100001", range(5), host="hours late")
    assert ids(log.read(cursor)) == []


def test_a_file_that_cannot_be_read_is_told_until_younger_ones_were_read(tmp_path):
    part(tmp_path, "20261130T100000", range(10))
    (tmp_path / f"predictions/model=m/version={'a' * 12}/20261130T100001-x-000001.parquet").write_bytes(b"PAR1 no")
    log = PredictionLog(tmp_path, "m")
    assert ids(log.read()) == list(range(10)) and "20261130T100001-x" in log.faults[0]
    again = PredictionLog(tmp_path, "m")
    assert ids(again.read(log.cursor)) == [] and again.faults == log.faults
    part(tmp_path, "20261130T110000", range(10, 20))
    after = PredictionLog(tmp_path, "m")
    assert ids(after.read(again.cursor)) == list(range(10, 20)) and list(after.read(after.cursor)) == []
    last = PredictionLog(tmp_path, "m")
    assert ids(last.read(after.cursor)) == [] and not last.faults


def test_columns_within_the_features_are_read_alone(tmp_path):
    part(tmp_path, "20261130T100000", range(10))
    ((batch, _),) = PredictionLog(tmp_path, "m").read(columns=["features.x", "value"])
    assert batch.schema.names == ["features"] and [f.name for f in batch.schema.field("features").type] == ["x"]
    ((batch, _),) = PredictionLog(tmp_path, "m").read(most=3)
    assert batch.num_rows == 10


def test_what_cannot_be_read_at_all_is_said(tmp_path):
    with pytest.raises(DataError, match=r"log: cannot be read"):
        list(PredictionLog(tmp_path / "none", "m").read())
    with pytest.raises(DataError, match=r"cursor"):
        list(PredictionLog(tmp_path, "m").read({"other": 1}))
    assert list(PredictionLog(tmp_path, "m").read()) == []
