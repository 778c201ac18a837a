"""Intervals over units: rows of one unit depend on each other."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from sluice.problems import clustered
from sluice.problems.answers import Answers
from sluice.problems.metrics import TABLE
from sluice.problems.units import Units
from tests.bench.intervals import coverage_together, together, value_together

#: Seeded, so these are what they are on every machine: enough sets that a 95 % interval which holds falls below 93 % only rarely.
_SETS = 500


@pytest.mark.parametrize(("kind", "metric"), [("two labels", "accuracy"), ("two labels", "recall"), ("values", "mae")])
def test_an_interval_over_units_holds_and_one_over_their_rows_does_not(kind: str, metric: str):
    value, difference, value_of_rows, difference_of_rows = coverage_together(kind, metric, 60, _SETS, resamples=100)
    assert value >= 0.93 and difference >= 0.93
    assert value_of_rows < 0.9 and difference_of_rows < 0.9


@pytest.mark.parametrize(("kind", "metric"), [("two labels", "roc_auc"), ("three labels", "macro_f1")])
def test_so_does_one_of_ranks_and_one_of_counts_by_class(kind: str, metric: str):
    m, true, rng, hits = TABLE[metric], value_together(kind, metric), np.random.default_rng(8), np.zeros(2)
    for _ in range(_SETS):
        a, b = together(kind, rng, 60)
        own, paired = m.interval(a, 0.95, 300), m.difference(a, b, 0.95, 300)
        hits += [own[0] <= true <= own[1], paired[0] <= 0 <= paired[1]]
    assert (hits / _SETS >= 0.93).all(), hits / _SETS


def _pair(groups: int = 30, kind: str = "two labels") -> tuple[Answers, Answers]:
    return together(kind, np.random.default_rng(3), groups)


@pytest.mark.parametrize("kind", ["two labels", "three labels", "values"])
def test_units_of_one_row_each_change_not_a_bit(kind: str):
    a, b = _pair(kind=kind)
    one_each = Units("user", np.arange(len(a.targets))).or_rows()
    assert one_each is None
    first = np.unique(a.units.codes, return_index=True)[1]  # a row of each unit: units again of one row each
    alone, other = a.rows(first), b.rows(first)
    assert alone.units is None
    plain, beside = (dataclasses.replace(x, units=None).rows(first) for x in (a, b))
    for name, metric in TABLE.items():
        if (metric.objective == "regression") == (kind == "values") and not (metric.of_positive and a.positive is None):
            assert metric.interval(alone, 0.95, 200) == metric.interval(plain, 0.95, 200), name
            assert metric.difference(alone, other, 0.95, 200) == metric.difference(plain, beside, 0.95, 200), name


def test_twice_the_same_rows_tell_nothing_more():
    """Each row doubled, its double in its unit: the interval is about that of the single rows, not of twice as many."""
    rng = np.random.default_rng(5)
    p = rng.random(400)
    y = (rng.random(400) < p).astype(np.int64)
    once = Answers.of(np.stack([1 - p, p], axis=1), y)
    twice = dataclasses.replace(once.rows(np.repeat(np.arange(400), 2)), units=Units("user", np.repeat(np.arange(400), 2)))
    for name in ("accuracy", "f1", "mcc", "roc_auc", "average_precision", "log_loss", "brier"):
        own, doubled = (TABLE[name].interval(a, 0.95, 1000) for a in (once, twice))
        assert own is not None and doubled is not None
        assert np.allclose(own, doubled, atol=0.15 * (own[1] - own[0])), name


def test_rows_that_are_all_right_are_worth_their_units():
    units = Units("user", np.repeat(np.arange(10), 50))
    right = np.ones(500, dtype=bool)
    low, high = clustered.proportion(right, units, 0.95)
    assert high == 1.0 and low == pytest.approx(0.722, abs=0.002)  # Wilson's of 10 of 10, not of 500 of 500
    assert clustered.paired_proportions(right, right, units, 0.95)[0] < -0.2


def test_one_unit_that_is_most_of_the_rows_is_not_many():
    even, uneven = Units("user", np.repeat(np.arange(20), 10)), Units("user", np.repeat(np.arange(20), [105] + [5] * 19))
    assert even.effective == 20 and uneven.effective < 4


@pytest.mark.parametrize("count", [1, 2])
def test_too_few_units_tell_nothing_of_what_needs_them(count: int):
    a, b = _pair(count)
    assert TABLE["macro_f1"].difference(a, b, 0.95, 100) is None
    assert TABLE["log_loss"].difference(a, b, 0.95, 100) is None
    low, high = TABLE["accuracy"].interval(a, 0.95, 100)
    assert high - low > 0.4


def test_the_sign_test_counts_units_in_which_a_model_is_ahead():
    first, second = np.repeat([True, False], [40, 10]), np.repeat([False, True], [40, 10])
    rows = clustered.sign_test(first, second, None)
    units = clustered.sign_test(first, second, Units("user", np.repeat(np.arange(5), 10)))  # four users against one
    assert rows < 0.001 and units == pytest.approx(0.375)


def test_more_units_than_are_left_out_in_turn_are_put_together_in_whole_groups():
    codes, seen = np.repeat(np.arange(3000), 2), []

    def totals(rows: np.ndarray) -> np.ndarray:
        seen.append(set(codes[rows]))
        return np.array([float((rows % 2).sum()), float(len(rows))])

    found = clustered.of_sums(totals, Units("user", codes), lambda t: t[..., 0] / t[..., 1], 0.95)
    assert found == (0.5, 0.5)  # each unit is half right: nothing varies
    assert len(seen) == 1000 and sum(map(len, seen)) == 3000  # each unit in one group
