"""A column in numbers: they are exact, and pictures count every row."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.data.report import counted, listed, percent
from sluice.fields.number import Number
from sluice.fields.summaries import Cells, histogram, top
from sluice.fields.text import Text

FINITE = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(st.one_of(st.none(), st.floats()), max_size=40))
@settings(max_examples=200, deadline=None)
def test_a_numeric_column_in_numbers(values: list[float | None]) -> None:
    made = Number("x").summary(Cells(pa.chunked_array([pa.array(values, pa.float64())])))
    finite = [v for v in values if v is not None and math.isfinite(v)]
    assert made["rows"] == len(values) and made["nulls"] == sum(v is None or math.isnan(v) for v in values)
    assert made["distinct"] == len(set(finite))
    if finite:
        assert (made["min"], made["max"]) == (min(finite), max(finite))
        assert made["quantiles"]["0.5"] in finite and math.isfinite(made["mean"]) and math.isfinite(made["std"])
        assert sum(made["histogram"]["counts"]) == len(finite)


@given(st.lists(FINITE, min_size=1, max_size=60))
@settings(max_examples=200, deadline=None)
def test_a_histogram_counts_every_value_where_it_lies(values: list[float]) -> None:
    made = histogram(np.sort(np.array(values)))
    edges, counts = made["edges"], made["counts"]
    assert sum(counts) == len(values) and len(edges) == len(counts) + 1 and edges == sorted(edges)
    assert edges[0] <= min(values) and max(values) <= edges[-1] and edges[0] < edges[-1]
    for low, high, n in zip(edges[:-2], edges[1:-1], counts[:-1], strict=True):
        assert n == sum(low <= v < high for v in values)


def test_few_whole_numbers_have_a_bin_each() -> None:
    assert histogram(np.array([1.0, 1.0, 3.0])) == {"edges": [0.5, 1.5, 2.5, 3.5], "counts": [2, 0, 1]}
    assert histogram(np.array([2.0, 2.0])) == {"edges": [1.5, 2.5], "counts": [2]}
    assert len(histogram(np.linspace(0, 1, 500))["counts"]) == 20


def test_numbers_too_large_to_square_have_moments() -> None:
    made = Number("x").summary(Cells(pa.chunked_array([[1e300, -1e300]])))
    assert made["mean"] == 0 and made["std"] == 1e300


@given(st.lists(st.sampled_from("abcdefghijklmnop"), max_size=60))
@settings(max_examples=100, deadline=None)
def test_the_commonest_values_stand_first_and_equal_ones_by_name(values: list[str]) -> None:
    found = pa.array(values, pa.string()).value_counts()
    made = top(found.field("values"), found.field("counts").to_numpy())
    expected = sorted((-values.count(v), v) for v in set(values))[:10]
    assert made == [{"value": v, "count": -n} for n, v in expected]


def test_a_text_column_in_numbers() -> None:
    made = Text("t").summary(Cells(pa.chunked_array([["one two", "three", None, "one two"]])))
    assert (made["rows"], made["nulls"], made["distinct"]) == (4, 1, 2)
    assert (made["characters"]["min"], made["characters"]["max"], made["words"]["max"]) == (5, 7, 2)
    assert sum(made["length_histogram"]["counts"]) == 3
    assert "characters" not in Text("t").summary(Cells(pa.chunked_array([pa.nulls(2, pa.string())])))


@pytest.mark.parametrize(
    "fraction, shown", [(0, "0 %"), (1, "100 %"), (0.1234, "12.3 %"), (0.00044, "0.044 %"), (0.99999, "99.9 %"), (0.5, "50 %")]
)
def test_percent_is_never_rounded_to_nothing_or_all(fraction: float, shown: str) -> None:
    assert percent(fraction) == shown


def test_counts_and_lists_for_people() -> None:
    assert (counted(1, "row"), counted(1200, "row")) == ("1 row", "1,200 rows")
    assert listed("abc") == "a, b, c" and listed("abcdefg") == "a, b, c, d, e and 2 more"
