"""Bounds of a distance hold what they say, and leave room for a shift of the threshold."""

from __future__ import annotations

import numpy as np
import pytest

from sluice.stats import distances, noise
from sluice.stats.drift import js, psi


def of_psi(reference):
    return lambda found: distances.psi(reference, found)


@pytest.mark.parametrize(
    "shares",
    [[0.5, 0.5], [0.95, 0.05], [0.1] * 10, [*[0.01] * 50, 0.5], [0.998, 0.001, 0.001]],
    ids=["even", "flag", "tenths", "many", "rare"],
)
@pytest.mark.parametrize("total", [1000, 50_000])
def test_two_windows_in_a_row_are_seldom_over_the_bound(shares, total):
    rng = np.random.default_rng(3)
    over, n, level = 0, 500, 1e-3
    for _ in range(40):  # references, each wrong in its own way
        reference = rng.multinomial(total, shares)
        null = noise.drawn(reference, n, of_psi(reference), False, 1.0)
        found = distances.psi(reference, rng.multinomial(n, shares, size=(500, 2)).reshape(1000, -1)) > null.bound(level, 2)
        over += int(found.reshape(500, 2).all(axis=1).sum())
    assert over <= 20 + 3 * 20**0.5 + 15  # 20,000 pairs at a level of 1 in 1,000


def test_many_rows_leave_the_threshold_alone():
    reference = np.full(10, 100_000)
    null = noise.drawn(reference, 1_000_000, of_psi(reference), False, 1.0)
    assert null.surely(0.25) == pytest.approx(0.25, abs=0.01) and null.bound(1e-6, 2) < 0.001


def test_rates_are_seldom_over_their_bound():
    rng = np.random.default_rng(4)
    for share in (0.0, 0.001, 0.1, 0.5):
        bound = noise.rate_bound(int(20_000 * share), 20_000, 500, 1e-3)
        assert (rng.binomial(500, share, 20_000) / 500 - share > bound).mean() <= 2e-3


def test_words_that_come_together_are_worth_fewer():
    rng = np.random.default_rng(5)
    alone = rng.multinomial(300, np.full(50, 0.02), size=16)
    pairs = 10 * rng.multinomial(30, np.full(50, 0.02), size=16)
    one, ten = noise.together(alone), noise.together(pairs)
    assert one is not None and ten is not None and one[0] < 1.3 and 9 < ten[0] < 13
    assert noise.together(alone[:5]) is None
    reference = np.full(50, 10_000)
    bounds = [noise.drawn(reference, 4800, of_psi(reference), False, 1.0, t).bound(1e-4, 2) for t in (1.0, 10.0)]
    assert bounds[1] > 6 * bounds[0]


def test_distances_are_those_of_one_window():
    rng = np.random.default_rng(6)
    reference, windows = rng.integers(0, 90, 12), rng.integers(0, 40, (5, 12))
    assert distances.psi(reference, windows) == pytest.approx([psi(reference, w) for w in windows])
    assert distances.js(reference, windows) == pytest.approx([js(reference, w) for w in windows])
    assert np.isnan(distances.psi(reference, np.zeros((1, 12)))).all()


def test_distances_along_a_line_are_scipys():
    scipy = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(7)
    a, b = rng.normal(size=4000), rng.normal(0.3, 1.4, 3000)
    edges = np.linspace(-6, 8, 400)
    counts = [np.histogram(x, np.concatenate([[-50], edges, [50]]))[0] for x in (a, b)]
    ends = [edges[0], *edges, edges[-1]]
    assert distances.wasserstein(counts[0], counts[1][None], ends, 1.0)[0] == pytest.approx(scipy.wasserstein_distance(a, b), abs=0.02)
    found = distances.ks(counts[0], counts[1][None])[0]
    assert found == pytest.approx(scipy.ks_2samp(a, b).statistic, abs=0.01)
    assert distances.ks_p(0.05, 900, 1100) == pytest.approx(scipy.kstwobign.sf(0.05 * (495**0.5 + 0.12 + 0.11 / 495**0.5)), rel=1e-6)
    assert distances.ks_p(0.0, 10, 10) == 1.0 == distances.ks_p(0.5, 0, 10)
