"""One text for one value."""

from __future__ import annotations

import datetime
import math
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sluice.core.spelling import Spelling, boolean_text, label_now, number_text, value_text

QUICK = settings(max_examples=300, deadline=None, database=None)

WHOLE = st.integers(-(10**40), 10**40) | st.integers(-(2**65), 2**65) | st.integers(-3, 3)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
DECIMALS = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**40), max_value=10**40)
#: How one number may be written by programs.
WRITTEN = ("{0}", "{0}.0", "{0}.", "{0}.000", " {0} ", "{0}e0", "{0}E+00")


@QUICK
@given(WHOLE, st.sampled_from(WRITTEN))
@example(2**53 + 1, "{0}e0")
@example(0, "-{0}.0")
@example(1192092895507812500000000000000000, "{0}e0")
def test_a_whole_number_is_its_digits_however_it_is_written(n, form):
    assert number_text(form.format(n)) == value_text(n) == value_text(Decimal(n)) == str(n)


@QUICK
@given(FINITE)
@example(1e23)
@example(2.0**70)
@example(-0.0)
@example(1e-7)
def test_a_float_its_text_and_its_digits_agree(x):
    text = value_text(x)
    assert number_text(repr(x)) == text == number_text(text) == value_text(np.float64(x))
    assert float(text) == x
    if x.is_integer():
        assert text == str(int(x))


@QUICK
@given(FINITE, FINITE | WHOLE, DECIMALS)
def test_equal_numbers_agree_and_different_ones_never_do(x, y, d):
    assert (value_text(x) == value_text(y)) == (x == y)
    assert (value_text(d) == value_text(Decimal(str(y)))) == (d == Decimal(str(y)))


@QUICK
@given(DECIMALS)
def test_a_decimal_keeps_every_digit(d):
    assert Decimal(value_text(d)) == d


@QUICK
@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_float_of_32_bits_is_the_shortest_text_that_gives_it_back(x):
    text = value_text(np.float32(x))
    assert np.float32(text) == np.float32(x) and (number_text(str(np.float32(x))) == text or abs(x) > 2**24)


@QUICK
@given(st.text(max_size=12) | st.from_regex(r"[+-]?[0-9._eE]{1,12}", fullmatch=True))
def test_the_text_of_a_text_is_stable_and_means_the_same(text):
    found = number_text(text)
    if found is not None:
        assert number_text(found) == found and Decimal(found) == pytest.approx(Decimal(text.strip()), rel=Decimal("1e-15"))
    assert boolean_text(text) in (None, "true", "false")


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "007",
        "00",
        "-01",
        "+49",
        "1,5",
        "1 2",
        "0x10",
        "1_000",
        "inf",
        "nan",
        "１",
        "٣",
        "1e",
        "e5",
        ".",
        "-",
        "9" * 401,
        "1e-9999",
        "1e9999",
    ],
)
def test_what_counts_nothing_is_no_number(text):
    assert number_text(text) is None


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (math.inf, "infinite"),
        (-math.inf, "infinite"),
        (np.float32("inf"), "infinite"),
        (Decimal("Infinity"), "infinite"),
        ([1], "not a category"),
        ({}, "not a category"),
        (b"a", "not a category"),
        (Decimal("1e99999"), "out of range"),
    ],
)
def test_what_has_no_text_says_why(value, says):
    with pytest.raises(ValueError, match=says):
        value_text(value)


def test_dates_and_times_are_written_as_in_a_csv():
    assert [value_text(v) for v in (datetime.date(2024, 1, 2), datetime.datetime(2024, 1, 2, 3), datetime.time(4, 5))] == [
        "2024-01-02",
        "2024-01-02 03:00:00",
        "04:05:00",
    ]


def test_what_is_missing_has_no_text():
    for spelling in (Spelling("boolean"), Spelling("number"), Spelling("text")):
        assert {spelling.text(v) for v in (None, math.nan, np.float32("nan"), Decimal("NaN"), "", " \n")} == {""}


CLIENT = {"boolean": (True, 1, 1.0, np.True_, np.int8(1), np.float32(1), Decimal(1), "1", "1.0", "True", "true", "TRUE", " true ")}


