from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice import stats
from sluice.stats import drift


def test_log_gamma_agrees_with_scipy():
    special = pytest.importorskip("scipy.special")
    x = np.concatenate([np.logspace(-4, 9, 400), np.arange(1, 50)])
    assert np.allclose(stats.log_gamma(x), special.gammaln(x), rtol=1e-12, atol=1e-12)
    assert stats.log_beta(3, 4) == pytest.approx(special.betaln(3, 4))


def test_log_mean_exp_neither_overflows_nor_underflows():
    assert stats.log_mean_exp(np.array([1000.0, 1000.0])) == pytest.approx(1000.0)
    assert stats.log_mean_exp(np.array([-1000.0, -np.inf])) == pytest.approx(-1000 - math.log(2))
    assert stats.log_mean_exp(np.array([-np.inf, -np.inf])) == -np.inf


def test_shares_test_agrees_with_savvi():
    multinomial = pytest.importorskip("savvi.multinomial")
    shares = np.array([0.1, 0.6, 0.3])
    theirs = multinomial.Multinomial(0.05, shares, k=100)
    for block in ([3, 20, 10], [9, 30, 11], [0, 5, 5]):
        theirs.update(np.array(block))
    assert stats.shares_log_e(theirs.counts, shares) == pytest.approx(math.log(theirs.odds), rel=1e-9)


def test_shares_test_keeps_its_level_and_sees_a_wrong_split():
    generator = np.random.default_rng(2)
    honest = generator.multinomial(40, [0.9, 0.1], size=(1000, 60)).cumsum(axis=1)
    assert (stats.shares_log_e(honest, [0.9, 0.1]).max(axis=1) >= math.log(20)).mean() <= 0.05
    wrong = generator.multinomial(40, [0.8, 0.2], size=60).cumsum(axis=0)
    assert stats.shares_log_e(wrong, [0.9, 0.1])[-1] > math.log(1000)


def test_two_sample_evidence_is_small_for_alike_and_large_for_different_arms():
    assert stats.two_sample_log_e([500, 300, 200], [50, 30, 20]) < 0
    assert stats.two_sample_log_e([500, 300, 200], [10, 30, 60]) > 10


def test_bounded_mean_sequence_covers_and_narrows():
    generator = np.random.default_rng(8)
    missed, widths = 0, []
    for _ in range(300):
        low, high = stats.bounded_interval(generator.beta(2, 6, size=800), alpha=0.1)
        missed += bool(((low > 0.25) | (high < 0.25)).any())
        widths.append(high[-1] - low[-1])
    assert missed <= 30
    assert np.mean(widths) < 0.1


def test_bounded_mean_sequence_refuses_values_outside_the_unit_interval():
    with pytest.raises(ValueError):
        stats.bounded_interval([0.2, 1.5])
    assert [len(side) for side in stats.bounded_interval([])] == [0, 0]


def test_mean_sequences_cover_when_looked_at_all_the_time():
    generator = np.random.default_rng(4)
    missed = missed_difference = 0
    for _ in range(400):
        a, b = generator.exponential(2.0, size=1500), generator.exponential(2.5, size=1500)
        n = np.arange(1, 1501)
        low, high = stats.mean_interval(n, a.cumsum(), (a**2).cumsum(), alpha=0.1)
        missed += bool(((low > 2) | (high < 2))[50:].any())
        for m in range(100, 1501, 100):
            sides = [(m, x[:m].sum(), (x[:m] ** 2).sum()) for x in (a, b)]
            l2, h2 = stats.mean_difference_interval(*sides, alpha=0.1)
            if not l2 <= 0.5 <= h2:
                missed_difference += 1
                break
    assert missed <= 48
    assert missed_difference <= 48


def test_mean_difference_is_unknown_before_two_values_in_each_arm():
    assert stats.mean_difference_interval((1, 1, 1), (100, 50, 50)) == (-math.inf, math.inf)
    assert stats.mean_interval(1, 3, 9) == (-math.inf, math.inf)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0, 1000), min_size=1, max_size=12), st.floats(0.01, 0.3))
def test_e_bh_agrees_with_its_definition(values, alpha):
    e = np.array(values)
    best = 0
    for k in range(1, e.size + 1):
        if (np.sort(e)[::-1][k - 1]) * k >= e.size / alpha:
            best = k
    mine = stats.rejected(e, alpha)
    assert mine.sum() == best
    assert best == 0 or e[mine].min() >= np.sort(e)[::-1][best - 1]


def test_e_values_average_and_turn_into_p_values():
    assert stats.combine([0.0, math.log(3)]) == pytest.approx(math.log(2))
    assert stats.p_value(-5) == 1.0
    assert stats.p_value(math.log(40)) == pytest.approx(1 / 40)


def test_psi_of_a_worked_example():
    # (0.6-0.5) ln(0.6/0.5) + (0.4-0.5) ln(0.4/0.5)
    assert drift.psi([50, 50], [60, 40], prior=0) == pytest.approx(0.1 * math.log(1.2) - 0.1 * math.log(0.8))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 1000), min_size=2, max_size=8).filter(any), st.data())
def test_distances_are_zero_for_equal_symmetric_and_bounded(counts, data):
    other = data.draw(st.lists(st.integers(0, 1000), min_size=len(counts), max_size=len(counts)).filter(any))
    assert drift.psi(counts, counts) == pytest.approx(0)
    assert drift.js(counts, counts) == pytest.approx(0, abs=1e-7)
    assert drift.js(counts, other) == pytest.approx(drift.js(other, counts))
    assert 0 <= drift.js(counts, other) <= 1
    assert drift.psi(counts, other) >= -1e-12


