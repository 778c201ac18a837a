"""The prediction log's tables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from sluice.fields import field_of, processor_class

#: Bytes of a row group, about.
_GROUP = 4 << 20
_TIME = pa.timestamp("us", tz="UTC")
_COMMON = [
    ("time", _TIME),
    ("request_id", pa.string()),
    ("row", pa.int32()),
    ("model", pa.string()),
    ("version", pa.string()),
    ("prediction", pa.string()),
    ("probability", pa.float64()),
    ("probabilities", pa.list_(pa.float32())),
    ("value", pa.float64()),
    ("trace_id", pa.string()),
]
#: What an answer of a prompt took, and what it was told.
ANSWER = pa.struct(
    [
        ("model", pa.string()),
        ("tokens_in", pa.int64()),
        ("tokens_out", pa.int64()),
        ("cost", pa.float64()),
        ("seconds", pa.float64()),
        ("first_token_seconds", pa.float64()),
        ("finish_reason", pa.string()),
        ("attempts", pa.int32()),
        ("passages", pa.list_(pa.string())),
    ]
)
FEEDBACK = pa.schema(
    [
        ("time", _TIME),
        ("request_id", pa.string()),
        ("row", pa.int32()),
        ("model", pa.string()),
        ("label", pa.string()),
        ("outcome", pa.float64()),
    ]
)


def prediction_table(records: list[tuple[dict[str, Any], bytes]]) -> pa.Table:
    """One line a predicted row. `features` is a struct: the field that a row is alone, the columns, or ``tensors`` (JSON) for
    requests that sent the graph's own. `labels` of the probabilities are in the schema's metadata."""
    first = records[0][0]
    features = _features(first)
    lines: list[dict[str, Any]] = []
    for record, blobs in records:
        lines += _lines(record, blobs, features)
    answer = [("answer", ANSWER)] if "answer" in first else []
    schema = pa.schema(
        [*_COMMON, ("features", features), *answer], metadata={"labels": orjson.dumps(first["labels"]), "kind": first["kind"]}
    )
    return pa.Table.from_pylist(lines, schema=schema)


def _features(record: dict[str, Any]) -> pa.StructType:
    if "columns" in record:
        return pa.struct([(c["name"], field_of(c["type"], c["name"]).logged) for c in record["columns"]])
    value = processor_class(record["kind"]).value
    return pa.struct([*([] if value is None else [(value.name, value.logged)]), ("tensors", pa.string())])


def _lines(record: dict[str, Any], blobs: bytes, features: pa.StructType) -> list[dict[str, Any]]:
    count = len(record.get("prediction") or record.get("value") or record.get("rows") or record.get("tensors") or [])
    rows: list[dict[str, Any]] = [{} for _ in range(count)]
    value = processor_class(record["kind"]).value
    if value is not None and "blobs" in record:
        at = 0
        for i, size in enumerate(record["blobs"]):
            rows[i] = {value.name: blobs[at : at + size]}
            at += size
    elif value is not None and "rows" in record:
        rows = [{value.name: r} for r in record["rows"]]
    elif "columns" in record:
        rows = record["rows"]
    else:
        rows = [{"tensors": t} for t in record.get("tensors", [])]
    common = {k: record.get(k) for k in ("time", "request_id", "model", "version", "trace_id")}
    given = {k: record.get(k) for k in ("prediction", "probability", "probabilities", "value", *(["answer"] if "answer" in record else []))}
    return [{**common, "row": i, "features": row, **{k: v[i] if v else None for k, v in given.items()}} for i, row in enumerate(rows)]


def feedback_table(records: list[tuple[dict[str, Any], bytes]]) -> pa.Table:
    """One line an item of feedback."""
    lines = [
        {"time": r["time"], "model": r["model"], "row": 0, "label": None, "outcome": None, **item}
        for r, _ in records
        for item in r["items"]
    ]
    return pa.Table.from_pylist(lines, schema=FEEDBACK)


def pieces(table: pa.Table, most: int) -> Iterator[pa.Table]:
    """The table in tables of at most so many bytes, in order; a row larger than that stands alone."""
    if table.nbytes <= most or table.num_rows < 2:
        yield table
        return
    half = table.num_rows // 2
    yield from pieces(table.slice(0, half), most)
    yield from pieces(table.slice(half), most)


def parquet_bytes(table: pa.Table) -> bytes:
    """A table as a Parquet file, packed with zstd, in row groups of a few megabytes: who reads it holds one at a time."""
    sink = pa.BufferOutputStream()
    rows = max(1, min(table.num_rows, int(_GROUP * table.num_rows / max(table.nbytes, 1))))
    pq.write_table(table, sink, compression="zstd", row_group_size=rows)
    raw: bytes = sink.getvalue().to_pybytes()
    return raw