@pytest.mark.parametrize("values", [["True", "False"], ["TRUE", "false"], ["True", "1.0", "0"], ["true"]])
def test_a_column_of_flags_takes_a_flag_of_any_type(values):
    spelling = Spelling.of(values)
    assert {spelling.text(v) for v in CLIENT["boolean"]} == {"true"}
    assert {spelling.text(v) for v in (False, 0, 0.0, -0.0, "0", "False")} == {"false"}
    assert spelling.text("yes") == "yes" and spelling.text(2) == "2"


@pytest.mark.parametrize("values", [["1.0", "2.0", "3.0"], ["1", "2"], ["1", "1.0", "2"], ["1e0", "3"], ["1.00", "2.50"]])
def test_a_column_of_numbers_takes_a_number_of_any_type(values):
    spelling = Spelling.of(values)
    assert {spelling.text(v) for v in CLIENT["boolean"]} == {"1"}
    assert {spelling.text(v) for v in (2, 2.0, "2", "2.0", "2e0", np.float32(2), np.uint64(2), Decimal("2.00"))} == {"2"}
    assert spelling.text("007") == "007" and spelling.text("other") == "other"


@pytest.mark.parametrize(
    "values",
    [
        ["007", "042"],
        ["007", "7"],
        ["01234", "98765"],
        ["+49", "+43"],
        ["1.1", "1.10"],
        ["1.2", "1.10", "1.3"],
        ["1E5", "100000"],
        ["True", "yes"],
        ["1.0", "2.0", "other"],
        ["1", "?"],
        ["a"],
        [],
    ],
)
def test_names_stay_as_they_are(values):
    spelling = Spelling.of(values)
    assert spelling.kind == "text" and all(spelling.text(v) == v for v in values)


def test_a_typed_value_finds_the_text_that_a_column_of_texts_spells_it_by():
    assert [Spelling.of(["True", "False", "unknown"]).text(v) for v in (True, 0, 1.0, "true")] == ["True", "False", "True", "true"]
    assert [Spelling.of(["1.0", "2.0", "other"]).text(v) for v in (1, 2.0, True, "1", 5)] == ["1.0", "2.0", "1.0", "1", "5"]
    assert [Spelling.of(["01234", "98765"]).text(v) for v in (1234, 98765, 1234.0, "1234")] == ["01234", "98765", "01234", "1234"]
    assert Spelling.of(["007", "7"]).text(7) == "7"
    with pytest.raises(ValueError, match="several ways"):
        Spelling.of(["007", "0007"]).text(7)


COLUMN = st.lists(
    st.one_of(
        WHOLE.map(str),
        FINITE.map(str),
        DECIMALS.map(str),
        st.booleans().map(str),
        st.sampled_from(["007", "1.0", "1", "yes", "1.10", "1.1", "", "1E5"]),
        st.text(max_size=5),
    ),
    max_size=6,
)


@QUICK
@given(COLUMN)
def test_a_column_once_spelled_stays_as_it_is(values):
    spelling = Spelling.of(values)
    once = [spelling.text(v) for v in values]
    assert [spelling.text(v) for v in once] == once
    again = Spelling.kept(once)
    assert [again.text(v) for v in once] == once


@QUICK
@given(COLUMN, st.data())
def test_what_a_model_keeps_of_some_rows_reads_the_others_alike(values, data):
    """The spelling a model has is that of its training rows, which are some of the data's."""
    whole = Spelling.of(values)
    rows = [whole.text(v) for v in values]
    kept = Spelling.kept(data.draw(st.lists(st.sampled_from(rows), max_size=6)) if rows else [])
    known = [v for v in rows if v in rows]
    if kept.kind == whole.kind:
        assert [kept.text(v) for v in values] == known


@QUICK
@given(st.lists(WHOLE, min_size=1, max_size=6))
def test_different_ids_never_become_one(ids):
    spelling = Spelling.of([str(n) for n in ids])
    for form in (str, int, Decimal, "{}.0".format):
        assert len({spelling.text(form(n)) for n in ids}) == len(set(ids))


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ("True", "true"),
        ("FALSE", "false"),
        ("1.0", "1"),
        ("-3.0", "-3"),
        ("1.10", "1.10"),
        ("007.0", "007.0"),
        ("yes", "yes"),
        ("", ""),
        ("1", "1"),
    ],
)
def test_a_label_of_before_has_a_name_now(before: str, now: str) -> None:
    assert label_now(before) == now == label_now(now)
