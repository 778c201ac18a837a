"""What names something keeps every digit, from every source."""

from __future__ import annotations

import datetime
import json
import math
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sluice.core.errors import DataError
from sluice.data.prepare import load_canonical, validate_project_data
from sluice.project import parse
from sluice.tasks import load_task

BIG = 2**53 + 1


def read(root: Path, source: str, **data: Any) -> pa.Table:
    project = parse({"name": "t", "task": "tabular", "data": {"source": source, "columns": {"categorical": ["id"]}, **data}})
    return load_canonical(project, root, load_task(project, root))[0]


def lines(path: Path, ids: list[Any], labels: list[Any]) -> None:
    path.write_text("".join(f'{{"id": {i}, "x": 1.5, "label": {v}}}\n' for i, v in zip(ids, labels, strict=True)))


IDS = [
    [BIG, BIG + 2, 1, "null"],
    [2**63, 2**63 + 1, 1, "null"],
    [2**64 - 1, 2**64 + 1, 2, 1],
    [10**30, 10**30 + 1, 1, 2],
    [BIG, BIG + 2, "1.0", 2],
    [f"{BIG}.0", f"{BIG + 2}.0", 1, 2],
    ["9.007199254740993e15", BIG + 2, 1, 2],
    [-(2**63) - 1, -(2**63) - 3, 1, 2],
]


@pytest.mark.parametrize("ids", IDS)
def test_json_numbers_keep_their_digits_as_category_and_as_class(tmp_path: Path, ids: list[Any]) -> None:
    expected = [None if v == "null" else str(int(Decimal(str(v)))) for v in ids]
    lines(tmp_path / "d.jsonl", ids, ['"a"', '"b"'] * 2)
    assert read(tmp_path, "d.jsonl").column("id").to_pylist() == expected
    lines(tmp_path / "l.jsonl", [1, 2, 3, 4], ids)
    assert read(tmp_path, "l.jsonl").column("label").to_pylist() == expected


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array([Decimal(BIG), Decimal(BIG + 2), None], pa.decimal128(38, 0)), [str(BIG), str(BIG + 2), None]),
        (pa.array([Decimal(10**25 + 1), Decimal(10**25 + 3), Decimal(-1)], pa.decimal128(38, 0)), [str(10**25 + 1), str(10**25 + 3), "-1"]),
        (pa.array([Decimal(10**60 + 1), Decimal(10**60 + 3), Decimal(0)], pa.decimal256(70, 2)), [str(10**60 + 1), str(10**60 + 3), "0"]),
        (pa.array([Decimal("1.50"), Decimal("2.00"), Decimal("1.05")], pa.decimal128(10, 2)), ["1.5", "2", "1.05"]),
        (pa.array([1e19, 3e19, 1.0]), [str(10**19), str(3 * 10**19), "1"]),
        (pa.array([0.0, -0.0, math.nan]), ["0", "0", None]),
        (pa.array([0.1, 2.0, 1e20], pa.float32()), ["0.1", "2", "100000002004087734272"]),
        (pa.array([2**64 - 1, 2**64 - 3, 5], pa.uint64()), [str(2**64 - 1), str(2**64 - 3), "5"]),
        (pa.array([True, False, None]), ["true", "false", None]),
        (pa.array([datetime.date(2024, 1, 2), datetime.date(1969, 1, 1), None]), ["2024-01-02", "1969-01-01", None]),
        *(
            (
                pa.array([datetime.datetime(2024, 1, 2, 3, 4, 5), datetime.datetime(1960, 1, 1), None], pa.timestamp(unit)),
                ["2024-01-02 03:04:05", "1960-01-01 00:00:00", None],
            )
            for unit in ("s", "ms", "us", "ns")
        ),
        (pa.array([BIG, BIG + 2, None]).dictionary_encode(), [str(BIG), str(BIG + 2), None]),
    ],
)
def test_parquet_values_keep_their_digits(tmp_path: Path, column: pa.Array, expected: list[str | None]) -> None:
    pq.write_table(pa.table({"id": column, "x": [1.0, 2.0, 3.0], "label": ["a", "b", "a"]}), tmp_path / "d.parquet")
    assert read(tmp_path, "d.parquet").column("id").to_pylist() == expected


