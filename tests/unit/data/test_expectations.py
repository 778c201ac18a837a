"""A suite of Great Expectations, of 0.x and 1.x, is judged as its own rules are; what is not read is named."""

from __future__ import annotations

import contextlib
import json

import pyarrow as pa
import pytest

from sluice.core.errors import ProjectError
from sluice.data.config import DataConfig
from sluice.data.rules.compiled import load_rules
from sluice.data.rules.expectations import _READ, suite_rules
from sluice.data.rules.judge import judge
from sluice.data.stream import batches
from tests.unit.data.test_rules import write

TABLE = pa.table(
    {
        "id": [1, 2, 3, 3],
        "age": [20, 130, None, 40],
        "city": ["Oslo", "Rome", "Rom", None],
        "low": [1, 2, 3, 4],
        "high": [2, 1, 10, 4],
        "day": ["2026-01-01", "2026-01-02", "x", "2025-12-31"],
    }
)


def judged(tmp_path, *expectations, old=False, suffix="csv"):
    key = "expectation_type" if old else "type"
    listed = [{key: kind, "kwargs": args, "meta": {}, **more} for kind, args, more in expectations]
    (tmp_path / "suite.json").write_text(json.dumps({"name": "s", "expectations": listed, "meta": {"great_expectations_version": "1.3"}}))
    write(tmp_path / f"rows.{suffix}", TABLE)
    rules = load_rules(tmp_path / "suite.json", "data.schema_file")
    return judge(rules, batches(f"rows.{suffix}", DataConfig(source="x"), tmp_path))


# what is expected, how many rows break it
CASES = [
    ("expect_table_row_count_to_be_between", {"min_value": 5}, 4),
    ("expect_table_row_count_to_equal", {"value": 4}, 0),
    ("expect_column_to_exist", {"column": "nowhere"}, 4),
    ("expect_table_columns_to_match_ordered_list", {"column_list": ["id", "age", "city", "low", "high", "day"]}, 0),
    ("expect_table_columns_to_match_ordered_list", {"column_list": ["age", "id", "city", "low", "high", "day"]}, 4),
    ("expect_table_columns_to_match_set", {"column_set": ["id", "age"], "exact_match": False}, 0),
    ("expect_table_columns_to_match_set", {"column_set": ["id", "age"]}, 4),
    ("expect_column_values_to_not_be_null", {"column": "age"}, 1),
    ("expect_column_values_to_be_unique", {"column": "id"}, 1),
    ("expect_compound_columns_to_be_unique", {"column_list": ["id", "low"]}, 0),
    ("expect_column_values_to_be_between", {"column": "age", "min_value": 18, "max_value": 120}, 1),
    ("expect_column_values_to_be_between", {"column": "low", "min_value": 1, "strict_min": True}, 1),
    ("expect_column_values_to_be_between", {"column": "day", "min_value": "2026-01-01"}, 1),
    ("expect_column_values_to_be_in_set", {"column": "city", "value_set": ["Oslo", "Rome"]}, 1),
    ("expect_column_values_to_be_in_set", {"column": "id", "value_set": [1, 2]}, 2),
    ("expect_column_values_to_not_be_in_set", {"column": "city", "value_set": ["Rom"]}, 1),
    ("expect_column_values_to_match_regex", {"column": "city", "regex": "^Ro"}, 1),
    ("expect_column_values_to_match_regex", {"column": "city", "regex": "m"}, 1),
    ("expect_column_values_to_not_match_regex", {"column": "city", "regex": "m$"}, 1),
    ("expect_column_value_lengths_to_be_between", {"column": "city", "min_value": 4, "max_value": 4}, 1),
    ("expect_column_values_to_be_of_type", {"column": "age", "type_": "int64"}, 0),
    ("expect_column_values_to_be_of_type", {"column": "city", "type_": "FLOAT"}, 3),
    ("expect_column_values_to_match_strftime_format", {"column": "day", "strftime_format": "%Y-%m-%d"}, 1),
    ("expect_column_unique_value_count_to_be_between", {"column": "id", "min_value": 3, "max_value": 3}, 0),
    ("expect_column_mean_to_be_between", {"column": "low", "min_value": 2.4, "max_value": 2.6}, 0),
    ("expect_column_max_to_be_between", {"column": "age", "max_value": 100}, 4),
    ("expect_column_stdev_to_be_between", {"column": "low", "min_value": 1.29, "max_value": 1.3}, 0),
    ("expect_column_pair_values_a_to_be_greater_than_b", {"column_A": "high", "column_B": "low", "or_equal": True}, 1),
    ("expect_column_pair_values_a_to_be_greater_than_b", {"column_A": "high", "column_B": "low"}, 2),
    ("expect_column_distinct_values_to_contain_set", {"column": "city", "value_set": ["Oslo", "Paris"]}, 4),
    ("expect_multicolumn_sum_to_equal", {"column_list": ["low", "high"], "sum_total": 3}, 2),
]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize("old", [False, True])
def test_each_known_expectation_is_judged_as_it_means(tmp_path, suffix, old):
    found = judged(tmp_path, *((kind, args, {}) for kind, args, _ in CASES), old=old, suffix=suffix)
    assert not found.notes
    at = {int(f.setting.split(".")[2].split()[0]): 0 for f in found.findings}
    for f in found.findings:
        at[int(f.setting.split(".")[2].split()[0])] += f.broken if f.rule != "type time" else 0
    assert at == {i: n for i, (_, _, n) in enumerate(CASES)}