def test_js_agrees_with_scipy():
    distance = pytest.importorskip("scipy.spatial.distance")
    assert drift.js([10, 30, 60], [50, 30, 20], prior=0) == pytest.approx(distance.jensenshannon([10, 30, 60], [50, 30, 20], base=2))


def test_numeric_bins_are_fixed_by_the_reference_and_hold_every_value():
    reference = np.arange(1000.0)
    edges = drift.quantile_edges(reference, bins=10)
    assert len(edges) == 9
    assert drift.numeric_counts(reference, edges).tolist()[:-1] == pytest.approx([100] * 10, abs=1)
    moved = np.concatenate([[np.nan, np.inf, -1e9, 1e9], reference])
    counts = drift.numeric_counts(moved, edges)
    assert counts.sum() == moved.size
    assert counts[-1] == 2


def test_a_missing_reference_has_no_edges_and_a_constant_one_its_own_bin():
    assert drift.numeric_counts([3.0, 2.9, 3.1], drift.quantile_edges([3.0] * 10)).tolist() == [1, 1, 1, 0]
    assert drift.quantile_edges([np.nan]).size == 0
    assert drift.numeric_counts([1.0, np.nan], []).tolist() == [1, 1]


def test_unknown_and_missing_categories_have_bins_of_their_own():
    assert drift.category_counts(["a", "b", None, "new", "a", ""], ["a", "b"]).tolist() == [2, 1, 1, 2]
    assert drift.category_counts({"a": 5, "zzz": 2}, ["a"]).tolist() == [5, 2, 0]


def test_wilson_agrees_with_scipy():
    scipy = pytest.importorskip("scipy.stats")
    for n, k in ((10, 0), (10, 10), (300, 7), (57, 31)):
        ci = scipy.binomtest(k, n).proportion_ci(0.95, "wilson")
        assert stats.wilson(n, k) == (pytest.approx(ci.low), pytest.approx(ci.high))
    assert stats.wilson(0, 0) == (0.0, 1.0)


def test_newcombe_reproduces_the_papers_example():
    # Newcombe 1998, table II, 56/70 against 48/80, method 10: 0.0524 to 0.3339.
    low, high = stats.newcombe(80, 48, 70, 56)
    assert (low, high) == (pytest.approx(0.0524, abs=1e-4), pytest.approx(0.3339, abs=1e-4))


def test_bootstrap_covers_the_statistic_and_repeats_with_its_seed():
    x = np.random.default_rng(1).normal(5, 1, 200)
    first = stats.bootstrap(200, lambda i: float(x[i].mean()), draws=300, seed=9)
    assert first == stats.bootstrap(200, lambda i: float(x[i].mean()), draws=300, seed=9)
    assert first[0] < x.mean() < first[1]
    assert all(math.isnan(v) for v in stats.bootstrap(5, lambda _: float("nan"), draws=10))


def test_a_mass_point_has_a_bin_of_its_own_and_its_move_is_seen():
    flag = np.repeat([0.0, 1.0], [950, 50])
    edges = drift.quantile_edges(flag)
    before, after = drift.numeric_counts(flag, edges), drift.numeric_counts(1 - flag, edges)
    assert sorted(before[before > 0]) == [50, 950] and drift.psi(before, after) > 2
    spiked = np.concatenate([np.zeros(900), np.linspace(1, 100, 100)])
    counts = drift.numeric_counts(spiked, drift.quantile_edges(spiked))
    assert counts.max() == 900 and drift.psi(counts, drift.numeric_counts(spiked - 1, drift.quantile_edges(spiked))) > 0.25
    constant = np.full(200, 7.5)
    edges = drift.quantile_edges(constant)
    assert drift.psi(drift.numeric_counts(constant, edges), drift.numeric_counts(constant + 1, edges)) > 2


@given(st.lists(st.sampled_from([0.0, -1.5, 2.0, 1e300, 5e-324]) | st.floats(-1e6, 1e6), min_size=1, max_size=200))
@settings(deadline=None, max_examples=60)
def test_edges_rise_and_every_common_value_is_alone_in_its_bin(values: list[float]):
    x = np.array(values)
    edges = drift.quantile_edges(x)
    assert (np.diff(edges) > 0).all() and drift.numeric_counts(x, edges).sum() == x.size
    for value, n in zip(*np.unique(x, return_counts=True), strict=True):
        if n * 10 >= x.size:
            assert drift.numeric_counts(x, edges)[np.searchsorted(edges, value, side="right")] == n


def test_no_rows_are_no_distance():
    assert drift.psi([5, 5], [0, 0]) is None and drift.js([0, 0], [5, 5]) is None and drift.noise_floor("psi", [5, 5], [0, 0]) is None


@pytest.mark.parametrize("method", ["psi", "js"])
@pytest.mark.parametrize(("n", "m"), [(5000, 300), (2000, 2000), (20_000, 100)])
def test_equal_data_exceeds_the_noise_floor_as_often_as_is_said(method: str, n: int, m: int):
    generator = np.random.default_rng(5)
    shares = np.full(10, 0.1)
    distance = {"psi": drift.psi, "js": drift.js}[method]
    beyond = 0
    for _ in range(2000):
        a, b = generator.multinomial(n, shares), generator.multinomial(m, shares)
        beyond += distance(a, b) > drift.noise_floor(method, a, b, level=0.05)
    assert 0.03 <= beyond / 2000 <= 0.075