@pytest.mark.parametrize("bad", [math.inf, -math.inf])
@pytest.mark.parametrize("kind", [pa.float64(), pa.float32()])
def test_infinity_is_no_category_and_no_class(tmp_path: Path, bad: float, kind: pa.DataType) -> None:
    values = pa.array([1.0, 2.0, bad, math.nan], kind)
    pq.write_table(pa.table({"id": values, "x": [1.0] * 4, "label": ["a", "b", "a", "b"]}), tmp_path / "d.parquet")
    with pytest.raises(DataError, match=r"column id, row 3: is infinite, which is no category \(got -?inf\)"):
        read(tmp_path, "d.parquet")
    pq.write_table(pa.table({"id": [1, 2, 3, 4], "label": values}), tmp_path / "l.parquet")
    with pytest.raises(DataError, match=r"label label, row 3: is infinite"):
        read(tmp_path, "l.parquet")


def test_files_that_store_an_id_as_different_types_are_put_together_as_texts(tmp_path: Path) -> None:
    rest = {"x": [1.0, 2.0], "label": ["a", "b"]}
    stored = [
        pa.array([BIG, BIG + 2]),
        pa.array([1.0, None]),
        pa.array(["7", str(BIG)]),
        pa.array([Decimal(BIG + 4), None], pa.decimal128(38, 0)),
        pa.nulls(2),
    ]
    for i, ids in enumerate(stored):
        pq.write_table(pa.table({"id": ids, **rest}), tmp_path / f"{i}.parquet")
    assert read(tmp_path, "*.parquet").column("id").to_pylist() == [
        str(BIG),
        str(BIG + 2),
        "1",
        None,
        "7",
        str(BIG),
        str(BIG + 4),
        None,
        None,
        None,
    ]


def test_floats_that_may_have_lost_digits_are_said(tmp_path: Path) -> None:
    pq.write_table(
        pa.table({"id": [1.0, float(2**53), None] * 20, "x": [float(i) for i in range(60)], "label": ["a", "b", "a"] * 20}),
        tmp_path / "d.parquet",
    )
    project = parse({"name": "t", "task": "tabular", "data": {"source": "d.parquet", "columns": {"categorical": ["id"]}}})
    report = validate_project_data(project, tmp_path, load_task(project, tmp_path))
    assert [
        c.status
        for c in report.checks
        if "'id' names something by floats of 2^53 and more in 20 rows (row 2: 9007199254740992)" in c.message
    ] == ["warn"]


def test_the_same_texts_are_the_same_columns_from_csv_json_lines_and_parquet(tmp_path: Path) -> None:
    columns = {
        "id": ["007", "1", "2", "3"] * 5,
        "x": ["1", " 2.5e3 ", "n/a", "-.5"] * 5,
        "y": ["1", "inf", "2", "3"] * 5,
        "flag": ["True", "", "false", "TRUE"] * 5,
        "some": ["", "", "4", ""] * 5,
        "mixed": ["1", "two", "3", "four"] * 5,
        "label": ["1.0", "0", "1", "0.0"] * 5,
    }
    table = pa.table(columns)
    pq.write_table(table, tmp_path / "d.parquet")
    (tmp_path / "d.csv").write_text("\n".join(",".join(row) for row in [list(columns), *zip(*columns.values(), strict=True)]) + "\n")
    (tmp_path / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in table.to_pylist()))
    found = [read(tmp_path, f"d.{form}") for form in ("csv", "jsonl", "parquet")]
    assert found[0].equals(found[1]) and found[0].equals(found[2])
    assert {n: found[0].column(n).to_pylist()[:4] for n in columns} == {
        "id": ["007", "1", "2", "3"],
        "x": [1.0, 2500.0, None, -0.5],
        "y": [1.0, math.inf, 2.0, 3.0],
        "flag": ["true", None, "false", "true"],
        "some": [None, None, 4.0, None],
        "mixed": ["1", "two", "3", "four"],
        "label": ["1", "0", "1", "0"],
    }


def test_floats_of_16_bits_are_categories_of_their_few_digits(tmp_path: Path) -> None:
    pq.write_table(
        pa.table({"id": pa.array(np.array([0.1, 2, 0.1, 2], np.float16)), "x": [1.5] * 4, "label": ["a", "b"] * 2}), tmp_path / "d.parquet"
    )
    assert read(tmp_path, "d.parquet").column("id").to_pylist() == ["0.1", "2", "0.1", "2"]


def test_bytes_of_one_length_are_no_category_either(tmp_path: Path) -> None:
    pq.write_table(
        pa.table({"id": pa.array([b"\x00\x01", b"\x02\x03"] * 2, pa.binary(2)), "x": [1.5] * 4, "label": ["a", "b"] * 2}),
        tmp_path / "d.parquet",
    )
    with pytest.raises(DataError, match="cannot be read as text"):
        read(tmp_path, "d.parquet")
