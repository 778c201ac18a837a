"""A project's file of rules: what it declares is judged in batches, and each row that breaks a rule is counted and named."""

from __future__ import annotations

import datetime
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sluice.core.errors import ProjectError
from sluice.data import stream
from sluice.data.config import DataConfig
from sluice.data.rules import hashing
from sluice.data.rules.compiled import load_rules, schema_rules
from sluice.data.rules.expressions import Expression
from sluice.data.rules.inferred import infer_schema
from sluice.data.rules.judge import judge
from sluice.data.rules.schema import parse_schema
from sluice.data.rules.sources import judged_sources
from sluice.data.stream import batches


def found(tmp_path, yaml, table, suffix="csv", secret=()):
    """Findings by the end of their setting, of a table written as a file."""
    path = tmp_path / f"rows.{suffix}"
    write(path, table)
    rules = schema_rules(parse_schema(yaml, "s.yaml"), "s.yaml", secret)
    judged = judge(rules, batches(path.name, DataConfig(source=path.name), tmp_path, asked=rules.readings))
    return {f.setting.removeprefix("s.yaml: "): f for f in judged.findings}


def write(path, table):
    if path.suffix == ".parquet":
        pq.write_table(table, path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(r, default=str) + "\n" for r in table.to_pylist()))
    else:
        rows = [table.schema.names, *([("" if v is None else v) for v in r.values()] for r in table.to_pylist())]
        path.write_text("\n".join(",".join(map(str, r)) for r in rows) + "\n")


TABLE = pa.table(
    {
        "id": [1, 2, 3, 3, 5],
        "age": [20, 130, None, 40, 17],
        "city": ["Oslo", "Rome", "Rom", None, "Oslo"],
        "code": ["AB1", "ab1", "AB12", "XY9", None],
        "start": ["2026-01-01", "2026-01-02", "2026-01-03", "2026-01-04", None],
        "end": ["2026-01-05", "2026-01-01", "2026-01-03", None, "2026-01-01"],
        "paid": ["true", "no", "maybe", "TRUE", None],
    }
)


@pytest.mark.parametrize("suffix", ["csv", "parquet", "jsonl"])
def test_each_rule_counts_the_rows_that_break_it_and_names_the_first(tmp_path, suffix):
    yaml = """
columns:
  id: {type: integer, unique: true, nulls_max: 0}
  age: {type: integer, min: 18, max: 100, nulls_max: 0.1}
  city: {type: text, values: [Oslo, Rome]}
  code: {type: text, regex: "[A-Z]{2}[0-9]", length_max: 3}
  start: {type: time, above: "2026-01-01"}
  end: {type: time}
unique: [[id, city]]
expressions: [end >= start, "age < 100 or city == 'Rome'"]
"""
    f = found(tmp_path, yaml, TABLE, suffix)
    broken = {k: (v.broken, [e["row"] for e in v.examples]) for k, v in f.items() if v.status == "refuse"}
    assert broken == {
        "columns.id.unique": (1, [4]),
        "columns.age.nulls_max": (1, [3]),
        "columns.age.min": (1, [5]),
        "columns.age.max": (1, [2]),
        "columns.city.values": (1, [3]),
        "columns.code.regex": (2, [2, 3]),
        "columns.code.length_min, length_max": (1, [3]),
        "columns.start.above": (1, [1]),
        "expressions.0": (1, [2]),
    }
    assert f["columns.age.max"].rows == 4, "what is missing is not asked"
    assert f["columns.age.max"].examples[0]["value"] in (130, "130")
    assert f["columns.id.unique"].examples[0]["where"] == f"rows.{suffix} row 4 repeats rows.{suffix} row 3"
    assert "change s.yaml: columns.age.max" in f["columns.age.max"].message
    assert f["unique.0"].status == "pass" and f["expressions.1"].status == "pass"


def test_what_cannot_be_read_as_its_type_is_a_broken_rule_not_an_error(tmp_path):
    f = found(tmp_path, "columns: {paid: {type: boolean}, city: {type: number}, age: {type: text}}", TABLE)
    assert (f["columns.paid.type"].broken, f["columns.paid.type"].examples[0]["value"]) == (1, "maybe")
    assert f["columns.city.type"].broken == 4
    assert f["columns.age.type"].status == "pass"
    f = found(tmp_path, "columns: {age: {type: text}, id: {type: time, form: s}}", TABLE, "parquet")
    assert f["columns.age.type"].broken == 4


def test_numbers_are_read_as_the_project_says_they_are_written(tmp_path):
    (tmp_path / "rows.csv").write_text("x;y\n1.234,5;a\n2,5;b\nthree;c\n")
    (tmp_path / "s.yaml").write_text("columns: {x: {type: number, max: 1000}}")
    data = DataConfig(source="rows.csv", schema_file="s.yaml", numbers={"decimal": ",", "thousands": "."})
    ruled = judged_sources(data, tmp_path, None)
    assert {f.rule: (f.broken, f.examples[0]["row"]) for f in ruled.train.findings if f.broken} == {
        "type number": (1, 3),
        "max 1000": (1, 1),
    }
    assert ruled.alone().decision == "refuse" and len(ruled.alone().rules) == 3


