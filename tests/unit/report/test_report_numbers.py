"""How numbers and sentences are written in reports: limits alike, whole epochs, what a picture's sizes are, commands as code."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.core.gate import Gate
from sluice.problems.metrics import known
from sluice.report import page, svg, words
from sluice.report.findings import findings
from sluice.report.forest import forest
from sluice.steps.step import STEPS


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.9568, 0.985, "0.9568 to 0.9850"),
        (-0.0391, 0.02753, "-0.0391 to 0.0275"),
        (0.9324, 1.0, "0.9324 to 1"),
        (0.0, 0.0414, "0 to 0.0414"),
        (0.88, 0.93, "0.88 to 0.93"),
        (-0.003, 0.025, "-0.003 to 0.025"),
        (None, None, "– to –"),
        (6.993, 9.0712, "6.993 to 9.071"),
        (12.3456, 123.4567, "12.3 to 123.5"),
        (-0.0006367, 0.09671, "-0.0006 to 0.0967"),
        (-0.00001, 0.09671, "-1.00e-05 to 0.09671"),  # rounded to 0 it would look as if the interval began there
        (1234.5, 98765.4, "1,234 to 98,765"),
    ],
)
def test_limits_have_as_many_decimals_each(low: float | None, high: float | None, said: str) -> None:
    assert svg.between(low, high) == said


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6))
def test_no_limit_changes_its_side_of_nothing(low: float, high: float) -> None:
    shown = [float(part.replace(",", "")) for part in svg.between(low, high).split(" to ")]
    assert [(v > 0) - (v < 0) for v in shown] == [(v > 0) - (v < 0) for v in (low, high)]


def test_a_difference_says_its_direction() -> None:
    assert [svg.signed(v) for v in (-0.047091, 0.03383, 0.01, 0.0, -1234.5)] == ["-0.0471", "+0.0338", "+0.0100", "0", "-1,234"]


def training(epochs: int) -> str:
    history = [
        {
            "epoch": i,
            "train_loss": 1 / i,
            "validation_loss": 1.2 / i,
            "validation_metrics": {"accuracy": 1 - 0.5 / i},
            "samples_per_second": None,
        }
        for i in range(1, epochs + 1)
    ]
    return STEPS.get("train")().section({"history": history, "best_epoch": epochs, "world_size": 1, "seconds": 2.0})


def test_epochs_are_whole_on_the_axis_and_one_is_no_curve() -> None:
    drawn = training(3)
    assert set(re.findall(r'text-anchor="middle">([\d.]+)</text>', drawn)) == {"1", "2", "3"}
    one = training(1)
    assert "<svg" not in one and "validation accuracy" in one and "0.5" in one
    assert "rows per second" not in one, "what was not measured has no column"


def column(**more: Any) -> str:
    found = {"name": "image", "type": "image", "rows": 1797, "nulls": 0, "distinct": 1797, **more}
    return STEPS.get("validate_data")().section({"checks": [], "columns": [found]})


def test_pictures_of_one_size_are_not_told_to_have_more() -> None:
    assert "more" not in column(top=[{"value": "8x8", "count": 1797}])
    assert "and 1,796 more" in column(top=[{"value": "x", "count": 1}])


def test_a_simple_model_that_is_better_is_told_to_be_better() -> None:
    said = findings({}, [Gate("evaluate", "pass", (), {"evaluation": {}, "floor": {"ahead": "logistic regression is better by 0.05"}})])
    assert "A simple model does better: logistic regression is better by 0.05." in said


def test_a_model_better_than_none_is_told_to_be() -> None:
    floor = {"verdict": "better", "said": "better than the majority class 'a': accuracy 0.9 against 0.5", "ahead": None}
    said = findings({}, [Gate("evaluate", "pass", (), {"evaluation": {}, "floor": floor})])
    assert ">Better than the majority class &#x27;a&#x27;: accuracy 0.9 against 0.5.<" in said


def test_every_metric_that_is_no_plain_word_is_explained() -> None:
    plain = {"score", "exact", "normalised", "contains", "regex", "json_schema", "numeric", "citation", "forbidden", "similarity", "judge"}
    plain |= {"failed", "invalid", "cost", "seconds", "first_token", "tokens", "answer_loss", "cosine_distance"}
    of_several = {"mean_rmse", "mean_mae", "mean_log_loss", "word_log_loss"}
    assert [n for n in known() if n not in words.WORDS and n not in plain | of_several] == []
    assert "1 is perfect" in words.explained("ndcg_10")


def test_commands_in_a_sentence_are_set_as_code_and_stay_text() -> None:
    assert words.coded("no key (`sluice <keys> new`)") == "no key (<code>sluice &lt;keys&gt; new</code>)"
    assert words.coded("a ` alone") == "a ` alone"
    assert "<code>sluice keys new</code>" in page.section(Gate("rollout", "pass", ("again: `sluice keys new`",), {}, 1.0))


def test_a_plot_too_wide_for_a_phone_scrolls_and_can_be_reached_by_key() -> None:
    drawn = forest([("town is x", 0.1, 0.0, 0.2, False)], "worse by")
    assert '<figure class="wide" tabindex="0" role="group" aria-label="worse by">' in drawn
