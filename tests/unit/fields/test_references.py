"""Summaries and references of a column, kind by kind: what they count, and that counts of parts add up to those of the whole."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from sluice.core.png import png
from sluice.data.timestamps import Times
from sluice.fields import field_of
from sluice.fields.summaries import Cells

DAY = datetime.datetime(2024, 3, 1, 12)
#: kind: values of which one is missing, and the parts of their reference.
COLUMNS: dict[str, tuple[list[Any], set[str]]] = {
    "numeric": ([1.0, 2.0, 2.0, None, 7.5], {"value"}),
    "categorical": (["a", "b", "a", None, "c"], {"value"}),
    "timestamp": ([DAY, DAY + datetime.timedelta(hours=40), DAY, None, DAY], {"weekday", "hour"}),
    "text": (["one two", "three", "one", None, "four five six"], {"characters", "words", "tokens"}),
    "image": ([png([[0, 9]]), png([[255, 1]]), png([[7, 7]]), None, png([[5, 200]])], {"brightness", "contrast", "pixels", "channel_0"}),
    "molecule": ([b"a", b"b", b"a", None, b"c"], set()),
}


class Training:
    """Training rows as a dataset has them."""

    def __init__(self, column: pa.Array):
        ids = [f"{i:016x}" for i in range(len(column))]
        self.table = pa.table({"row_id": ids, "x": column})
        self.times = {"x": Times("iso")}

    def rows(self, split: str) -> int:
        return int(self.table.num_rows)

    def read(self, split: str, columns: list[str] | None = None) -> pa.Table:
        return self.table.select(columns)

    def batches(self, split: str, columns: list[str] | None = None, rows: int = 4096) -> Iterator[pa.RecordBatch]:
        yield from self.table.select(columns).to_batches()


def column(kind: str, values: list[Any]) -> pa.Array:
    return pa.array(values, field_of(kind, "x").arrow or pa.binary())


@pytest.mark.parametrize("kind", COLUMNS)
def test_a_summary_counts_rows_and_what_is_missing(kind: str) -> None:
    values, _ = COLUMNS[kind]
    made = field_of(kind, "x").summary(Cells(pa.chunked_array([column(kind, values)])))
    assert (made["name"], made["type"], made["rows"], made["nulls"]) == ("x", kind, 5, 1)
    distinct = len({v for v in values if v is not None}) + (kind == "image")  # of blobs null is a value too
    assert made["distinct"] == (None if kind == "molecule" else distinct)


@pytest.mark.parametrize("kind", COLUMNS)
def test_the_rows_a_reference_is_of_have_its_own_counts(kind: str) -> None:
    values, parts = COLUMNS[kind]
    field = field_of(kind, "x")
    reference = field.reference(Training(column(kind, values)))
    assert reference["kind"] == kind and set(reference["parts"]) == parts
    assert reference.get("nulls", 1) == 1
    assert {p: c.tolist() for p, c in field.counts(reference, values).items()} == {p: v["counts"] for p, v in reference["parts"].items()}


@pytest.mark.parametrize("kind", COLUMNS)
def test_counts_of_two_windows_add_up_to_those_of_both(kind: str) -> None:
    values, _ = COLUMNS[kind]
    field = field_of(kind, "x")
    reference = field.reference(Training(column(kind, values)))
    first, second, both = (field.counts(reference, v) for v in (values[:2], values[2:], values))
    for part in both:
        np.testing.assert_array_equal(first[part] + second[part], both[part])


@pytest.mark.parametrize("kind", COLUMNS)
def test_what_cannot_be_read_is_missing(kind: str) -> None:
    values, _ = COLUMNS[kind]
    field = field_of(kind, "x")
    reference = field.reference(Training(column(kind, values)))
    for part, counts in field.counts(reference, [object()]).items():
        assert counts.sum() == (0 if part == "tokens" else 1)
        assert part == "tokens" or counts[-2 if kind == "categorical" else -1] == 1  # an object's text is a category nobody knew


def test_a_value_is_counted_under_its_one_spelling_whatever_sent_it() -> None:
    """A flag is True in a CSV of pandas, a bool in JSON and ``true`` in the data: none of these is a category nobody knew."""
    field = field_of("categorical", "x")
    reference = field.reference(Training(pa.array(["true", "false", "true"])))
    assert field.counts(reference, ["True", True, "true", 1.0, "1"])["value"].tolist() == [5, 0, 0, 0]
    assert field.counts(reference, [None, "", " ", float("nan")])["value"].tolist() == [0, 0, 0, 4]
    assert field.counts(reference, ["maybe"])["value"].tolist() == [0, 0, 1, 0]
