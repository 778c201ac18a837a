"""Digests see values, never layout."""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sluice.core.errors import DataError
from sluice.data.digests import TableHasher, row_ids, table_digest

CELLS = {
    "text": st.one_of(st.none(), st.text(max_size=6)),
    "bytes": st.one_of(st.none(), st.binary(max_size=6)),
    "number": st.one_of(st.none(), st.floats()),
    "flag": st.one_of(st.none(), st.booleans()),
    "count": st.one_of(st.none(), st.integers(-100, 100)),
    "many": st.one_of(st.none(), st.lists(st.floats(allow_nan=False), max_size=3)),
}
SCHEMA = pa.schema(
    [
        ("text", pa.string()),
        ("bytes", pa.binary()),
        ("number", pa.float64()),
        ("flag", pa.bool_()),
        ("count", pa.int32()),
        ("many", pa.list_(pa.float64())),
    ]
)
ROWS = st.lists(st.fixed_dictionaries(CELLS), max_size=12)


def table(rows: list[dict]) -> pa.Table:
    return pa.Table.from_pylist(rows, SCHEMA)


@given(ROWS, st.integers(1, 5))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_digest_is_independent_of_chunks_slices_and_encodings(rows: list[dict], chunk: int) -> None:
    whole = table(rows)
    pieces = [whole.slice(i, chunk) for i in range(0, len(rows), chunk)] or [whole]
    stream = TableHasher(SCHEMA)
    for piece in pieces:
        stream.update(piece)
    coded = pa.concat_tables(pieces)
    coded = coded.set_column(0, "text", coded.column("text").cast(pa.large_string()).dictionary_encode())
    coded = coded.set_column(1, "bytes", coded.column("bytes").cast(pa.large_binary()))
    assert table_digest(whole) == stream.hexdigest() == table_digest(coded)


@given(ROWS.filter(bool), st.data())
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_one_changed_cell_changes_the_digest(rows: list[dict], data: st.DataObject) -> None:
    i = data.draw(st.integers(0, len(rows) - 1))
    name = data.draw(st.sampled_from(SCHEMA.names))
    new = data.draw(CELLS[name])
    old = rows[i][name]
    same = table([rows[i]]).column(name).combine_chunks().equals(table([{**rows[i], name: new}]).column(name).combine_chunks())
    if same or (name == "number" and old is not None and new is not None and np.isnan([old, new]).all()):
        return
    changed = [*rows[:i], {**rows[i], name: new}, *rows[i + 1 :]]
    assert table_digest(table(rows)) != table_digest(table(changed))


def test_bytes_that_move_between_neighbouring_cells_change_the_digest() -> None:
    assert table_digest(pa.table({"a": ["ab", "c"]})) != table_digest(pa.table({"a": ["a", "bc"]}))
    assert table_digest(pa.table({"a": ["x"], "b": ["y"]})) != table_digest(pa.table({"a": ["y"], "b": ["x"]}))


def test_null_differs_from_empty_and_from_zero() -> None:
    for kind, empty in ((pa.string(), ""), (pa.binary(), b""), (pa.int64(), 0), (pa.bool_(), False), (pa.list_(pa.int8()), [])):
        assert table_digest(pa.table({"a": pa.array([None], kind)})) != table_digest(pa.table({"a": pa.array([empty], kind)}))


def test_what_lies_under_a_null_does_not_count() -> None:
    values = pa.py_buffer(np.array([1, 99], np.int64).tobytes())
    dirty = pa.Array.from_buffers(pa.int64(), 2, [pa.py_buffer(b"\x01"), values])
    assert table_digest(pa.table({"a": dirty})) == table_digest(pa.table({"a": pa.array([1, None])}))


def test_names_and_types_count() -> None:
    base = pa.table({"a": [1, 2]})
    assert table_digest(base) != table_digest(base.rename_columns(["b"]))
    assert table_digest(base) != table_digest(base.cast(pa.schema([("a", pa.int32())])))


@pytest.mark.parametrize(
    "values",
    [
        pa.array([1, None, 2], pa.timestamp("ms", "UTC")),
        pa.array([1, None, 2], pa.date32()),
        pa.array([1, None, 2], pa.time64("ns")),
        pa.array([1, None, 2], pa.decimal128(10, 2)),
        pa.nulls(3),
        pa.array([[("k", 1)], None, []], pa.map_(pa.string(), pa.int8())),
        pa.array([{"a": 1, "b": "x"}, None, {"a": None, "b": ""}]),
    ],
    ids=lambda a: str(a.type),
)
def test_every_type_a_source_may_have_has_a_digest(values: pa.Array) -> None:
    whole = pa.table({"a": values})
    assert table_digest(whole) == table_digest(pa.concat_tables([whole.slice(0, 1), whole.slice(1)]))
    assert table_digest(whole) != table_digest(whole.slice(1))
    if not pa.types.is_null(values.type):
        assert table_digest(whole) != table_digest(whole.take(pa.array([2, 1, 0])))
        ids = row_ids(whole, ["a"]).to_pylist()
        assert len(set(ids)) == 3


