"""What comparisons cost that others went before."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.stats.spending import claim_level, raised, stretch


def test_the_first_claim_has_its_level_and_all_there_can_be_add_up_to_twice_of_it() -> None:
    assert claim_level(0.025, 0) == 0.025
    assert sum(claim_level(0.025, k) for k in range(100_000)) == pytest.approx(0.05, rel=1e-4)


@given(st.floats(0, 1000), st.floats(0, 10))
def test_a_later_claim_never_costs_less(before: float, more: float) -> None:
    assert claim_level(0.025, before + more) <= claim_level(0.025, before)


def test_a_try_after_refused_ones_is_refused_sooner_and_never_unless_it_looks_worse() -> None:
    assert [raised(0.025, r) for r in range(5)] == pytest.approx([0.025, 0.075, 0.15, 0.25, 0.375])
    assert raised(0.025, 100) == 0.5


def test_a_limit_is_as_many_times_as_wide_as_students_t_says() -> None:
    assert stretch(0.025, 0.025, 7) == 1
    assert stretch(0.5, 0.025, 1000) == 0
    assert stretch(0.00001, 0.025, 100_000) == pytest.approx(4.265 / 1.96, rel=1e-3)
    assert stretch(0.0005, 0.025, 5) == pytest.approx(6.869 / 2.571, rel=0.03)  # few units: wider than the normal law says
