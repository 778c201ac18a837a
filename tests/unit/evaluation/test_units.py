"""What an evaluation, a comparison, slices and the floor say where rows belong together."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sluice.gates import bar, champion, slices
from sluice.gates.baselines import Baseline
from sluice.gates.config import EvaluateConfig
from sluice.gates.floor import judge
from sluice.problems.comparison import compare
from sluice.problems.evaluator import evaluate
from sluice.problems.units import Units
from tests.bench.intervals import together

LABELS = ["no", "yes"]


def _case(groups: int = 40) -> dict[str, Any]:
    a, b = together("two labels", np.random.default_rng(1), groups)
    return {"ours": a.outputs, "theirs": b.outputs, "targets": a.targets, "units": a.units}


def _evaluated(case: dict[str, Any], units: Units | None, **settings: Any) -> dict[str, Any]:
    config = EvaluateConfig(resamples=100, **settings)
    columns = {"side": ["a" if k % 2 else "b" for k in range(len(case["targets"]))]}
    return evaluate(case["ours"], case["targets"], LABELS, config, columns, units=units)


def test_an_evaluation_says_its_unit_and_how_many_and_its_intervals_are_wider():
    case = _case()
    whole, rows = _evaluated(case, case["units"]), _evaluated(case, None)
    assert (whole["unit"], whole["units"], whole["rows"]) == ("user", 40, len(case["targets"]))
    assert "unit" not in rows
    assert whole["value"] == rows["value"]
    assert whole["high"] - whole["low"] > 1.2 * (rows["high"] - rows["low"])
    assert f"on {whole['rows']} held-out rows of 40 units (user)" in bar.decide(whole, EvaluateConfig()).reasons[0]
    section = bar.Bar().section(bar.decide(whole, EvaluateConfig()))
    assert "40 units (user)" in section and "units" not in bar.Bar().section(bar.decide(rows, EvaluateConfig()))


def test_a_slice_is_judged_by_its_units_not_by_their_rows():
    case = _case(8)
    found = _evaluated(case, case["units"], slice_minimum=0.99, slice_rows=10)
    assert all(s["rows"] >= 10 and s["units"] <= 8 and s["ok"] is None for s in found["slices"])
    decided = slices.decide(found, EvaluateConfig(slice_minimum=0.99))
    assert decided.decision == "pass" and "fewer than 10 units" in decided.reasons[0]
    assert _evaluated(case, None, slice_minimum=0.99, slice_rows=10)["slices"][0]["ok"] is False


def test_the_champion_is_compared_over_units():
    case, config = _case(), EvaluateConfig(resamples=100)
    whole = compare(case["ours"], case["theirs"], case["targets"], LABELS, LABELS, config, units=case["units"])
    rows = compare(case["ours"], case["theirs"], case["targets"], LABELS, LABELS, config)
    assert (whole["unit"], whole["units"], whole["method"]) == ("user", 40, "newcombe, over units")
    assert "unit" not in rows and rows["method"] == "newcombe"
    assert whole["difference"] == rows["difference"] and whole["high"] - whole["low"] > 1.15 * (rows["high"] - rows["low"])
    assert whole["p_value"] != rows["p_value"]
    said = champion.decide(whole, EvaluateConfig()).reasons[0]
    assert "rows of 40 units (user)" in said and "so many units show" in said


def test_rows_whose_label_one_model_lacks_are_left_out_with_their_units():
    case, config = _case(), EvaluateConfig(resamples=100)
    third = np.concatenate([case["ours"] * 0.9, np.full((len(case["ours"]), 1), 0.1)], axis=1)
    targets = np.where(case["units"].codes < 5, 2, case["targets"])
    found = compare(third, case["theirs"], targets, [*LABELS, "third"], LABELS, config, units=case["units"])
    assert found["units"] == 35 and found["rows_left_out"] == int((targets == 2).sum())


def test_a_model_that_is_beyond_doubt_by_its_rows_alone_is_not_by_few_units():
    """Five users of a hundred equal rows each, three of them told right: 300 of 500 rows are no proof against a coin."""
    codes = np.repeat(np.arange(5), 100)
    targets = np.repeat([0, 1, 0, 1, 1], 100)
    outputs = np.eye(2)[np.repeat([0, 1, 0, 0, 1], 100)] * 0.8 + 0.1
    trivial = Baseline("the majority class 'yes'", np.tile([0.4, 0.6], (500, 1)), np.arange(500), {"note": ""})
    config = EvaluateConfig(resamples=100)

    def judged(units: Units | None) -> dict[str, Any]:
        found = evaluate(outputs, targets, LABELS, config, units=units)
        return judge(outputs, targets, LABELS, found, trivial, "left out", config, units=units)

    assert judged(None)["verdict"] == "better"
    few = judged(Units("user", codes))
    assert few["verdict"] == "inconclusive" and few["trivial"]["units"] == 5
    assert "of 5 units (user)" in few["said"] and "units would tell" in few["said"]


@pytest.mark.parametrize("metric", ["rmse", "mae", "r2"])
def test_values_too_are_judged_over_units(metric: str):
    a, b = together("values", np.random.default_rng(2), 60)
    config = EvaluateConfig(metric=metric, resamples=100)
    found = evaluate(a.outputs, a.targets, [], config, units=a.units)
    against = compare(a.outputs, b.outputs, a.targets, [], [], config, units=a.units)
    assert found["units"] == against["units"] == 60 and against["method"].endswith("over units")
    assert "60 units (user)" in found["metrics"]["rmse"]["note"]
