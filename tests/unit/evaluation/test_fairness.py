"""Fairness: rates by group against fairlearn's, bounds that are broken beyond doubt only, and what cannot be told."""

from __future__ import annotations

import itertools

import numpy as np
import pyarrow as pa
import pytest

from sluice.core.errors import ProjectError
from sluice.data.where import Held
from sluice.fields import field_of
from sluice.gates import groups as by_group
from sluice.gates.config import EvaluateConfig
from sluice.gates.fairness import Fairness, FairnessConfig, decide
from sluice.gates.groups import Rows, groups_of, measured
from sluice.problems.problem import problem
from sluice.problems.units import Units


def drawn(rates: dict[str, float], each: int, seed: int = 17, units: int = 1) -> tuple[Rows, list[str]]:
    """`each` rows of each group, answered the positive label so often, whatever is true; in units of so many rows that are answered alike."""
    rng = np.random.default_rng(seed)
    groups = [g for g in rates for _ in range(each)]
    answered = np.concatenate([np.repeat(rng.random(-(-each // units)) < p, units)[:each] for p in rates.values()])
    positive = rng.random(len(groups)) < 0.5
    return Rows(positive, answered, Units("user", np.arange(len(groups)) // units) if units > 1 else None), groups


def settings(**bounds: float) -> FairnessConfig:
    return FairnessConfig.model_validate({"groups": ["sex"], "positive": "yes", "metrics": bounds})


def judged(rates: dict[str, float], each: int, seed: int = 17, units: int = 1, **bounds: float):
    rows, groups = drawn(rates, each, seed, units)
    return decide(measured(rows, {"sex": groups}, settings(**bounds), "yes", 0.95), settings(**bounds))


def test_values_are_those_of_fairlearn_and_intervals_hold_them():
    from fairlearn import metrics

    rows, groups = drawn({"f": 0.3, "m": 0.5, "x": 0.45}, 300)
    found = {m["metric"]: m for m in measured(rows, {"sex": groups}, settings(), "yes", 0.95)["columns"][0]["metrics"]}
    args = (rows.positive, rows.answered)
    assert found["demographic_parity_difference"]["value"] == pytest.approx(
        metrics.demographic_parity_difference(*args, sensitive_features=groups)
    )
    assert found["disparate_impact"]["value"] == pytest.approx(metrics.demographic_parity_ratio(*args, sensitive_features=groups))
    assert found["equalized_odds_difference"]["value"] == pytest.approx(metrics.equalized_odds_difference(*args, sensitive_features=groups))
    assert all(m["low"] <= m["value"] <= m["high"] and m["verdict"] == "" for m in found.values())


def test_a_bound_broken_beyond_doubt_refuses_and_names_the_groups():
    said = judged({"f": 0.3, "m": 0.6}, 400, demographic_parity_difference=0.1, disparate_impact=0.8)
    assert said.decision == "refuse" and len(said.reasons) == 2
    assert (
        "fairness by sex: demographic_parity_difference is 0.295 (" in said.reasons[0]
        and "beyond evaluate.fairness.metrics" in said.reasons[0]
    )
    assert "'yes' is answered to 0.5925 of m" in said.reasons[0]


def test_a_bound_that_is_kept_passes_and_one_that_cannot_be_told_is_a_caution():
    said = judged({"f": 0.5, "m": 0.52}, 4000, demographic_parity_difference=0.1, disparate_impact=0.8)
    assert said.decision == "pass" and said.reasons == ("2 of 2 bounds of fairness are kept beyond doubt",) and not said.cautions
    open_ = judged({"f": 0.45, "m": 0.55}, 100, demographic_parity_difference=0.1)
    assert open_.decision == "pass" and open_.cautions[0].startswith("cannot tell: fairness by sex")


def test_groups_without_support_are_compared_with_none():
    rows, groups = drawn({"f": 0.5, "m": 0.5}, 200)
    rows = Rows(np.append(rows.positive, [True] * 5), np.append(rows.answered, [False] * 5))
    found = measured(rows, {"sex": [*groups, *["x"] * 5]}, settings(demographic_parity_difference=0.2), "yes", 0.95)
    parity = found["columns"][0]["metrics"][0]
    assert parity["why"] == "fewer than 30 rows: x" and parity["value"] < 0.2
    few = judged({"f": 0.0, "m": 1.0}, 20, demographic_parity_difference=0.2)
    assert few.decision == "pass" and "cannot be told: fewer than 30 rows: f, m" in few.cautions[0]


def test_what_cannot_be_told_is_refused_where_the_project_says_so():
    config = settings(demographic_parity_difference=0.2).model_copy(update={"on_cannot_tell": "refuse"})
    rows, groups = drawn({"f": 0.4, "m": 0.6}, 20)
    said = decide(measured(rows, {"sex": groups}, config, "yes", 0.95), config)
    assert said.decision == "refuse" and "on_cannot_tell is refuse" in said.reasons[0]


@pytest.mark.parametrize(("each", "units"), [(40, 1), (400, 1), (200, 10)])
def test_many_small_groups_that_are_alike_break_no_bound(each: int, units: int, monkeypatch):
    """A bootstrap of the largest rate less the smallest would be above 0.1 in most draws of eight groups of forty."""
    monkeypatch.setattr(by_group, "_by_fairlearn", lambda *_: 0.0)  # slow, and no part of the decision
    rates = dict.fromkeys("abcdefgh", 0.5)
    assert sum(judged(rates, each, seed, units, demographic_parity_difference=0.1).decision == "refuse" for seed in range(25)) <= 1


def test_a_difference_is_held_by_its_interval_as_often_as_it_says(monkeypatch):
    monkeypatch.setattr(by_group, "_by_fairlearn", lambda *_: 0.0)
    rates, inside = {"f": 0.3, "m": 0.45, "x": 0.4}, 0
    for seed in range(100):
        rows, groups = drawn(rates, 150, seed)
        m = measured(rows, {"sex": groups}, settings(), "yes", 0.95)["columns"][0]["metrics"]
        ratio = next(x for x in m if x["metric"] == "disparate_impact")
        inside += m[0]["low"] <= 0.15 <= m[0]["high"] and ratio["low"] <= 0.3 / 0.45 <= ratio["high"]
    assert inside >= 91


def test_groups_are_values_quartiles_and_expressions():
    columns = {
        "age": ("numeric", pa.chunked_array([[*map(float, range(40)), None]])),
        "sex": ("categorical", pa.chunked_array([["f", "m", None] * 13 + ["f", "m"]])),
    }
    held = Held({n: field_of(k, n) for n, (k, _) in columns.items()}, lambda n: columns[n][1])
    assert set(groups_of(held, "sex")) == {"f", "m", "missing"}
    assert set(groups_of(held, "age")) == {"age < 9.75", "9.75 <= age < 19.5", "19.5 <= age < 29.25", "age >= 29.25", "missing"}
    assert sorted(set(groups_of(held, "age")), key=by_group._place)[:3] == ["age < 9.75", "9.75 <= age < 19.5", "19.5 <= age < 29.25"]
    assert set(groups_of(held, "age >= 30")) == {"age >= 30", "not age >= 30"}


def test_the_report_draws_every_groups_rate():
    said = judged({"f": 0.3, "m": 0.6}, 400, demographic_parity_difference=0.1)
    page = Fairness().section(said)
    assert page.count("<svg") == 3 and "selection rate" in page and ">broken<" in page and "f 400 rows" in page


@pytest.mark.parametrize(
    ("asked", "labels", "raw", "said"),
    [
        ("regression", [], {"groups": ["sex"], "positive": "yes"}, "evaluate.fairness: is of labels"),
        ("classification", ["no", "yes"], {"groups": ["sex"]}, "evaluate.fairness.positive: is required"),
    ],
)
def test_it_is_refused_before_training_where_it_makes_no_sense(asked, labels, raw, said):
    with pytest.raises(ProjectError, match=said):
        EvaluateConfig.model_validate({"fairness": raw}).suits(problem(asked), labels)


def test_every_metric_has_its_rates():
    rows, groups = drawn({"f": 0.2, "m": 0.7}, 200)
    for column in measured(rows, {"sex": groups}, settings(), "yes", 0.95)["columns"]:
        assert [g["group"] for g in column["groups"]] == ["f", "m"]
        for g, kind in itertools.product(column["groups"], ("all", "positive", "others")):
            assert g[kind]["low"] <= g[kind]["rate"] <= g[kind]["high"]