def test_a_tolerance_lets_a_fraction_pass_and_no_more(tmp_path):
    table = pa.table({"x": [0] * 95 + [9] * 5})
    assert found(tmp_path, "columns: {x: {max: 5, tolerance: 0.05}}", table)["columns.x.max"].status == "pass"
    assert found(tmp_path, "columns: {x: {max: 5, tolerance: 0.04}}", table)["columns.x.max"].status == "refuse"


def test_values_of_a_sensitive_column_are_in_no_finding(tmp_path):
    yaml = "columns: {code: {regex: '[A-Z]{3}', type: text}, city: {type: text}}\nexpressions: ['code == city']"
    f = found(tmp_path, yaml, TABLE, secret=["code"])
    assert f["columns.code.regex"].broken == 4 and f["expressions.0"].broken == 3
    assert not any(word in json.dumps([x.to_dict() for x in f.values()]) for word in ("AB1", "ab1", "XY9"))


def test_columns_that_are_missing_or_not_declared_are_named(tmp_path):
    f = found(tmp_path, "only: true\ncolumns: {id: {}, aeg: {}, city: {}, more: {required: false}}", TABLE)["columns"]
    assert f.status == "refuse"
    assert "misses 'aeg' (it has 'age')" in f.message and "has 'age', 'code', 'start', 'end', 'paid'" in f.message


def test_rows_and_freshness(tmp_path):
    now = datetime.datetime.now()
    fresh = pa.table({"at": [(now - datetime.timedelta(days=d)).isoformat(timespec="seconds") for d in (3, 9)]})
    yaml = "rows_min: {0}\ncolumns: {{at: {{type: time}}}}\nfreshness: [{{column: at, max_age: {1}}}]"
    f = found(tmp_path, yaml.format(2, "4d"), fresh)
    assert {k: v.status for k, v in f.items() if k.startswith(("rows", "fresh"))} == {
        "rows_min, rows_max": "pass",
        "freshness.0.max_age": "pass",
    }
    f = found(tmp_path, yaml.format(3, "2d"), fresh)
    assert f["rows_min, rows_max"].status == f["freshness.0.max_age"].status == "refuse"
    assert "3.0 days old" in f["freshness.0.max_age"].message
    ahead = pa.table({"at": [*fresh["at"].to_pylist(), "2999-01-01"]})
    f = found(tmp_path, yaml.format(2, "2d"), ahead)["freshness.0.max_age"]
    assert f.status == "refuse" and "3.0 days old (1 row more than a day ahead" in f.message


def test_batches_of_any_size_tell_the_same_and_repeats_across_them_are_found(tmp_path, monkeypatch):
    monkeypatch.setattr(stream, "ROWS", 7)
    x = np.arange(100)
    x[63] = 5
    table = pa.table({"x": x, "y": [None if i % 10 == 0 else "a" for i in range(100)]})
    f = found(tmp_path, "columns: {x: {type: integer, unique: true, max: 90}, y: {nulls_max: 0.05}}", table)
    assert (f["columns.x.unique"].broken, f["columns.x.unique"].examples[0]["row"]) == (1, 64)
    assert "row 64 repeats rows.csv row 6" in f["columns.x.unique"].message
    assert (f["columns.x.max"].broken, f["columns.x.max"].examples[0]["row"]) == (9, 92)
    assert f["columns.y.nulls_max"].broken == 10


def test_repeats_are_found_when_hashes_go_to_disk_and_columns_of_any_type_are_hashed():
    rng = np.random.default_rng(3)
    x = rng.permutation(5000)
    x[4321] = x[17]
    columns = [pa.chunked_array([x]), pa.chunked_array([[str(v) for v in x]]), pa.chunked_array([[bytes([v % 256]) for v in x]])]
    seen = hashing.Seen(held=1000)
    for at in range(0, 5000, 500):
        seen.add([c.slice(at, 500) for c in columns], at)
    assert seen.repeats(5) == (1, [(4321, 17)], 4999)
    seen.close()
    same = hashing.hashes([pa.chunked_array([[1, 0, None]])]), hashing.hashes([pa.chunked_array([[1.0, -0.0, None]])])
    assert (same[0][0] == same[1][0]).all() and (same[0][1] == same[1][1]).all()


