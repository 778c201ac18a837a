"""What comparisons cost that others went before."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.stats.spending import claim_level, decline, raised, stretch


def test_the_first_claim_has_its_level_and_all_there_can_be_add_up_to_twice_of_it() -> None:
    assert claim_level(0.025, 0) == 0.025
    assert sum(claim_level(0.025, k) for k in range(100_000)) == pytest.approx(0.05, rel=1e-4)


@given(st.floats(0, 1000), st.floats(0, 10))
def test_a_later_claim_never_costs_less(before: float, more: float) -> None:
    assert claim_level(0.025, before + more) <= claim_level(0.025, before)


def test_a_try_after_refused_ones_is_refused_sooner_and_never_unless_it_looks_worse() -> None:
    assert [raised(0.025, r) for r in range(5)] == pytest.approx([0.025, 0.075, 0.15, 0.25, 0.375])
    assert raised(0.025, 100) == 0.5


def test_candidates_that_all_look_a_little_worse_are_a_decline_and_one_that_is_broken_is_none() -> None:
    assert decline([]) == decline([(0.1, 1.0)] * 50) == decline([(-9.0, 0.0)] * 50) == 0
    assert decline([(-9.0, 1.0)]) < 2 < decline([(-1.5, 1.0)] * 3) < decline([(-1.5, 1.0)] * 6) == decline([(-1.5, 1.0)] * 60) == 5
    assert decline([(3.0, 1.0)] * 50 + [(-1.5, 1.0)] * 3) == decline([(-1.5, 1.0)] * 3), "what was good long ago weighs nothing"
    assert decline([(-1.5, 1.0)] * 60 + [(0.0, 1.0)] * 6) == 0, "a process that was mended is believed"
    assert decline([(-1.5, 0.5)] * 3) == pytest.approx(decline([(-1.5, 1.0)] * 3) / 2)


def test_in_decline_a_candidate_is_refused_sooner_at_most_by_nine_in_ten() -> None:
    assert raised(0.025, 0, 0.0, 0.5) == 0.0125 and raised(0.025, 1, 0.0, 0.5) == pytest.approx(0.075)
    assert raised(0.025, 0, 1.0) == pytest.approx(0.025 * 2.71828, rel=1e-4) and raised(0.025, 9, 1.0) == 0.5
    assert raised(0.025, 0, 5.0, 0.5) == 0.9


def test_a_limit_is_as_many_times_as_wide_as_students_t_says() -> None:
    assert stretch(0.025, 0.025, 7) == 1
    assert stretch(0.5, 0.025, 1000) == 0
    assert stretch(0.9, 0.025, 1000) == -stretch(0.1, 0.025, 1000) < -0.6
    assert stretch(0.00001, 0.025, 100_000) == pytest.approx(4.265 / 1.96, rel=1e-3)
    assert stretch(0.0005, 0.025, 5) == pytest.approx(6.869 / 2.571, rel=0.03)  # few units: wider than the normal law says
