"""Which subgroups stand out of all that can be told, by tosses of the signs."""

from __future__ import annotations

import numpy as np
import pytest

from sluice.core.predicate import Column
from sluice.stats.flips import one_sized, stand_out
from sluice.stats.subgroups import Names, Numbers

ROWS = 3000


def features(rng: np.random.Generator, rows: int = ROWS) -> list[Numbers | Names]:
    return [
        Numbers(Column("age"), np.round(rng.uniform(18, 90, rows))),
        Names(Column("plan"), rng.integers(0, 5, rows), ["basic", "plus", "pro", "team", "trial"]),
        Numbers(Column("noise"), rng.normal(size=rows)),
    ]


def tossed(rng: np.random.Generator, churn: np.ndarray | float, rows: int = ROWS) -> np.ndarray:
    return np.where(rng.random(rows) < churn, rng.choice([-1.0, 1.0], rows), 0.0)


def test_a_pair_of_columns_is_told_by_name_and_its_interval_is_above_what_is_allowed():
    rng = np.random.default_rng(3)
    by = features(rng)
    there = (by[0].values >= 62) & (by[1].codes == 0)
    worse = np.where(there & (rng.random(ROWS) < 0.25), 1.0, tossed(rng, 0.05))
    first = stand_out(by, worse, 0.005, 0.025, 30).found[0]
    assert first.worse and str(first.which).startswith("age >= 6") and str(first.which).endswith("and plan == 'basic'")
    assert 0.005 < first.mean - first.half < first.mean < 0.3


@pytest.mark.parametrize("churn", ["everywhere", "where it is hard"])
def test_equal_models_are_called_worse_as_rarely_as_said(churn: str):
    """Of 160 at a level of 10 %, nothing allowed, 16 are to be expected: 3.5 standard deviations above are 29."""
    called = 0
    for seed in range(160):
        rng = np.random.default_rng([seed, 7])
        by = features(rng, 400)
        part = 0.1 if churn == "everywhere" else np.where(by[1].codes == 0, 0.6, 0.02)
        called += any(s.worse for s in stand_out(by, tossed(rng, part, 400), 0.0, 0.1, 30).found)
    assert 5 <= called <= 29


def test_rows_of_one_unit_have_one_sign():
    """Units of ten that err together: taken for rows they look sure, and equal models are called worse again and again."""
    called = {True: 0, False: 0}
    for seed in range(60):
        rng = np.random.default_rng([seed, 11])
        by, codes = features(rng, 600), np.repeat(np.arange(60), 10)
        whole = [
            Names(Column("plan"), np.repeat(by[1].codes[::10], 10), by[1].names),
            Numbers(Column("age"), np.repeat(by[0].values[::10], 10)),
        ]
        differs = np.repeat(tossed(rng, 0.5, 60), 10)
        for units in called:
            called[units] += any(s.worse for s in stand_out(whole, differs, 0.0, 0.05, 30, codes if units else None).found)
    assert called[True] <= 9 < 30 < called[False]


def test_the_second_is_told_beside_the_first():
    rng = np.random.default_rng(5)
    by = features(rng)
    worse = np.where((by[1].codes == 2) & (rng.random(ROWS) < 0.3), 1.0, tossed(rng, 0.05))
    worse = np.where((by[1].codes == 4) & (rng.random(ROWS) < 0.2), 1.0, worse)
    found = stand_out(by, worse, 0.2 * 0.2, 0.025, 30).found
    assert [str(s.which) for s in found[:2]] == ["plan == 'pro'", "plan == 'trial'"] and all(s.worse for s in found[:2])


def test_what_does_not_differ_or_lacks_rows_finds_nothing():
    by = features(np.random.default_rng(1))
    assert stand_out(by, np.zeros(ROWS), 0.0, 0.025, 30).found == []
    assert stand_out(by, np.ones(ROWS), 0.0, 0.025, ROWS).found == [] and stand_out([], np.ones(ROWS), 0.0, 0.025, 30).among == 0


def test_losses_of_right_and_wrong_are_of_one_size():
    assert one_sized(np.array([0.0, 1, -1, 0])) and not one_sized(np.array([0.0, 1, -0.5])) and not one_sized(np.zeros(3))
