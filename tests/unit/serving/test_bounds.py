"""What is kept for later is bounded in bytes: asynchronous answers, and parts of the prediction log."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq
import pytest

from serving.runtime.errors import Overloaded
from serving.runtime.http import async_results
from serving.runtime.http.request import Exchange
from serving.runtime.logs import prediction_log_writer, predictions
from serving.runtime.metrics import Page


class Sink:
    def __init__(self) -> None:
        self.answers: list[bytes] = []

    def answer(self, exchange: Exchange, data: bytes) -> None:
        self.answers.append(data)


def asked(sink: Sink) -> Exchange:
    return Exchange(sink, b"POST", b"/v2/models/m/infer", b"", {b"prefer": b"respond-async"}, b"{}", True, 0.0)


def status(data: bytes) -> int:
    return int(data[9:12])


def fetched(at: async_results.Jobs, sink: Sink) -> bytes:
    at.fetch(asked(sink), orjson.loads(sink.answers[0].partition(b"\r\n\r\n")[2])["id"])
    return sink.answers[-1]


def test_an_answer_without_room_is_an_error_in_its_place_and_the_next_request_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(async_results, "LIMIT_BYTES", 10_000)
    at = async_results.Jobs(tmp_path)
    small, large, third = Sink(), Sink(), Sink()
    at.start(asked(small), lambda e: e.send(200, b"x" * 6_000))
    at.start(asked(large), lambda e: e.send(200, b"y" * 6_000))
    assert status(fetched(at, small)) == 200
    assert status(fetched(at, large)) == 429 and b"no room" in large.answers[-1]
    at.start(asked(third), lambda e: e.send(200, b"z" * 2_500))
    assert status(fetched(at, third)) == 200
    (tmp_path / "other").write_bytes(b"o" * 2_000)
    with pytest.raises(Overloaded, match="kept already"):
        at.start(asked(Sink()), lambda e: pytest.fail("was run"))


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(prediction_log_writer, "_BYTES", 1 << 20)
    made = prediction_log_writer.Recorder(socket.socket(socket.AF_UNIX), str(tmp_path), 3600.0, Page())
    yield made, lambda: sum(pq.read_table(p, partitioning=None).num_rows for p in tmp_path.glob("predictions/**/*.parquet"))
    made._listening.close()


def test_a_part_is_written_when_it_has_many_bytes_though_few_rows(written: Any) -> None:
    made, rows = written
    picture = b"p" * (400 << 10)
    for i in range(7):
        head = {
            "what": "prediction",
            "time": i,
            "model": "m",
            "version": "v",
            "request_id": str(i),
            "trace_id": None,
            "kind": "image",
            "labels": ["a"],
            "blobs": [len(picture)],
            "prediction": ["a"],
            "probability": [1.0],
            "probabilities": [[1.0]],
        }
        made._take(head, picture, len(picture))
    assert rows() == 6 and sum(p.size for p in made._parts.values()) == len(picture)


def test_a_row_counts_with_the_bytes_of_its_texts() -> None:
    assert predictions._size([{"a": "x" * 5000, "b": 1.0}]) > 5000
    assert predictions._size(["x" * 700, b"y" * 300]) == 1000
