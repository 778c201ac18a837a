"""Cells of text files become numbers only where they are numbers."""

from __future__ import annotations

import math

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.data.columns import null_for_missing, numbers
from sluice.fields.text import Text


def column(*values: str | None) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(values[:1], pa.string()), pa.array(values[1:], pa.string())])


@given(st.lists(st.one_of(st.floats(), st.integers(-(2**53), 2**53)), max_size=20))
@settings(max_examples=200, deadline=None)
def test_numbers_as_python_writes_them_are_read_back(values: list[float]) -> None:
    found, bad = numbers(column(*(repr(v) for v in values)))
    assert bad is None and found is not None
    assert found.to_pylist() == [None if math.isnan(v) else float(v) for v in values]


@pytest.mark.parametrize(
    "text, value",
    [
        ("1", 1.0),
        (" 2.5 ", 2.5),
        ("+3", 3.0),
        ("-.5", -0.5),
        ("5.", 5.0),
        ("1e3", 1000.0),
        ("1E-2", 0.01),
        ("inf", math.inf),
        ("-Infinity", -math.inf),
        ("", None),
        ("  ", None),
        ("NA", None),
        ("n/a", None),
        ("NaN", None),
        ("null", None),
        ("None", None),
        ("?", None),
        ("-", None),
        ("#N/A", None),
        ("n.a.", None),
        ("Unknown", None),
        ("missing", None),
        ("not available", None),
        ("#DIV/0!", None),
        ("--", None),
        ("..", None),
        ("\u2013", None),
    ],
)
def test_a_cell_of_numbers(text: str, value: float | None) -> None:
    found, bad = numbers(column("7", text))
    assert bad is None and found is not None and found.to_pylist() == [7.0, value]


@pytest.mark.parametrize("text", ["x", "1,5", "1 000", "0x10", "1_0", "12a", "٣", "1e", "true", "2020-01-01", "NA NA"])
def test_a_cell_that_is_no_number_is_found(text: str) -> None:
    found, bad = numbers(column("1", "", "NA", text, "2", text))
    assert found is None and bad is not None
    assert (bad.row, bad.value, bad.cells, bad.share) == (3, text, 2, 0.5)


def test_a_column_of_nothing_is_a_column_of_missing_numbers() -> None:
    for empty in (column("", "NA"), column(None, None), column()):
        found, bad = numbers(empty)
        assert bad is None and found is not None and found.null_count == len(empty) and found.type == pa.float64()


def test_two_words_for_nothing_without_a_number_are_two_categories() -> None:
    found, bad = numbers(column("none", "unknown", "", "none"))
    assert found is None and bad is not None and (bad.row, bad.value, bad.share) == (0, "none", 0.0)
    assert numbers(column("NA", "n/a", "nan"))[0] is not None and numbers(column("none", "unknown", "3"))[0] is not None


def test_labels_that_stand_for_nothing_are_null_and_real_ones_stay() -> None:
    assert null_for_missing(column("", " ", "NaN", "null", "NA", "none", "x", None)).to_pylist() == [None] * 4 + ["NA", "none", "x", None]
    assert null_for_missing(pa.chunked_array([[1.0, float("nan"), None]])).to_pylist() == [1.0, None, None]
    assert null_for_missing(pa.chunked_array([[1, None]])).to_pylist() == [1, None]


def test_na_among_labels_that_are_numbers_is_no_label() -> None:
    assert null_for_missing(column("1", "NA", "2.5", "n/a", "")).to_pylist() == ["1", None, "2.5", None, None]
    assert null_for_missing(column("NA", "NA", "")).to_pylist() == ["NA", "NA", None]
    assert null_for_missing(column("1", "none", "NA")).to_pylist() == ["1", "none", "NA"]


def test_blank_is_nothing_but_white_space() -> None:
    assert Text("x").missing(column("", " \t\n", "\u2003", "x", None)).to_pylist() == [True, True, True, False, True]
