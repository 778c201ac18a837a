"""Distances of two sets: what they are by definition, and what their intervals cover."""

from __future__ import annotations

import numpy as np
import pytest

from sluice.problems.answers import Answers
from sluice.problems.generation import features, sets
from sluice.problems.generation.metrics import Covered, FrechetDistance, KernelDistance, Samples
from sluice.problems.units import Units

KERNEL = KernelDistance("kernel_distance", "synthesis", "lower", least=-np.inf)
FRECHET = FrechetDistance("frechet_distance", "synthesis", "lower")
PRECISION, RECALL = (Covered(name, "synthesis", "higher") for name in ("precision", "recall"))


def drawn(rows: int, width: int, seed: int, off: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(off, 1, (rows, width))


def samples(made: np.ndarray, real: np.ndarray, units: Units | None = None) -> Answers:
    return Samples(made, real, np.empty(0, np.int64), None, units, made=made, real=real)


def by_definition(x: np.ndarray, y: np.ndarray) -> float:
    """Gretton et al. 2012, equation 3, pair by pair."""
    pairs = [(i, j) for i in range(len(x)) for j in range(len(x)) if i != j]
    k = lambda a, b: (a @ b / len(a) + 1) ** 3  # noqa: E731
    each = [k(x[i], x[j]) + k(y[i], y[j]) - k(x[i], y[j]) - k(x[j], y[i]) for i, j in pairs]
    return float(np.mean(each))


def test_the_kernel_distance_is_the_mean_over_pairs() -> None:
    x, y = drawn(9, 4, 1), drawn(9, 4, 2, 0.5)
    assert sets.kernel_pairs(x, y).value == pytest.approx(by_definition(x, y))


def test_leaving_a_row_or_a_unit_out_is_what_the_rest_gives() -> None:
    x, y = drawn(12, 3, 3), drawn(12, 3, 4, 1.0)
    assert sets.kernel_pairs(x, y).left_out[5] == pytest.approx(by_definition(np.delete(x, 5, 0), np.delete(y, 5, 0)))
    units = Units("who", np.repeat(np.arange(4), 3))
    rest, kept = sets.kernel_pairs(x, y, units).left_out[2], units.codes != 2
    assert rest == pytest.approx(sets.kernel_pairs(x[kept], y[kept], units.rows(kept)).value)


def test_the_kernel_distance_of_one_law_is_0_on_average() -> None:
    found = [sets.kernel_pairs(drawn(40, 3, s), drawn(40, 3, 1000 + s)).value for s in range(300)]
    assert abs(np.mean(found)) < 3 * np.std(found) / np.sqrt(300)


def test_its_interval_covers_the_truth() -> None:
    """Of two normal laws a mean apart, whose distance a large sample tells."""
    truth = sets.kernel_pairs(drawn(4000, 2, 7), drawn(4000, 2, 8, 0.7)).value
    hits = 0
    for s in range(200):
        low, high = KERNEL.interval(samples(drawn(60, 2, 20_000 + s), drawn(60, 2, 30_000 + s, 0.7)), 0.95, 0) or (0, 0)
        hits += low <= truth <= high
    assert hits >= 178  # of 200 at 95%: 190 on average, fewer than 178 one time in 1000 were it exact


def test_the_difference_of_two_models_is_paired_and_turned_so_that_more_is_better() -> None:
    real = drawn(80, 3, 1)
    near, far = samples(drawn(80, 3, 2, 0.3), real), samples(drawn(80, 3, 3, 1.5), real)
    for metric in (KERNEL, FRECHET, PRECISION):
        low, high = metric.difference(near, far, 0.95, 0) or (0, 0)
        gap = metric.sign * (metric.value(near) - metric.value(far))
        assert 0 < low <= gap <= high
        turned = metric.difference(far, near, 0.95, 0) or (0, 0)
        assert turned[0] == pytest.approx(-high, abs=0.02) and turned[1] == pytest.approx(-low, abs=0.02)


def test_the_frechet_distance_is_0_of_a_set_with_itself_and_the_square_of_a_shift() -> None:
    x = drawn(50, 4, 5)
    m = sets.moments(x)
    assert sets.frechet(m, m, 4) == pytest.approx(0, abs=1e-9)
    assert sets.frechet(m, sets.moments(x + 2), 4) == pytest.approx(16)
    assert sets.frechet(m, sets.moments(x * 3 - 2 * x.mean(axis=0)), 4) == pytest.approx(4 * np.trace(np.cov(x.T)), rel=1e-6)


def test_one_picture_over_and_over_is_precise_recalls_nothing_and_is_a_twin() -> None:
    real = drawn(100, 3, 6)
    made = np.repeat(real[:1], 100, axis=0) + drawn(100, 3, 7) * 1e-6
    a = samples(made, real)
    assert PRECISION.value(a) == 1.0
    assert RECALL.value(a) < 0.05
    assert sets.repeated(made, real) == 1.0 and sets.spread(made, real) < 1e-6
    assert sets.repeated(drawn(100, 30, 8), drawn(100, 30, 9)) == 0.0
    assert sets.spread(drawn(100, 3, 8) * 2, drawn(100, 3, 9)) == pytest.approx(4, rel=0.3)


def test_clean_pictures_of_a_noisy_kind_are_no_twins() -> None:
    """A model that leaves the grain out makes pictures that are nearer to each other than real ones."""
    clean = np.random.default_rng(3).random((200, 1)) * np.ones((1, 40)) * np.random.default_rng(4).random((200, 40))
    assert sets.repeated(clean, clean + drawn(200, 40, 5) * 0.3) < 0.1


def test_two_pictures_have_no_metric_and_say_why() -> None:
    a = samples(drawn(2, 3, 1), drawn(2, 3, 2))
    for metric in (KERNEL, FRECHET, PRECISION):
        assert not np.isfinite(metric.value(a))
        assert metric.why(a)


def test_slices_keep_what_belongs_together() -> None:
    a = samples(drawn(8, 2, 1), drawn(8, 2, 2), Units("who", np.repeat(np.arange(4), 2)))
    part = a.rows(np.arange(6))
    assert isinstance(part, Samples)
    assert part.units is not None and part.units.count == 3 and len(part.made) == 6


def test_features_are_the_same_again_and_tell_what_pixels_show() -> None:
    rng = np.random.default_rng(0)
    bars = np.zeros((200, 6, 7, 1))
    bars[np.arange(100), rng.integers(0, 6, 100)] = 1  # a line across
    bars[np.arange(100, 200), :, rng.integers(0, 7, 100)] = 1  # a line down
    flat = bars.reshape(200, -1)
    net = features.fit(flat, (6, 7, 1))
    found = net(flat)
    assert np.array_equal(features.fit(flat, (6, 7, 1))(flat), found)
    assert found.std(axis=0, ddof=1) == pytest.approx(1)
    apart = sets.kernel_pairs(found[:100], found[100:]).value
    assert apart > 20 * abs(sets.kernel_pairs(found[:50], found[50:100]).value)


@pytest.mark.parametrize(("shape", "rows"), [((1, 1, 1), 2), ((4, 4, 3), 3), ((9, 5, 1), 40)])
def test_few_or_even_pictures_have_features_too(shape: tuple[int, int, int], rows: int) -> None:
    even = np.full((rows, int(np.prod(shape))), 0.5)
    assert np.isfinite(features.fit(even, shape)(even)).all()
