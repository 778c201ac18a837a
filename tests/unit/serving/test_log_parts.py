"""Parts of the prediction log are bounded by bytes, whatever a row is."""

from __future__ import annotations

import io
import os
import socket
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from serving.runtime.cli import parser, settings_of
from serving.runtime.logs import prediction_log_writer as writer
from serving.runtime.logs.parquet import parquet_bytes, pieces
from serving.runtime.logs.prediction_log_writer import Part, Recorder
from serving.runtime.metrics import Page
from sluice.core.errors import SluiceError


def images(count: int, size: int) -> tuple[dict[str, Any], bytes]:
    blobs = [os.urandom(size) for _ in range(count)]
    head = {
        "what": "prediction",
        "time": 0,
        "model": "m",
        "version": "v",
        "request_id": "r",
        "kind": "image",
        "labels": ["a"],
        "blobs": [size] * count,
        "prediction": ["a"] * count,
        "probability": [1.0] * count,
        "probabilities": [[1.0]] * count,
    }
    return head, b"".join(blobs)


@pytest.fixture
def recorder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recorder:
    monkeypatch.setattr(writer, "_BYTES", 1 << 20)
    return Recorder(socket.socket(socket.AF_UNIX), str(tmp_path), 30.0, Page())


def test_a_request_of_many_images_is_written_in_parts_of_bounded_size_and_nothing_is_lost(recorder: Recorder, tmp_path: Path) -> None:
    head, blobs = images(40, 100_000)
    recorder._take(head, blobs, len(blobs))
    found = sorted(tmp_path.glob("predictions/model=m/version=v/*.parquet"))
    assert len(found) >= 3 and all(p.stat().st_size < 1.6 * (1 << 20) for p in found)
    rows = [r for p in found for r in pq.read_table(p, partitioning=None).to_pylist()]
    assert b"".join(r["features"]["image"] for r in sorted(rows, key=lambda r: r["row"])) == blobs
    assert recorder._parts == {}


def test_many_small_requests_make_a_part_when_their_bytes_are_enough(recorder: Recorder, tmp_path: Path) -> None:
    for _ in range(12):
        head, blobs = images(1, 100_000)
        recorder._take(head, blobs, len(blobs))
    assert len(list(tmp_path.glob("predictions/**/*.parquet"))) == 1 and next(iter(recorder._parts.values())).size < 1 << 20


def test_a_row_larger_than_a_part_stands_alone_and_row_groups_are_small() -> None:
    table = pa.table({"x": [b"a" * 3000, b"b" * 10, b"c" * 10]})
    assert [t.num_rows for t in pieces(table, 1000)] == [1, 2]
    wide = pa.table({"x": [os.urandom(1 << 20) for _ in range(12)]})
    assert pq.ParquetFile(io.BytesIO(parquet_bytes(wide))).num_row_groups >= 3


@pytest.mark.parametrize(
    ("record", "rows"), [({"tensors": ["", ""], "value": []}, 2), ({"items": [{}] * 3}, 3), ({"blobs": [1, 1], "prediction": []}, 2)]
)
def test_rows_are_counted_of_every_kind_of_record(recorder: Recorder, record: dict[str, Any], rows: int) -> None:
    recorder._take({"what": "prediction", "model": "m", "version": "v", **record}, b"", 10)
    (part,) = recorder._parts.values()
    assert isinstance(part, Part) and part.rows == rows


def test_a_server_that_is_to_log_and_cannot_write_parquet_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    args = parser().parse_args(["/mnt/models", "--log", "s3://a/log"])
    assert settings_of(args).log == "s3://a/log"
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SluiceError, match="answer and log nothing") as e:
        settings_of(args)
    assert e.value.field == "--log" and "PREDICTION_LOG=1 make images" in str(e.value.fix)
    assert settings_of(parser().parse_args(["/mnt/models"])).log is None
