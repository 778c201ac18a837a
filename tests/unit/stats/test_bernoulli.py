from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.stats import difference_interval, difference_log_e, hedge, project, rate_exceeds, rate_interval, rate_log_e, ratio_log_e

inside = st.floats(0.002, 0.998)
counts = st.integers(1, 12)


def pmf(n: int, p: float) -> np.ndarray:
    return np.array([math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)])


def expectation(log_e: np.ndarray, n_a: int, a: float, n_b: int, b: float) -> float:
    """Exact expected e-value under rates (a, b); log_e is indexed [k_a, k_b]."""
    return float((np.outer(pmf(n_a, a), pmf(n_b, b)) * np.exp(log_e)).sum())


@settings(max_examples=150, deadline=None)
@given(a1=inside, b1=inside, margin=st.floats(-0.4, 0.4), n_a=counts, n_b=counts, a=st.floats(0, 1), slack=st.floats(0, 1))
def test_difference_e_value_has_expectation_at_most_one_anywhere_in_the_null(a1, b1, margin, n_a, n_b, a, slack):
    k_a, k_b = np.meshgrid(np.arange(n_a + 1), np.arange(n_b + 1), indexing="ij")
    log_e = difference_log_e(n_a, k_a, n_b, k_b, a1, b1, margin)
    # A point of the null: on the other side of the line from the alternative, or on it.
    b = a + margin - slack if b1 - a1 > margin else a + margin + slack
    if not 0 <= b <= 1:
        return
    assert expectation(log_e, n_a, a, n_b, b) <= 1 + 1e-8


@settings(max_examples=100, deadline=None)
@given(ratio=st.floats(1.01, 500), n_a=counts, n_b=counts, a=st.floats(0, 1), part=st.floats(0, 1))
def test_ratio_e_value_has_expectation_at_most_one_when_candidate_is_no_worse(ratio, n_a, n_b, a, part):
    k_a, k_b = np.meshgrid(np.arange(n_a + 1), np.arange(n_b + 1), indexing="ij")
    assert expectation(ratio_log_e(n_a, k_a, n_b, k_b, ratio), n_a, a, n_b, a * part) <= 1 + 1e-9


@settings(max_examples=60, deadline=None)
@given(n=st.integers(1, 15), limit=st.floats(0.01, 0.9), bet=st.floats(0.02, 0.99), part=st.floats(0, 1))
def test_rate_e_value_has_expectation_at_most_one_below_the_limit(n, limit, bet, part):
    k = np.arange(n + 1)
    if bet > limit:
        assert float((pmf(n, limit * part) * np.exp(rate_log_e(n, k, limit, bet))).sum()) <= 1 + 1e-9


@settings(max_examples=100, deadline=None)
@given(a1=inside, b1=inside, margin=st.floats(-0.5, 0.5), n_a=counts, n_b=counts)
def test_projection_is_the_nearest_point_of_the_line(a1, b1, margin, n_a, n_b):
    a, b = project(a1, b1, n_a, n_b, margin)
    assert b - a == pytest.approx(margin, abs=1e-12)

    def divergence(x):
        def kl(p, q):
            return p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))

        with np.errstate(divide="ignore", invalid="ignore"):
            return n_a * kl(a1, x) + n_b * kl(b1, x + margin)

    grid = np.linspace(max(0, -margin) + 1e-9, min(1, 1 - margin) - 1e-9, 4001)
    assert float(divergence(np.clip(a, 1e-12, 1 - 1e-12))) <= np.nanmin(divergence(grid)) + 1e-6


def test_no_outcomes_are_no_evidence():
    assert float(difference_log_e(0, 0, 0, 0, 0.1, 0.3, 0.0)) == 0.0
    assert float(ratio_log_e(5, 2, 0, 0, 3.0)) == 0.0
    assert float(rate_log_e(0, 0, 0.1, 0.5)) == 0.0


def test_hedging_bounds_what_a_block_can_cost():
    assert float(hedge(-1e9, 0.9)) == pytest.approx(math.log(0.1))
    assert float(hedge(3.0, 0.0)) == pytest.approx(0.0)
    assert float(hedge(2.0, 0.5)) == pytest.approx(math.log(0.5 + 0.5 * math.exp(2.0)))


def test_evidence_against_a_worse_arm_grows_and_crosses_the_level():
    generator = np.random.default_rng(3)
    log_e = 0.0
    for _ in range(60):
        log_e += float(difference_log_e(90, generator.binomial(90, 0.01), 10, generator.binomial(10, 0.2), 0.01, 0.15, 0.02))
    assert log_e > math.log(1000)


def test_false_alarms_of_a_test_looked_at_after_every_block_stay_below_alpha():
    # 3,000 sequences of 100 looks each, both arms alike with a rate that jumps from block to block.
    generator = np.random.default_rng(11)
    runs, looks = 3000, 100
    rates = generator.choice([0.001, 0.02, 0.5], size=(runs, looks), p=[0.7, 0.2, 0.1])
    k_a, k_b = generator.binomial(45, rates), generator.binomial(5, rates)
    wealth = np.cumsum(ratio_log_e(45, k_a, 5, k_b, 3.0), axis=1)
    assert (wealth.max(axis=1) >= math.log(20)).mean() <= 0.05


def test_rate_interval_covers_at_all_times_at_once():
    generator = np.random.default_rng(5)
    runs, looks, rate = 1500, 400, 0.03
    k = np.cumsum(generator.random((runs, looks)) < rate, axis=1)
    low, high = rate_interval(np.arange(1, looks + 1)[None, :], k, alpha=0.1)
    missed = ((low > rate) | (high < rate)).any(axis=1)
    assert missed.mean() <= 0.1
    assert (high - low)[:, -1].mean() < 0.12


def test_rate_interval_agrees_with_savvi():
    # Two labels under a Dirichlet(1/2, 1/2) prior are the same mixture; savvi solves a convex program for it.
    multinomial = pytest.importorskip("savvi.multinomial")
    for n, k in ((10, 3), (200, 4), (1000, 500)):
        theirs = multinomial.Multinomial(0.05, np.array([0.5, 0.5]), k=1)
        theirs.update(np.array([k, n - k]))
        low, high = theirs.calculate_conf_int()[0]
        assert rate_interval(n, k, 0.05) == (pytest.approx(low, abs=1e-3), pytest.approx(high, abs=1e-3))


def test_rate_interval_ends_are_exact_without_or_with_only_successes():
    assert rate_interval(0, 0) == (0.0, 1.0)
    assert rate_interval(50, 0)[0] == 0.0
    assert rate_interval(50, 50)[1] == 1.0


def test_difference_interval_holds_the_difference():
    low, high = difference_interval(1000, 10, 1000, 100)
    assert 0 < low < 0.09 < high


def test_a_rate_exceeds_a_limit_exactly_where_its_whole_sequence_lies_above_it():
    n, k = np.meshgrid([1.0, 12.0, 300.0, 4000.0], [0.0, 0.04, 0.1, 0.13, 0.6, 1.0])
    n, k = n.ravel(), np.round(k.ravel() * n.ravel())
    low = rate_interval(n, k, 0.05)[0]
    assert [rate_exceeds(a, b, 0.1) for a, b in zip(n, k, strict=True)] == [bool(x > 0.1) for x in low]
    assert not rate_exceeds(0, 0, 0.1) and not rate_exceeds(50, 50, 1.0)
