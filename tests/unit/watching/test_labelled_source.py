"""``labelled://``: training rows, and behind them what was answered and told since, each request once, in the rows' own columns and types."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sluice.core.errors import DataError
from sluice.data.config import Columns
from sluice.data.sources import read_source
from sluice.monitor.labelled_source import address_of
from tests.support import logged

SECOND = 1_000_000
URI = "labelled://m?rows=rows/*.parquet&log=log"
ROWS = {"age": [50.0, 60.0], "job": ["cook", "nurse"], "shop": ["north", "south"], "bought": [1, 0]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two rows of training, and ten requests of which a shadow answered the first five too."""
    (tmp_path / "rows").mkdir()
    pq.write_table(pa.table(ROWS), tmp_path / "rows/first.parquet")
    asked(tmp_path / "log", 10)
    asked(tmp_path / "log", 5, version="b" * 12)
    return tmp_path


def asked(root: Path, n: int, **more: Any) -> None:
    features = {"age": np.arange(n, dtype=float), "job": ["cook"] * n}
    even = np.full((n, 2), 0.5)
    logged.predictions(
        root,
        np.arange(n) * SECOND,
        ids=[f"r{i}" for i in range(n)],
        labels=["0", "1"],
        probabilities=even,
        **{"features": features, **more},
    )


def read(folder: Path, uri: str = URI) -> pa.Table:
    return read_source(uri, "auto", folder, None, Columns(label="bought")).table


def test_what_was_told_stands_behind_the_training_rows_once_and_in_their_types(folder: Path) -> None:
    logged.feedback(folder / "log", [20 * SECOND] * 3, ["r1", "r7", "r8"], ["0", "1", "1"])
    logged.feedback(folder / "log", [30 * SECOND] * 2, ["r1", "nobody"], ["1", "1"])  # corrected, late; and of no answer
    table = read(folder)
    assert table.schema.field("bought").type == pa.int64()
    assert table.to_pylist()[:2] == pa.table(ROWS).to_pylist()
    assert sorted(table.to_pylist()[2:], key=lambda r: r["age"]) == [
        {"age": float(i), "job": "cook", "shop": None, "bought": 1} for i in (1, 7, 8)
    ]


def test_rows_without_any_label_or_log_are_the_training_rows(folder: Path) -> None:
    (folder / "log/feedback").mkdir()
    assert read(folder).to_pylist() == read(folder, URI.replace("=log", "=later")).to_pylist() == pa.table(ROWS).to_pylist()


def test_only_predictions_of_a_time_are_taken(folder: Path) -> None:
    logged.feedback(folder / "log", [20 * SECOND] * 3, ["r1", "r4", "r8"], ["0", "1", "1"])
    uri = f"{URI}&since=1970-01-01T00:00:02&until=1970-01-01T00:00:08Z"
    assert [r["age"] for r in read(folder, uri).to_pylist()[2:]] == [4.0]


def test_another_digest_when_more_was_told(folder: Path) -> None:
    def digest() -> str:
        return read_source(URI, "auto", folder, None, Columns(label="bought")).digest

    logged.feedback(folder / "log", [20 * SECOND], ["r1"], ["0"], name="first.parquet")
    before = digest()
    assert digest() == before
    logged.feedback(folder / "log", [21 * SECOND], ["r2"], ["0"], name="second.parquet")
    assert digest() != before


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("labelled://?rows=a&log=b", "names no model"),
        ("labelled://m?log=b", "names no rows"),
        ("labelled://m?rows=a", "names no log"),
        ("labelled://m?rows=a&log=b&label=c", "has no label"),
        ("labelled://m?rows=labelled://n&log=b", "names itself"),
        ("labelled://m?rows=a&log=b&since=yesterday", "since that is no time"),
    ],
)
def test_an_address_that_says_too_little_is_told(uri: str, said: str) -> None:
    with pytest.raises(DataError, match=said) as e:
        address_of(uri)
    assert e.value.field == "data.source" and "labelled://" in f"{e.value.value}" and e.value.fix


def test_rows_of_another_form_or_type_or_without_the_label_are_told(folder: Path) -> None:
    logged.feedback(folder / "log", [20 * SECOND], ["r1"], ["yes"])
    with pytest.raises(DataError, match=r"'bought' is string, in the training rows int64"):
        read(folder)
    with pytest.raises(DataError, match="no column 'sold'"):
        read_source(URI, "auto", folder, None, Columns(label="sold"))
    (folder / "rows.csv").write_text("age,job,bought\n1,cook,1\n")
    for rows in ("rows.csv", "rows", "sklearn://iris"):
        with pytest.raises(DataError, match="no Parquet file"):
            read(folder, f"labelled://m?rows={rows}&log=log")
