"""Every check refuses what it should, with the rows and what to do, and passes what is sound."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pytest

from sluice.data.checks import validate
from sluice.data.config import Checks, Range, Split
from sluice.data.report import Check, Report

N = 200
RNG = np.random.default_rng(5)
SPLIT = Split(test=0.4)
KINDS = {"size": "numeric", "town": "categorical"}


def rows(n: int = N, start: int = 0, **columns: Any) -> pa.Table:
    rng = np.random.default_rng(start)
    base: dict[str, Any] = {
        "size": rng.normal(size=n),
        "town": rng.choice(["Rome", "Oslo", "Bonn"], n),
        "label": rng.choice(["a", "b", "c"], n),
    }
    return pa.table({**base, **columns})


def changed(column: str, at: dict[int, Any], n: int = N, start: int = 0) -> pa.Table:
    table = rows(n, start)
    values = table.column(column).to_pylist()
    for i, v in at.items():
        values[i] = v
    return table.set_column(table.schema.names.index(column), column, pa.array(values, table.schema.field(column).type))


def report(
    train: pa.Table, test: pa.Table | None = None, kinds: dict[str, str] | None = None, objective: str = "classification", **limits: Any
) -> Report:
    return validate(train, test, kinds=kinds or KINDS, objective=objective, checks=Checks(**limits), split=SPLIT)


def found(made: Report, name: str, status: str) -> Check:
    checks = [c for c in made.checks if (c.name, c.status) == (name, status)]
    assert checks, [(c.name, c.status, c.message) for c in made.checks]
    return checks[0]


def only(made: Report, name: str, status: str = "refuse") -> Check:
    """The one check that did not pass."""
    assert [c.name for c in made.checks if c.status != "pass"] == [name], [c for c in made.checks if c.status != "pass"]
    return found(made, name, status)


def test_sound_rows_pass_every_check() -> None:
    made = report(rows())
    assert made.decision == "pass" and made.reasons == [] and made.warnings == []
    assert {c.name for c in made.checks} >= {
        "schema",
        "rows",
        "nulls",
        "finite",
        "constant",
        "label_set",
        "one_class",
        "label_rows",
        "balance",
        "duplicates",
        "conflicts",
        "leakage",
        "split",
        "identifier",
        "predictive",
    }


def test_a_report_is_plain_json_with_all_a_page_needs() -> None:
    made = report(changed("size", {0: None}), rows(60, 9)).to_dict()
    assert orjson.loads(orjson.dumps(made)) == made
    assert made["rows"] == {"train": N, "test": 60}
    size, town, label = made["columns"]
    assert (size["name"], size["type"], size["rows"], size["nulls"], size["distinct"]) == ("size", "numeric", N, 1, N - 1)
    assert sum(size["histogram"]["counts"]) == N - 1 and len(size["histogram"]["edges"]) == len(size["histogram"]["counts"]) + 1
    assert {t["value"] for t in town["top"]} == {"Rome", "Oslo", "Bonn"} and sum(t["count"] for t in town["top"]) == N
    assert label["name"] == "label" and made["labels"] == {t["value"]: t["count"] for t in label["top"]}
    assert sum(made["test_labels"].values()) == 60
    for c in made["checks"]:
        assert set(c) == {"name", "status", "message", "column", "value", "limit", "examples"} and isinstance(c["examples"], list)


def test_refusals_stand_first() -> None:
    made = report(changed("label", {3: "once"}), rows_min=1000)
    assert [c.status for c in made.checks] == sorted((c.status for c in made.checks), key=["refuse", "warn", "pass"].index)
    assert made.decision == "refuse" and len(made.reasons) == 2


@pytest.mark.parametrize(
    "table, message",
    [
        (rows().drop_columns(["size"]), "column 'size' is missing"),
        (rows().drop_columns(["label"]), "column 'label' is missing"),
        (rows(size=RNG.integers(0, 9, N)), "column 'size' is int64, must be numbers"),
        (rows(town=RNG.normal(size=N)), "column 'town' is numbers, must be text"),
        (rows(label=RNG.normal(size=N)), "column 'label' is numbers, must be text"),
    ],
)
def test_schema(table: pa.Table, message: str) -> None:
    assert message in only(report(table), "schema").message
    assert "held-out rows: " + message in only(report(rows(), table), "schema").message


def test_too_few_rows() -> None:
    c = found(report(rows(9)), "rows", "refuse")
    assert "9 rows, at least 20" in c.message and (c.value, c.limit) == (9, 20)
    assert report(rows(0)).decision == "refuse"
    assert found(report(rows(), rows(0)), "rows", "refuse").message.startswith("0 held-out rows")
    assert found(report(rows(), rows(30, 9)), "rows", "warn").message.startswith("30 held-out rows")


def test_labels_that_are_missing_are_refused_with_their_rows() -> None:
    c = only(report(changed("label", {4: None, 7: None}), nulls_max=0.0), "nulls")
    assert c.message.startswith("2 rows (1 %) have no label (null), allowed are 0 %") and c.column == "label"
    assert c.examples == ("row 5", "row 8") and (c.value, c.limit) == (0.01, 0.0)
    assert only(report(rows(), changed("label", {0: None}, 100, 3), nulls_max=0.0), "nulls").message.startswith(
        "held-out rows: 1 row (1 %) has no label"
    )


def test_missing_labels_within_the_limit_are_left_out_with_a_warning() -> None:
    made = report(changed("label", {4: None}), nulls_max=0.01)
    assert made.decision == "pass" and "1 row (0.5 %) has no label (null), and is left out" in only(made, "nulls", "warn").message


def test_noise_is_a_warning_with_its_figures_until_a_limit_is_declared() -> None:
    made = report(changed("label", {4: None, 7: None}))
    assert made.decision == "pass"
    assert only(made, "nulls", "warn").message == "2 rows (1 %) have no label (null), and are left out; data.checks.nulls_max sets a limit"
    assert (
        "no label (null), there is nothing to learn from"
        in found(report(changed("label", dict.fromkeys(range(N)))), "nulls", "refuse").message
    )
    gaps = report(changed("size", dict.fromkeys(range(120))))
    assert (
        gaps.decision == "pass" and "1 column misses more than half of the values (null): size 60 %" in found(gaps, "nulls", "warn").message
    )
    twin = changed("label", {})
    other = twin.set_column(2, "label", pa.array([{"a": "b", "b": "c", "c": "a"}[v] for v in twin.column("label").to_pylist()]))
    noisy = report(pa.concat_tables([twin, other.slice(0, 20)]))
    assert noisy.decision == "pass" and "40 rows (18.2 %)" in found(noisy, "conflicts", "warn").message
    c = found(noisy, "duplicates", "warn")
    assert "40 rows (18.2 %) are duplicates" in c.message and "200 rows are left without the repeats" in c.message and c.limit is None


def test_a_feature_with_too_many_gaps_is_refused() -> None:
    c = found(report(changed("size", dict.fromkeys(range(120))), feature_nulls_max=0.5), "nulls", "refuse")
    assert "1 column misses too many values (null), allowed are 50 %: size 60 %" in c.message
    assert found(report(changed("size", dict.fromkeys(range(90)))), "nulls", "pass").value == 0.45
    both = rows(size=pa.nulls(N, pa.float64()), town=pa.nulls(N, pa.string()))
    assert "2 columns miss too many values" in found(report(both, feature_nulls_max=1.0), "nulls", "refuse").message


def test_numbers_no_model_can_compute_with_are_refused() -> None:
    c = only(report(changed("size", {5: float("inf"), 6: -1e39})), "finite")
    assert "2 numbers that are infinite" in c.message and c.examples == ("row 6: inf", "row 7: -1e+39")
    targets = changed("size", {}).drop_columns(["label"]).append_column("label", pa.array([*RNG.normal(size=N - 1), float("-inf")]))
    assert found(report(targets, objective="regression"), "finite", "refuse").column == "label"


def test_ranges() -> None:
    good = {"size": Range(min=-10.0, max=10.0)}
    assert report(rows(), ranges=good).decision == "pass"
    c = only(report(changed("size", {8: 11.0}), ranges=good), "ranges")
    assert (
        "1 value of 'size' outside its range [-10, 10]" in c.message and c.examples == ("row 9: 11.0",) and (c.value, c.limit) == (11, 10)
    )
    assert "held-out" in only(report(rows(), changed("size", {8: -11.0}, 100, 3), ranges=good), "ranges").message
    assert report(changed("size", {8: None}), ranges=good).decision == "pass", "what is missing is in no range"
    assert "'sizes', which is no feature; did you mean 'size'" in only(report(rows(), ranges={"sizes": Range(min=0.0)}), "ranges").message
    assert "which is categorical, not numeric" in only(report(rows(), ranges={"town": Range(min=0.0)}), "ranges").message


def test_declared_labels() -> None:
    assert report(rows(), labels=["a", "b", "c"]).decision == "pass"
    c = found(report(changed("label", {3: "aa", 4: "aa"}), labels=["a", "b", "c"]), "label_set", "refuse")
    assert "1 label not declared in data.checks.labels: 'aa' (did you mean 'a'?)" in c.message and c.examples == (
        "row 4: 'aa'",
        "row 5: 'aa'",
    )
    assert (
        "held-out rows" in found(report(rows(), changed("label", {3: "d"}, 100, 3), labels=["a", "b", "c"]), "label_set", "refuse").message
    )
    assert "1 declared label without a row: z" in only(report(rows(), labels=["a", "b", "c", "z"]), "label_set", "warn").message


def test_a_label_seen_once() -> None:
    c = found(report(changed("label", {10: "d"})), "label_rows", "refuse")
    assert "1 label with fewer than 2 rows: 'd' (once)" in c.message and c.examples == ("row 11: 'd'",) and (c.value, c.limit) == (1, 2)


def test_all_one_class() -> None:
    c = only(report(rows(label=["a"] * N)), "one_class")
    assert "every row has the label 'a'" in c.message
    same = rows().drop_columns(["label"]).append_column("label", pa.array([3.0] * N))
    assert "every label is 3" in only(report(same, objective="regression"), "one_class").message


def test_balance() -> None:
    lopsided = rows(label=["a"] * (N - 2) + ["b", "b"])
    c = only(report(lopsided, imbalance_max=50.0), "balance")
    assert "'a' has 99 times the rows of 'b' (198 and 2), allowed are 50 times" in c.message
    assert found(report(lopsided, imbalance_max=500.0), "balance", "warn").value == 99


def test_labels_written_in_several_ways_or_meaning_none_are_warned_of() -> None:
    c = only(report(changed("label", {1: "A ", 2: "A "})), "spelling", "warn")
    assert "'A ' = 'a'" in c.message
    c = only(report(changed("label", {1: "N/A", 2: "N/A"})), "spelling", "warn")
    assert "'N/A' is taken for a label" in c.message and c.examples == ("row 2: 'N/A'", "row 3: 'N/A'")


def test_duplicates() -> None:
    repeated = rows().take(pa.array(list(range(40)) * 5))
    c = only(report(repeated, duplicates_max=0.5), "duplicates")
    assert "200 rows (100 %) are duplicates" in c.message and "40 rows are left without the repeats" in c.message and c.value == 1.0
    assert c.examples == ("5 times the same: row 1 = row 41 = row 81 = row 121 = ...",)
    few = pa.concat_tables([rows(), rows().slice(0, 1)])
    assert "2 rows (0.995 %)" in found(report(few, duplicates_max=0.5), "duplicates", "pass").message


def test_conflicting_labels() -> None:
    twin = changed("label", {})
    other = twin.set_column(2, "label", pa.array([{"a": "b", "b": "c", "c": "a"}[v] for v in twin.column("label").to_pylist()]))
    c = only(report(pa.concat_tables([twin, other.slice(0, 20)]), conflicts_max=0.05, duplicates_max=0.5), "conflicts")
    assert "40 rows (18.2 %) have the features of a row with another label" in c.message
    assert len(c.examples) == 2 and c.examples[0].startswith("row 1: ") and c.examples[1].startswith("row 201: ")
    assert only(
        report(pa.concat_tables([twin, other.slice(0, 2)]), conflicts_max=0.05, duplicates_max=0.5), "conflicts", "warn"
    ).value == pytest.approx(4 / 202)


def test_quantities_may_differ_for_equal_features_with_a_warning() -> None:
    once = rows().drop_columns(["label"]).append_column("label", pa.array(RNG.normal(size=N)))
    twice = pa.concat_tables([once, once.drop_columns(["label"]).append_column("label", pa.array(RNG.normal(size=N)))])
    made = report(twice, objective="regression", duplicates_max=1.0)
    assert made.decision == "pass" and only(made, "conflicts", "warn").value == 1.0


def test_held_out_rows_that_are_training_rows() -> None:
    leaky = pa.concat_tables([rows(98, 9), rows().slice(10, 2)])
    c = only(report(rows(), leaky), "leakage")
    assert "2 held-out rows (2 %) are training rows too, allowed are 1 %" in c.message
    assert c.examples == ("row 99 = row 11", "row 100 = row 12")
    assert found(report(rows(), leaky, leakage_max=0.02), "leakage", "warn").value == 0.02
    assert report(rows(), rows(100, 9)).decision == "pass"


def test_labels_of_held_out_rows_that_are_not_trained() -> None:
    c = found(report(rows(), changed("label", {2: "new"}, 100, 9)), "unseen_labels", "refuse")
    assert "1 label of held-out rows without a training row: 'new'" in c.message and c.examples == ("row 3: 'new'",)
    never = rows(100, 9).set_column(2, "label", pa.array(["a", "b"] * 50))
    assert "1 label without a held-out row: 'c'" in found(report(rows(), never), "unseen_labels", "warn").message


def test_a_split_that_cannot_be_made() -> None:
    made = validate(rows(), None, kinds=KINDS, objective="classification", checks=Checks(), split=Split(test=0.0))
    assert "leaves no rows to test on" in only(made, "split").message
    assert "too few to measure a model well" in only(report(rows(60)), "split", "warn").message


def test_constant_columns_are_warned_of() -> None:
    made = report(rows(town=["Rome"] * N))
    assert made.decision == "pass" and "1 column with one value only: town" in only(made, "constant", "warn").message


@pytest.mark.parametrize(
    "column",
    [
        np.arange(N, dtype=float),
        1000 + np.cumsum(RNG.integers(1, 9, N)).astype(float),
        RNG.permutation(N).astype(float),
        [f"id-{i}" for i in range(N)],
    ],
    ids=["row number", "rising", "shuffled", "strings"],
)
def test_identifiers_are_warned_of(column: Any) -> None:
    kind = "categorical" if isinstance(column, list) else "numeric"
    made = report(rows(key=pa.array(column)), kinds={**KINDS, "key": kind})
    assert (
        made.decision == "pass"
        and "1 column with another value in nearly every row, like a number or name the row is known by: key"
        in (said := only(made, "identifier", "warn").message)
    )
    assert "what is measured or counted may stay" in said, "no advice to throw an amount away"


def test_a_label_that_is_the_sum_of_columns_is_warned_of_and_one_that_they_tell_about_is_not() -> None:
    a, b = (RNG.permutation(1000)[:N].astype(float) for _ in range(2))
    kinds = {"a": "numeric", "b": "numeric"}
    made = report(pa.table({"a": a, "b": b, "label": a + b}), kinds=kinds, objective="regression")
    assert only(made, "computed", "warn").examples == ("a", "b")
    near = report(pa.table({"a": a, "b": b, "label": a + 0.5 * b}), kinds=kinds, objective="regression")
    assert all(c.name != "computed" for c in near.checks)


def test_free_text_is_no_identifier_and_the_advice_is_another() -> None:
    made = report(rows(note=[f"the customer of row {i} called twice" for i in range(N)]), kinds={**KINDS, "note": "categorical"})
    said = only(made, "identifier", "warn").message
    assert "1 column of free text: note" in said and "task: text" in said and "ignore" not in said


def test_whole_numbers_that_repeat_or_fractions_are_no_identifiers() -> None:
    table = rows(age=RNG.integers(18, 90, N).astype(float), price=np.sort(RNG.normal(size=N)))
    assert report(table, kinds={**KINDS, "age": "numeric", "price": "numeric"}).warnings == []


@pytest.mark.parametrize("kind", ["categorical", "numeric"])
def test_a_column_that_gives_the_label_away_is_warned_of(kind: str) -> None:
    label = rows().column("label").to_pylist()
    values = [f"code-{v}" for v in label] if kind == "categorical" else [float("abc".index(v)) + RNG.random() / 2 for v in label]
    made = report(rows(outcome=pa.array(values)), kinds={**KINDS, "outcome": kind})
    c = only(made, "predictive", "warn")
    assert made.decision == "pass" and c.column == "outcome" and "1 column nearly gives the label away alone: outcome (100 %)" in c.message


def test_a_useful_column_is_not_warned_of() -> None:
    label = rows().column("label").to_pylist()
    noisy = [v if i % 10 else "b" for i, v in enumerate(label)]
    assert report(rows(hint=pa.array(noisy)), kinds={**KINDS, "hint": "categorical"}).warnings == []


def test_a_file_sorted_by_label_gives_nothing_away() -> None:
    score = [float(i % 12) for i in range(N)]
    table = pa.table({"size": RNG.normal(size=N), "score": score, "label": ["a"] * (N // 2) + ["b"] * (N // 2)})
    assert report(table, kinds={"size": "numeric", "score": "numeric"}).warnings == []


def test_a_rare_label_that_a_column_gives_away_is_warned_of() -> None:
    label = ["rare" if i % 10 == 0 else "a" for i in range(N)]
    fee = [RNG.random() + (5 if v == "rare" else 0) for v in label]
    table = pa.table({"size": RNG.normal(size=N), "fee": fee, "label": label})
    assert only(report(table, kinds={"size": "numeric", "fee": "numeric"}), "predictive", "warn").column == "fee"


def test_a_quantity_that_another_column_repeats_is_warned_of() -> None:
    y = RNG.normal(size=N)
    table = rows(copy=3 * y + 1).drop_columns(["label"]).append_column("label", pa.array(y))
    made = report(table, kinds={**KINDS, "copy": "numeric"}, objective="regression")
    assert only(made, "predictive", "warn").column == "copy"


def test_categories_that_are_mostly_numbers_are_warned_of() -> None:
    values = [str(i % 9) for i in range(N)]
    values[5:15] = ["many"] * 10
    c = only(report(rows(count=values), kinds={**KINDS, "count": "categorical"}), "mixed", "warn")
    assert "'count' is read as categories, though 95 % of its values are numbers" in c.message and c.examples[0] == "row 6: 'many'"


def test_held_out_rows_distributed_otherwise_are_warned_of() -> None:
    moved = rows(100, 9).set_column(0, "size", pa.array(RNG.normal(2.0, size=100)))
    c = only(report(rows(), moved), "shift", "warn")
    assert c.column == "size" and "distributed otherwise in 1 column: size" in c.message
    for start in range(10, 30):
        assert found(report(rows(), rows(100, start)), "shift", "pass")


def test_few_held_out_rows_differ_by_chance_and_are_not_warned_of() -> None:
    for start in range(40, 60):
        assert found(report(rows(60, start), rows(50, 100 + start)), "shift", "pass")


def test_a_plugins_own_kind_of_feature_is_checked_as_far_as_it_is_known() -> None:
    table = pa.table({"wave": pa.array(RNG.normal(size=(N, 3)).tolist(), pa.list_(pa.float64())), "label": rows().column("label")})
    made = report(table, kinds={"wave": "audio"})
    assert made.decision == "pass" and made.columns[0]["type"] == "audio"
    assert report(pa.concat_tables([table.slice(0, 10)] * 20), kinds={"wave": "audio"}, duplicates_max=0.5).decision == "refuse"


def test_ugly_values_break_no_check() -> None:
    table = rows(
        size=np.resize([0.0, -0.0, 1e-320, 3e38, -3e38, np.nan, 1.0, 2**60], N), town=np.resize(["", "'", "\n", "Ünïcode", "x" * 9999], N)
    )
    made = report(table, duplicates_max=1.0, conflicts_max=1.0)
    assert made.decision == "pass"
    orjson.dumps(made.to_dict())
