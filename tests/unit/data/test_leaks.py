"""Columns that know the label: on another scale, in bands, in what several classes have in common."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from sluice.data.checks import validate
from sluice.data.config import Checks, Split
from sluice.data.report import Check

R = np.random.default_rng(4)
WEIGHT = R.lognormal(8, 0.3, 300)
SPECIES = R.choice(["cat", "dog", "lion", "trout", "perch"], 300)


def found(columns: dict, kinds: dict[str, str], objective: str) -> dict[str, Check]:
    report = validate(pa.table(columns), None, kinds=kinds, objective=objective, checks=Checks(), split=Split())
    return {c.name: c for c in report.checks}


def quantity(name: str, values) -> dict[str, Check]:
    kind = "numeric" if np.asarray(values).dtype.kind == "f" else "categorical"
    x = R.normal(size=len(WEIGHT))
    return found({"x": x, name: values, "label": WEIGHT[: len(values)]}, {"x": "numeric", name: kind}, "regression")


@pytest.mark.parametrize("values", [np.log(WEIGHT), -1 / WEIGHT, WEIGHT**5], ids=["log", "inverse", "power"])
def test_the_label_on_another_scale_gives_it_away(values):
    made = quantity("other", values)
    assert made["predictive"].examples == ("other",) and made["predictive"].status == "warn"


def test_a_noisy_version_of_the_label_is_something_to_learn_from():
    made = quantity("other", np.log(WEIGHT) + R.normal(scale=0.02, size=300))
    assert made["predictive"].status == "pass" and "derived" not in made


@pytest.mark.parametrize(
    "values",
    [np.where(WEIGHT < 2500, "low", "normal"), (WEIGHT < 2500).astype(float), np.digitize(WEIGHT, [2000, 3000, 4000]).astype(float)],
    ids=["words", "flag", "bands"],
)
def test_bands_of_a_quantity_are_the_label_told_more_coarsely(values):
    made = quantity("band", values)
    assert made["derived"].examples == ("band",)
    assert "each value standing for ranges of the label of its own: band" in made["derived"].message
    assert "data.columns.ignore" in made["derived"].message


def test_a_flag_that_is_often_right_is_none():
    flag = np.where(WEIGHT < 2500, "low", "normal")
    flag[:9] = "low"
    assert "derived" not in quantity("band", flag)


def test_a_flag_of_a_single_row_tells_nothing_even_if_it_is_the_largest():
    flag = np.where(WEIGHT.max() == WEIGHT, "yes", "no")
    assert "derived" not in quantity("largest", flag)


def test_a_column_whose_values_share_one_value_of_the_label_is_none():
    y = np.repeat([0.0, 1.0], 150)
    made = found(
        {"x": R.normal(size=300), "code": np.where(np.arange(300) < 100, "a", "b"), "label": y},
        {"x": "numeric", "code": "categorical"},
        "regression",
    )
    assert "derived" not in made


@pytest.mark.parametrize("shown", ["words", "flag"])
def test_what_several_classes_have_in_common_is_the_label_told_more_coarsely(shown):
    mammal = np.isin(SPECIES, ["cat", "dog", "lion"])
    values = np.where(mammal, "mammal", "fish") if shown == "words" else mammal.astype(float)
    kind = "categorical" if shown == "words" else "numeric"
    made = found({"x": R.normal(size=300), "order": values, "label": SPECIES}, {"x": "numeric", "order": kind}, "classification")
    assert made["derived"].examples == ("order",) and "labels of its own" in made["derived"].message
    values = np.where(R.random(300) < 0.1, values[::-1], values)  # what is only mostly so is a feature
    made = found({"x": R.normal(size=300), "order": values, "label": SPECIES}, {"x": "numeric", "order": kind}, "classification")
    assert "derived" not in made


def test_two_labels_have_nothing_in_common_that_is_not_one_of_them():
    label = R.choice(["a", "b"], 300)
    made = found(
        {"x": R.normal(size=300), "told": np.char.upper(label), "label": label}, {"x": "numeric", "told": "categorical"}, "classification"
    )
    assert made["predictive"].examples == ("told",) and "derived" not in made


def test_one_row_far_out_makes_no_column_a_leak():
    label, other = WEIGHT.copy(), R.normal(size=300)
    label[7], other[7] = 1e9, 1e6  # its values alone correlate by more than 0.999
    made = found({"x": R.normal(size=300), "other": other, "label": label}, {"x": "numeric", "other": "numeric"}, "regression")
    assert np.corrcoef(label, other)[0, 1] > 0.9999 and made["predictive"].status == "pass"


def test_a_last_row_that_is_the_sum_of_the_others_is_told_and_makes_no_column_a_leak():
    bill, tip = R.uniform(3, 50, 200).round(2), R.uniform(1, 8, 200).round(2)
    kinds = {"bill": "numeric", "size": "numeric"}
    size = R.integers(1, 6, 200).astype(float)

    def made(last: tuple[float, float, float]) -> dict[str, Check]:
        table = {"bill": [*bill, last[0]], "size": [*size, last[1]], "label": [*tip, last[2]]}
        return found(table, kinds, "regression")

    told = made((bill.sum(), float("nan"), tip.sum()))
    assert "the last row (row 201) is the sum of the others in bill, the label" in told["total"].message
    assert told["predictive"].status == "pass", "one row far out makes no column the label"
    assert "total" not in made((20.0, 2.0, 3.0))
    assert "total" not in made((20.0, size.sum(), 3.0)), "one of several numbers is the sum by chance"


MARKS = R.uniform(0, 100, (300, 3))
PARTS = {f"part{i}": MARKS[:, i] for i in range(3)}


@pytest.mark.parametrize(
    "label",
    [MARKS.mean(axis=1), MARKS.mean(axis=1).round(1), MARKS.mean(axis=1).round(), MARKS.sum(axis=1), MARKS.sum(axis=1).round(1)],
    ids=["mean", "mean to a tenth", "mean to a whole", "sum", "sum to a tenth"],
)
def test_a_mean_or_sum_of_columns_is_computed_from_them(label):
    kinds = {**dict.fromkeys(PARTS, "numeric"), "other": "numeric"}
    made = found({**PARTS, "other": R.normal(size=300), "label": label}, kinds, "regression")
    assert made["computed"].examples == ("part0", "part1", "part2")


@pytest.mark.parametrize("weights", [(0.5, 0.3, 0.2), (0.33, 0.33, 0.4)], ids=["weighted", "nearly alike"])
def test_other_weights_are_what_a_model_learns(weights):
    made = found({**PARTS, "label": MARKS @ weights}, dict.fromkeys(PARTS, "numeric"), "regression")
    assert "computed" not in made


def test_a_mean_with_noise_is_learnt():
    label = (MARKS.mean(axis=1) + R.normal(scale=2, size=300)).round(1)
    assert "computed" not in found({**PARTS, "label": label}, dict.fromkeys(PARTS, "numeric"), "regression")


def test_classes_in_a_column_each_tell_the_label_together():
    kind = R.integers(0, 4, 300)
    columns = {f"class_{i}": (kind == i).astype(float) for i in range(1, 4)}
    kinds = {**dict.fromkeys(columns, "numeric"), "x": "numeric", "flag": "numeric"}
    label = np.where(kind == 0, "yes", "no")
    made = found({**columns, "x": R.normal(size=300), "flag": R.integers(0, 2, 300).astype(float), "label": label}, kinds, "classification")
    assert made["derived"].examples == ("class_1", "class_2", "class_3")
    columns["class_3"][np.flatnonzero(kind == 3)[0]] = 0
    assert "derived" not in found({**columns, "label": label}, dict.fromkeys(columns, "numeric"), "classification")


def test_a_copy_of_the_label_is_seen_in_few_rows_too():
    rows = {"x": R.normal(size=30), "same": WEIGHT[:30], "label": WEIGHT[:30]}
    assert found(rows, {"x": "numeric", "same": "numeric"}, "regression")["predictive"].examples == ("same",)
    words = {"x": R.normal(size=30), "same": ["a", "b"] * 15, "label": ["yes", "no"] * 15}
    assert found(words, {"x": "numeric", "same": "categorical"}, "classification")["predictive"].examples == ("same",)
    words["same"] = ["a", "b"] * 14 + ["b", "a"]
    assert "predictive" not in found(words, {"x": "numeric", "same": "categorical"}, "classification")
