"""Expressions over columns: what they say, written again, and where they go wrong."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.core.predicate import PARTS, All, Any, Column, Compared, Missing, Not, OneOf, Related, Worked, names, parse, read

column = st.builds(
    Column, st.text(st.characters(exclude_characters="`", codec="utf-8"), min_size=1, max_size=8), st.sampled_from(["", *PARTS])
)
value = st.floats(allow_nan=False, allow_infinity=False) | st.text(st.characters(codec="utf-8"), max_size=8)
number = st.recursive(
    column,
    lambda inner: (
        st.builds(Worked, st.sampled_from("+-*/"), st.tuples(inner, inner | value))
        | st.builds(Worked, st.sampled_from(["abs", "-"]), st.tuples(inner))
    ),
    max_leaves=4,
)
test = (
    st.builds(Related, number, st.sampled_from(["<", ">=", "=="]), number)
    | st.builds(Compared, column, st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), value)
    | st.builds(OneOf, column, st.lists(value, min_size=1, max_size=3).map(tuple))
    | st.builds(Missing, column)
)
several = st.recursive(
    test,
    lambda inner: (
        st.builds(Not, inner) | st.lists(inner, min_size=2, max_size=3).map(tuple).flatmap(lambda of: st.sampled_from([All(of), Any(of)]))
    ),
    max_leaves=5,
)


@settings(max_examples=150, deadline=None)
@given(several)
def test_what_is_written_reads_as_the_same(which):
    assert parse(str(which)) == which


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("age>=60", "age >= 60"),
        ("30 <= age < 60.5", "age >= 30 and age < 60.5"),
        ("country == 'DE' AND amount > 1e3", "country == 'DE' and amount > 1000"),
        ("not (a < 1 or b != true)", "not (a < 1 or b != 'true')"),
        ("hours-per-week > 40", "hours-per-week > 40"),
        ("`my col (%)` is not missing", "not `my col (%)` is missing"),
        ("plan not in ['a', \"b\"]", "not plan in ['a', 'b']"),
        ("weekday(when) == 'Monday'", "weekday(when) == 'Monday'"),
        ("straße < 3", "straße < 3"),
        ("end>=start", "end >= start"),
        ("0 < (a + b) * -2 - c / 3", "(a + b) * -2 - c / 3 > 0"),
        ("a - (b - c) == abs(-a)", "a - (b - c) == abs(-a)"),
        ("lower(plan) in ['a', -1]", "lower(plan) in ['a', -1]"),
        ("not null(col('my col'))", "not `my col` is missing"),
    ],
)
def test_an_expression_is_understood(text, written):
    assert str(read(text)) == written


@pytest.mark.parametrize("text", ["age", "capital gain", "size (cm)", "born in", "`a < b`", "label"])
def test_a_text_without_a_comparison_is_a_columns_name(text):
    assert read(text) == text.strip("`") and names(text) == [text.strip("`")]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("age >=", "at character 7 of 'age >=': a column or a value is expected, not the end"),
        ("age = 3", "at character 5 of 'age = 3': write == for ="),
        ("a > 3 && b < 2", "write and for &&"),
        ("a + (b > 1)", "and, or, or the end is expected"),
        ("a > 1 and b + 2", "a comparison: <"),
        ("a in [b] or c > 1", "'b' is no value: a text stands in quotes"),
        ("1 < 2", "no column is compared"),
        ("day(when) > 3", "'day' is no part of a value: hour, weekday, month, length, lower, abs"),
        ("age >= 60)", "not ')'"),
        ("age # 3 > 2", "at character 5 of 'age # 3 > 2': '#' has no meaning here"),
        ("x == 12abc", "has no meaning here"),
        ("(" * 40 + "a > 1", "is nested more than 32 deep"),
        ("a > 1" + " or a > 1" * 300, "an expression has at most 2,000"),
        ("__import__('os') == 1", "is no part of a value"),
    ],
)
def test_what_cannot_be_read_says_where_and_why(text, said):
    with pytest.raises(ValueError) as e:
        read(text)
    assert said in str(e.value)