def test_a_type_without_bytes_of_its_own_is_refused_by_name() -> None:
    union = pa.UnionArray.from_sparse(pa.array([0, 1], pa.int8()), [pa.array([1, 2]), pa.array(["a", "b"])])
    with pytest.raises(DataError, match=r"either: has a type Sluice does not read"):
        table_digest(pa.table({"either": union}))


@given(ROWS, st.randoms())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_row_ids_follow_the_row_wherever_it_stands(rows: list[dict], random) -> None:
    order = list(range(len(rows)))
    random.shuffle(order)
    ids = row_ids(table(rows), SCHEMA.names).to_pylist()
    moved = row_ids(table([rows[i] for i in order]), SCHEMA.names[::-1]).to_pylist()
    assert [ids[i] for i in order] == moved
    assert all(len(i) == 16 and set(i) <= set("0123456789abcdef") for i in ids)


@given(ROWS.filter(bool))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_row_ids_are_equal_exactly_for_equal_rows(rows: list[dict]) -> None:
    def content(row: dict) -> tuple:
        number = row["number"]
        missing = number is None or np.isnan(number)
        return (
            row["text"],
            row["bytes"],
            None if missing else number + 0.0,
            row["flag"],
            row["count"],
            None if row["many"] is None else tuple(x + 0.0 for x in row["many"]),
        )

    ids = row_ids(table(rows), SCHEMA.names).to_pylist()
    contents = [content(r) for r in rows]
    for i in range(len(rows)):
        for j in range(i):
            assert (ids[i] == ids[j]) == (contents[i] == contents[j])


def test_row_ids_treat_nan_as_null_and_minus_zero_as_zero() -> None:
    ids = row_ids(pa.table({"x": pa.array([None, float("nan"), 0.0, -0.0], pa.float64())}), ["x"]).to_pylist()
    assert ids[0] == ids[1] != ids[2] == ids[3]


def test_row_ids_are_sha256_of_documented_bytes() -> None:
    """The format is fixed: data written today keeps its ids tomorrow."""
    head = hashlib.sha256(b'[["x","double"]]').digest()
    row = head + b"\x01" + np.array([1.5], "<f8").tobytes()
    assert row_ids(pa.table({"x": [1.5]}), ["x"]).to_pylist() == [hashlib.sha256(row).hexdigest()[:16]]


def test_what_a_row_id_is_taken_of_holds_for_every_width() -> None:
    """A text is its sha256; what is missing is zeros of its type's width; columns are in the order of their names, whatever the table's."""
    rows = pa.table({"s": ["x", None], "i": pa.array([None, 3], pa.int16()), "b": [True, False], "l": [[1, 2], None], "n": pa.nulls(2)})
    head = hashlib.sha256(b'[["b","bool"],["i","int16"],["l","list<item: int64>"],["n","null"],["s","string"]]').digest()
    listed = hashlib.sha256(b"".join(b"\x01" + np.array([v], "<i8").tobytes() for v in (1, 2))).digest()
    first = b"\x01\x01" + b"\x00\x00\x00" + b"\x01" + listed + b"\x00" + b"\x01" + hashlib.sha256(b"x").digest()
    second = b"\x01\x00" + b"\x01\x03\x00" + bytes(33) + b"\x00" + bytes(33)
    assert row_ids(rows, rows.schema.names).to_pylist() == [hashlib.sha256(head + row).hexdigest()[:16] for row in (first, second)]
    assert len(row_ids(pa.table({"n": pa.nulls(2)}), ["n"])) == 2


def test_row_ids_span_blocks() -> None:
    n = 70_000
    ids = row_ids(pa.table({"x": np.arange(n) % 60_000}), ["x"]).to_pylist()
    assert ids[:10_000] == ids[60_000:] and len(set(ids)) == 60_000


def test_row_ids_of_a_column_that_is_not_there() -> None:
    with pytest.raises(DataError, match=r"y: is not a column"):
        row_ids(pa.table({"x": [1]}), ["x", "y"])
