"""The rows an expression is true of."""

from __future__ import annotations

import datetime

import numpy as np
import pyarrow as pa
import pytest

from sluice.core.errors import ProjectError
from sluice.core.predicate import read
from sluice.data.where import Held, sliced
from sluice.fields import field_of

COLUMNS = {
    "age": ("numeric", pa.chunked_array([pa.array([20.0, 60.0, None, 75.0])])),
    "plan": ("categorical", pa.chunked_array([["basic", None, "pro", "3"]])),
    "when": ("timestamp", pa.chunked_array([pa.array([datetime.datetime(2026, 11, 30, 5), datetime.datetime(2026, 11, 28, 18), None, datetime.datetime(2025, 1, 1)], pa.timestamp("us"))])),
    "note": ("text", pa.chunked_array([["né", "abc", "", None]])),
    "scan": ("image", pa.chunked_array([[b"", b"", b"", b""]])),
    "label": ("categorical", pa.chunked_array([["yes", "no", "no", "yes"]])),
}  # fmt: skip


@pytest.fixture
def held() -> Held:
    return Held({n: field_of(kind, n) for n, (kind, _) in COLUMNS.items()}, lambda n: COLUMNS[n][1])


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("age >= 60", [1, 3]),
        ("60 <= age < 70", [1]),
        ("not age >= 60", [0]),  # row 2 has no age: it is in neither
        ("age is missing", [2]),
        ("not (age is missing)", [0, 1, 3]),
        ("plan == 'basic' or age > 70", [0, 3]),
        ("plan != 'basic'", [2, 3]),
        ("plan == 3", [3]),
        ("plan not in ['basic', 'pro']", [3]),
        ("plan == 'gold' or plan is missing", [1]),
        ("when >= '2026-11-29'", [0]),
        ("when < '2026-11-28 18:00:01'", [1, 3]),
        ("hour(when) < 6", [0, 3]),
        ("weekday(when) == 'Monday'", [0]),
        ("month(when) == 11", [0, 1]),
        ("length(note) == 2", [0]),
        ("label == 'no' and age > 3", [1]),
    ],
)
def test_rows_are_those_it_is_true_of(held, text, rows):
    assert np.flatnonzero(held.rows(read(text))).tolist() == rows


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("plan < 'b'", "evaluate.slices: 'plan' holds texts, which have no order (got \"plan < 'b'\")"),
        ("age == 'old'", "'age' holds numbers, 'old' is a text"),
        ("age > 1 and plam == 'x'", "'plam' is no column of the data (in plam == 'x') (got \"age > 1 and plam == 'x'\")"),
        ("scan == 'x'", "is a column of kind image, whose values cannot be compared"),
        ("hour(age) > 3", "'age' is no time, so it has no hour"),
        ("length(age) > 3", "'age' is no text, so it has no length"),
        ("when > 'soon'", "fix: write it as when > '2026-01-31'"),
    ],
)  # fmt: skip
def test_a_comparison_that_makes_no_sense_is_named_with_its_expression(held, text, said):
    with pytest.raises(ProjectError) as e:
        held.rows(read(text))
    assert said in str(e.value)


def test_a_column_is_told_value_by_value_and_an_expression_row_by_row(held):
    found = sliced(held, ["plan", "age >= 60"])
    assert found["plan"] == ["basic", "None", "pro", "3"]
    assert found["age >= 60"].tolist() == [False, True, False, True]
