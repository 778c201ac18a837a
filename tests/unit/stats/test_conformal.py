"""Bands that are stretched until they hold what they say."""

from __future__ import annotations

import numpy as np
import pytest

from sluice.stats.conformal import scores, stretches


def band(values: np.ndarray, stretch: np.ndarray | float = 1.0) -> float:
    """The share of normal values that a band of half a deviation to both sides, stretched, holds."""
    s = scores(values, -0.5 * np.ones_like(values), np.zeros_like(values), 0.5 * np.ones_like(values))
    far = np.broadcast_to(np.asarray(stretch), (values.shape[1], 2))
    return float(((s >= -far[:, 0]) & (s <= far[:, 1])).mean())


def drawn(values: np.ndarray) -> np.ndarray:
    return scores(values, -0.5 * np.ones_like(values), np.zeros_like(values), 0.5 * np.ones_like(values))


def test_a_score_counts_distances_of_the_bound_on_its_side() -> None:
    values = np.array([[-2.0, 3.0, np.nan, 1.0]])
    found = scores(values, np.full((1, 4), -1.0), np.zeros((1, 4)), np.array([[1.0, 6.0, 1.0, 0.0]]))
    assert found[0, 0] == -2 and found[0, 1] == 0.5 and np.isnan(found[0, 2]) and found[0, 3] > 1e6


def test_a_narrow_band_holds_its_share_of_new_values_afterwards() -> None:
    rng = np.random.default_rng(1)
    held, new = rng.normal(size=(400, 6)), rng.normal(size=(4000, 6))
    found = stretches(drawn(held), drawn(held), 400, 0.8)
    assert band(new) < 0.4 and band(new, found) == pytest.approx(0.8, abs=0.02)


def test_on_average_over_many_small_sets_too() -> None:
    rng = np.random.default_rng(2)
    new = rng.normal(size=(2000, 4))
    shares = [band(new, stretches(drawn(x), drawn(x), 20, 0.8)) for x in rng.normal(size=(200, 20, 4))]
    assert np.mean(shares) == pytest.approx(0.8, abs=0.02)


def test_steps_and_sides_find_their_own_factor_where_there_is_time_for_it() -> None:
    rng = np.random.default_rng(3)
    size = np.where(np.arange(12) < 6, 1.0, 3.0)
    held = np.abs(rng.normal(size=(2000, 12))) * size * np.where(rng.random((2000, 12)) < 0.5, -1.0, 2.0)
    found = stretches(drawn(held), drawn(held), 2000, 0.8)
    assert found[10, 0] / found[1, 0] == pytest.approx(3, rel=0.25) and found[1, 1] / found[1, 0] == pytest.approx(2, rel=0.25)
    few = stretches(drawn(held), drawn(held), 2, 0.8)
    assert np.ptp(np.log(few)) < 0.3 * np.ptp(np.log(found))


def test_few_independent_stretches_lean_on_what_was_learnt_from() -> None:
    rng = np.random.default_rng(4)
    held, learnt = drawn(3 * rng.normal(size=(200, 3))), drawn(rng.normal(size=(200, 3)))
    factors = [float(stretches(held, learnt, n, 0.8).mean()) for n in (0.5, 5, 50, 5000)]
    assert factors == sorted(factors) and factors[0] < 3.2 and factors[-1] == pytest.approx(3 * 0.5 * 1.2816 / 0.25, rel=0.1)


def test_without_held_out_values_nothing_changes() -> None:
    assert (stretches(np.full((3, 4), np.nan), np.zeros((2, 4)), 0.0, 0.8) == 1).all()
    assert np.isfinite(stretches(np.zeros((5, 2)), np.full((1, 2), np.nan), 3.0, 0.8)).all()
