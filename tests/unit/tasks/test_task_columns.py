"""Labels and features out of whatever Arrow types a source has."""

from __future__ import annotations

import pyarrow as pa
import pytest
from pydantic import ValidationError

from sluice.core.errors import DataError
from sluice.data.config import Columns
from sluice.tasks import columns
from sluice.tasks.features import Features


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["cat", "dog"], "classification"),
        ([0, 1, 1, 0], "classification"),
        (["0", "1", "2"], "classification"),
        ([True, False], "classification"),
        ([0.5, 1.0], "regression"),
        (["0.5", "1.25"], "regression"),
        (list(range(21)), "regression"),
        (list(range(20)), "classification"),
        ([1.0, 2.0, None], "classification"),
    ],
)
def test_a_label_of_fractions_or_of_many_numbers_is_a_quantity(values, expected):
    assert columns.is_quantity(pa.chunked_array([values])) == (expected == "regression")


def test_labels_become_strings_whatever_their_type():
    for values, expected in (
        ([3, 4], ["3", "4"]),
        ([3.0, float("nan")], ["3", None]),
        ([True, False], ["true", "false"]),
        ([" ", "a"], [None, "a"]),
    ):
        table = pa.table({"y": values})
        assert columns.label(table, "y", "classification").to_pylist() == expected
    encoded = pa.table({"y": pa.array(["a", "b", "a"]).dictionary_encode()})
    assert columns.label(encoded, "y", "classification").to_pylist() == ["a", "b", "a"]


def test_a_class_that_is_no_whole_number_is_refused_with_its_row():
    with pytest.raises(DataError, match=r"label y, row 2: is not a category \(got 1\.5\)"):
        columns.label(pa.table({"y": [1.0, 1.5]}), "y", "classification")


def test_text_among_numbers_names_the_first_row_and_value():
    with pytest.raises(DataError, match=r"column age, row 3: is not a number \(got 'forty'\)"):
        columns.to_float(pa.chunked_array([["1", " 2.5e3 ", "forty", "x"]]), "age", "column")


def test_blank_strings_and_nan_are_missing_numbers():
    assert columns.to_float(pa.chunked_array([["1", " ", None, "-.5"]]), "a", "column").to_pylist() == [1.0, None, None, -0.5]
    assert columns.to_float(pa.chunked_array([[1.0, float("nan")]]), "a", "column").to_pylist() == [1.0, None]


def test_a_missing_column_is_named_with_its_nearest():
    with pytest.raises(DataError, match="did you mean 'label'"):
        columns.column(pa.table({"label": [1], "text": ["a"]}), "lable", "data.columns.label")


def test_dates_are_no_numbers():
    import datetime

    with pytest.raises(DataError, match="cannot be read as numbers"):
        columns.to_float(pa.chunked_array([[datetime.time(1, 2)]]), "at", "column")


def test_a_kind_that_is_said_comes_before_what_the_values_tell():
    table = pa.table({"zip": [1010, 2020], "size": ["1", "2"], "when": ["2024-01-01", "2024-01-02"], "y": ["a", "b"]})
    told = Features(table, Columns(label="y", kinds={"zip": "categorical", "size": "categorical", "when": "timestamp"}))
    assert told.kinds == {"zip": "categorical", "size": "categorical", "when": "timestamp"} and list(told.times) == ["when"]
    assert told.canonical()["zip"].to_pylist() == ["1010", "2020"] and told.canonical()["size"].to_pylist() == ["1", "2"]
    assert Features(table, Columns(label="y")).kinds == {"zip": "numeric", "size": "numeric", "when": "timestamp"}


@pytest.mark.parametrize("kind", ["image", "colour", "my_module:Colour"])
def test_a_kind_that_is_no_column_of_a_table_is_refused_with_those_that_are(kind):
    with pytest.raises(ValidationError, match=rf"x: '{kind}' is no installed kind of column; there are numeric, categorical, timestamp"):
        Columns(kinds={"x": kind})