def test_mostly_and_severity(tmp_path):
    args = {"column": "city", "value_set": ["Oslo", "Rome"]}
    found = judged(tmp_path, ("expect_column_values_to_be_in_set", {**args, "mostly": 0.6}, {}))
    assert not found.refused and found.findings[0].broken == 1
    assert judged(tmp_path, ("expect_column_values_to_be_in_set", {**args, "mostly": 0.7}, {})).refused
    found = judged(tmp_path, ("expect_column_values_to_be_in_set", args, {"severity": "warning"}))
    assert [f.status for f in found.findings] == ["warn"]


def test_what_is_not_read_is_named_and_the_rest_judged(tmp_path):
    found = judged(
        tmp_path,
        ("expect_column_kl_divergence_to_be_less_than", {"column": "age"}, {}),
        ("expect_column_values_to_be_between", {"column": "age", "min_value": 0, "row_condition": "id > 1"}, {}),
        ("expect_column_values_to_be_between", {"column": "age", "min_value": {"$PARAMETER": "low"}}, {}),
        ("expect_column_values_to_match_regex", {"column": "city", "regex": "(?=x)"}, {}),
        ("expect_column_values_to_not_be_null", {"column": "id"}, {}),
    )
    assert len(found.findings) == 1
    for i, word in enumerate(["kl_divergence", "row_condition", "min_value is an evaluation parameter", "RE2"]):
        assert f"expectations.{i}" in found.notes[i] and word in found.notes[i]
    assert sum(c.status == "warn" for c in found.checks()) == 4


def test_a_suite_of_which_nothing_is_read_is_an_error(tmp_path):
    with pytest.raises(ProjectError, match="holds no expectation that is read"):
        judged(tmp_path, ("expect_nothing", {}, {}))


ARGUMENTS = {
    **dict.fromkeys(("column", "column_A", "column_B"), "age"),
    "column_list": ["age", "id"],
    "column_set": ["age"],
    "value_set": [1, 2],
    "regex_list": ["a"],
    "type_list": ["int"],
    "min_value": 0,
    "max_value": 5,
    "value": 3,
    "sum_total": 5,
    "regex": "^a",
    "type_": "int",
    "strftime_format": "%Y",
    "mostly": 0.9,
}


@pytest.mark.parametrize("kind", sorted(_READ))
def test_an_argument_of_a_wrong_shape_is_named_whatever_it_is(kind):
    for name in ARGUMENTS:
        for wrong in (None, [], {}, 5, -1, True, "", [None], [[]], {"x": [1]}):
            suite = {"expectations": [{"type": kind, "kwargs": ARGUMENTS | {name: wrong}, "severity": wrong}]}
            with contextlib.suppress(ProjectError):
                suite_rules(json.dumps(suite), "suite.json", ["age"])
    for wrong in (
        None,
        [],
        5,
        "x",
        {"expectations": 5},
        {"expectations": [5, None, []]},
        {"expectations": [{"type": [kind], "kwargs": []}]},
    ):
        with pytest.raises(ProjectError):
            suite_rules(json.dumps(wrong), "suite.json", [])
