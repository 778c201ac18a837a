"""Outcomes in clusters: what they are worth, and what is said where that cannot be known."""

from __future__ import annotations

import numpy as np
import pytest

from sluice.stats import dispersion


def users(generator: np.random.Generator, groups: int, people: int, visits: int, rho: float, rate: float) -> tuple[np.ndarray, np.ndarray]:
    """(yes-outcomes, outcomes) by group: users whose own rates vary so that two outcomes of one correlate by `rho`."""
    shape = 1 / rho - 1 if rho else 0.0
    own = generator.beta(rate * shape, (1 - rate) * shape, people) if rho else np.full(people, rate)
    where = generator.integers(0, groups, people)
    return np.bincount(where, generator.binomial(visits, own), groups), np.bincount(where, minlength=groups) * float(visits)


@pytest.mark.parametrize(("rho", "visits"), [(0.0, 10), (0.1, 10), (0.5, 20), (0.9, 40)])
def test_dispersion_of_grouped_users_is_the_design_effect(rho: float, visits: int):
    generator = np.random.default_rng(3)
    found = [
        dispersion(*zip(users(generator, 64, 3000, visits, rho, 0.2), users(generator, 64, 3000, visits, rho, 0.3), strict=True))
        for _ in range(40)
    ]
    assert np.mean(found) == pytest.approx(max(1 + rho * (visits - 1), 1.0), rel=0.08)


def test_dispersion_is_one_where_nothing_can_be_told():
    assert dispersion([5, 0, 0], [10, 10, 10]) == 1.0  # too few groups
    assert dispersion([0] * 20, [10] * 20) == 1.0  # no rate
    assert dispersion([10] * 20, [10] * 20) == 1.0
    assert dispersion([5] * 20, [10] * 20) == 1.0  # less than chance
    assert dispersion([], []) == 1.0
    assert dispersion([0] * 20 + [10], [1] * 20 + [10]) > 3


def test_a_group_alone_with_all_outcomes_does_not_divide_by_nothing():
    assert dispersion([3.0, *[0.0] * 9], [9.0, *[0.0] * 9]) == 1.0


@pytest.mark.parametrize(
    ("counts", "totals"), [([1, 2], [1]), ([-1, 2], [3, 3]), ([4, 2], [3, 3]), ([float("nan"), 2], [3, 3]), ([1, 2], [3, float("inf")])]
)
def test_dispersion_refuses_what_are_no_counts(counts: list[float], totals: list[float]):
    with pytest.raises(ValueError, match="between 0 and their totals"):
        dispersion(counts, totals)