@pytest.mark.parametrize(
    ("text", "false"),
    [
        ("a < b", [False, True, False]),
        ("a + 1 == b", [True, True, False]),
        ("not null(a)", [False, False, True]),
        ("a in [1, 3] and b > 0", [False, False, True]),
        ("0 < a < 3", [False, True, False]),
        ("length(t) == 1", [False, True, False]),
        ("a / 2 != 1.5 or lower(t) == 'bb'", [False, False, False]),
        ("col('a') >= 2", [True, False, False]),
        ("`a` is not missing or t == '`a`'", [False, False, False]),
        ("a is not missing", [False, False, True]),
        ("abs(a - b) <= 1", [True, False, False]),
        ("(a + b) * 2 == 12 or -a < -2", [False, False, False]),
        ("hour(w) < 6 and weekday(w) != 'Sunday'", [False, True, False]),
        ("w >= '2026-11-29'", [False, True, False]),
        ("f == true", [False, True, False]),
    ],
)
def test_expressions_are_those_of_sql(text, false):
    times = pa.array([datetime.datetime(2026, 11, 30, 5), datetime.datetime(2026, 11, 1, 5), None], pa.timestamp("us"))
    columns = {"a": [1, 3, None], "b": [5, 2, 0], "t": ["x", "BB", None], "w": times, "f": [True, False, None]}
    assert Expression(text, "f").false(lambda n: pa.chunked_array([columns[n]]), 3).tolist() == false


def test_values_of_two_kinds_are_not_compared():
    with pytest.raises(ProjectError, match="f: 't' holds texts, 'a' numbers"):
        Expression("t == a", "f").false(lambda n: pa.chunked_array([{"a": [1], "t": ["x"]}[n]]), 1)


@pytest.mark.parametrize(
    "text",
    ["__import__('os')", "a[0] == 1", "(lambda: a)()", "f(a)", "a ==", "1 < 2", "a if b else c", "x" * 3000, "[a] == 1", "("],
)
def test_an_expression_reaches_nothing_but_columns(text):
    with pytest.raises(ProjectError):
        Expression(text, "f")


@pytest.mark.parametrize(
    ("yaml", "said"),
    [
        ("columns: {a: {type: number, min: '3'}}", "without quotes"),
        ("columns: {a: {type: text, min: 3}}", "min is for numbers and times"),
        ("columns: {a: {type: number, min: 3, regex: x}}", "declare type: text"),
        ("columns: {a: {type: text, regex: '(?=x)'}}", "RE2"),
        ("columns: {a: {type: number, min: yes}}", "min"),
        ("columns: {a: {typ: text}}", "columns.a.typ: unknown key"),
        ("columns: {a: {values: [1, x], type: number}}", "values holds 'x'"),
        ("columns: {a: {type: time}}\nfreshness: [{column: a, max_age: soon}]", "36h"),
        ("columns: {a: {}}\nfreshness: [{column: b, max_age: 1d}]", "not declared"),
        ("columns: {a: {}}\nexpressions: [a < bb]", "declare it under columns"),
        ("columns: {total: {}, net: {}}\nexpressions: [total-net > 0]", "a difference has blanks: total - net"),
        ("columns: {a: {}}\nexpressions: [a]", "expressions.0: is no expression: it cannot be read at character 2 of 'a': a comparison"),
        ("columns: {a: {form: '%Q', type: time}}", "form"),
        ("version: 2", "version"),
        ("[1]", "mapping"),
    ],
)
def test_a_wrong_file_is_refused_with_what_is_wrong(yaml, said):
    with pytest.raises(ProjectError, match=r"s\.yaml") as e:
        parse_schema(yaml, "s.yaml")
    assert said in str(e.value) and "sluice schema" not in str(e.value)


def test_a_file_that_is_not_there_says_how_to_make_one(tmp_path):
    with pytest.raises(ProjectError, match="sluice data infer"):
        load_rules(tmp_path / "no.yaml", "data.schema_file")


def test_what_is_read_off_rows_is_a_file_that_these_rows_pass_and_others_do_not(tmp_path):
    rng = np.random.default_rng(0)
    n = 300
    table = pa.table(
        {
            "id": np.arange(n),
            "x": np.where(rng.random(n) < 0.1, np.nan, rng.normal(size=n)),
            "city": rng.choice(["Oslo", "Rome"], n).tolist(),
            "secret": [f"s{i}" for i in range(n)],
            "label": rng.choice(["yes", "no"], n).tolist(),
            "flag": rng.integers(0, 2, n),
        }
    )
    text = infer_schema(table, "rows\n.csv", label="label", secret=["secret"])
    assert "s17" not in text and "\n.csv" not in text
    f = found(tmp_path, text, table)
    assert all(v.status == "pass" for v in f.values()) and len(f) > 12
    rules = parse_schema(text, "s.yaml").columns
    assert (rules["id"].unique, rules["city"].values, rules["flag"].values) == (True, ["Oslo", "Rome"], [0, 1])
    assert rules["secret"].model_dump(exclude_defaults=True) == {"type": "text", "nulls_max": 0}
    worse = table.set_column(2, "city", [["Rom", *table["city"].to_pylist()[1:]]]).set_column(0, "id", [[1, *range(1, n)]])
    f = found(tmp_path, text, worse)
    assert {k for k, v in f.items() if v.status == "refuse"} == {"columns.city.values", "columns.id.unique"}
