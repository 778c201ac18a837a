"""Intervals cover as often as they say, and agree with published values and with SciPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sluice.evaluation import intervals
from sluice.evaluation.counts import from_codes, from_totals, totals
from sluice.evaluation.intervals import (
    bca,
    mcnemar_exact,
    mean_of_proportions,
    newcombe_paired,
    resample_cells,
    resample_means,
    wilson,
)
from sluice.evaluation.metrics import TABLE, Answers

QUICK = settings(max_examples=100, deadline=None)


def interval(metric, outputs, targets, confidence, resamples):
    return TABLE[metric].interval(Answers.of(outputs, targets), confidence, resamples)


@QUICK
@given(st.integers(1, 5000), st.data(), st.sampled_from([0.8, 0.95, 0.99]))
def test_wilson_is_that_of_scipy(n, data, confidence):
    k = data.draw(st.integers(0, n))
    other = stats.binomtest(k, n).proportion_ci(confidence, method="wilson")
    assert wilson(k, n, confidence) == pytest.approx((other.low, other.high), abs=1e-12)


@QUICK
@given(st.integers(0, 400), st.integers(0, 400))
def test_mcnemar_is_the_exact_binomial_test(first, second):
    expected = stats.binomtest(first, first + second).pvalue if first + second else 1.0
    assert mcnemar_exact(first, second) == pytest.approx(expected, rel=1e-9)


def test_mcnemar_holds_for_counts_whose_binomials_overflow():
    assert mcnemar_exact(50_000, 50_600) == pytest.approx(stats.binomtest(50_000, 100_600).pvalue, rel=1e-6)


def test_newcombe_contains_the_difference_and_turns_with_its_arguments():
    rng = np.random.default_rng(0)
    for both, first, second, neither in rng.integers(0, 60, (200, 4)):
        if both + first + second + neither == 0:
            continue
        n = both + first + second + neither
        low, high = newcombe_paired(both, first, second, neither, 0.95)
        assert -1 <= low <= (first - second) / n <= high <= 1
        assert newcombe_paired(both, second, first, neither, 0.95) == pytest.approx((-high, -low), abs=1e-12)


def test_newcombe_covers_the_true_difference_about_as_often_as_it_says():
    rng, hits, trials, n = np.random.default_rng(1), 0, 3000, 200
    p = np.array([0.80, 0.08, 0.04, 0.08])
    for both, first, second, neither in rng.multinomial(n, p, size=trials):
        low, high = newcombe_paired(both, first, second, neither, 0.95)
        hits += low <= p[1] - p[2] <= high
    assert 0.935 <= hits / trials <= 0.985


def test_mean_of_proportions_covers_the_true_mean_about_as_often_as_it_says():
    rng, hits, trials = np.random.default_rng(2), 0, 3000
    p, rows = np.array([0.97, 0.8, 0.99, 0.6]), np.array([100, 30, 12, 50])
    for successes in rng.binomial(rows, p, size=(trials, 4)):
        low, high = mean_of_proportions(successes, rows, 0.95)
        hits += low <= p.mean() <= high
    assert 0.93 <= hits / trials <= 0.99


@pytest.mark.parametrize("statistic", ["mean", "root"])
def test_bca_is_that_of_scipy(statistic):
    x = np.random.default_rng(3).lognormal(sigma=1.2, size=150)
    f = {"mean": lambda m: m[..., 0], "root": lambda m: np.sqrt(m[..., 0])}[statistic]
    ours = bca(float(f(x.mean(keepdims=True))), resample_means(x[:, None], f, 20_000), 0.95)
    theirs = stats.bootstrap((x,), lambda a, axis: f(a.mean(axis=axis)[..., None]), n_resamples=20_000, method="BCa",
                             rng=np.random.default_rng(4)).confidence_interval  # fmt: skip
    assert ours == pytest.approx(tuple(theirs), rel=0.02)


def test_cells_resample_as_rows_do():
    rng = np.random.default_rng(5)
    y = rng.integers(0, 3, 400)
    predicted = np.where(rng.random(400) < 0.8, y, rng.integers(0, 3, 400))
    value = from_codes("macro_f1", y, predicted, 3)
    ours = bca(value, resample_cells(np.stack([y, predicted], 1), lambda c, w: totals(c[:, 0], c[:, 1], 3, w), lambda t: from_totals("macro_f1", t), 5000), 0.95)
    theirs = stats.bootstrap((y, predicted), lambda a, b: from_codes("macro_f1", a, b, 3), paired=True, vectorized=False, n_resamples=3000,
                             method="BCa", rng=np.random.default_rng(6)).confidence_interval  # fmt: skip
    assert ours == pytest.approx(tuple(theirs), abs=0.006)


def test_many_rows_are_resampled_from_their_normal_limit(monkeypatch):
    x = np.random.default_rng(7).normal(2, 1, (8000, 1)) ** 2

    def root(means: np.ndarray) -> np.ndarray:
        return np.sqrt(means[..., 0])

    exact = bca(float(np.sqrt(x.mean())), resample_means(x, root, 4000), 0.95)
    monkeypatch.setattr(intervals, "NORMAL_ROWS", 100)
    limit = bca(float(np.sqrt(x.mean())), resample_means(x, root, 4000), 0.95)
    assert limit == pytest.approx(exact, abs=0.05 * (exact[1] - exact[0]))
    assert limit != exact


def test_a_perfect_model_is_not_certain():
    p = np.eye(2)[np.array([0, 1] * 15)]
    for metric in ("accuracy", "balanced_accuracy", "macro_f1"):
        low, high = interval(metric, p, np.array([0, 1] * 15), 0.95, 500)
        assert 0.8 < low < 1
        assert high == 1


def test_a_statistic_without_spread_has_no_width_and_one_without_value_no_interval():
    assert bca(3.0, (np.full(100, 3.0), np.full(5, 3.0), np.ones(5)), 0.95) == (3.0, 3.0)
    assert bca(3.0, (np.full(100, math.nan), np.full(5, 3.0), np.ones(5)), 0.95) is None
    assert bca(math.nan, (np.arange(100.0), np.arange(5.0), np.ones(5)), 0.95) is None


def test_a_wider_confidence_gives_a_wider_interval():
    rng = np.random.default_rng(8)
    y, p = rng.normal(size=300), rng.normal(size=300)
    widths = [np.ptp(interval("rmse", p, y, c, 2000)) for c in (0.8, 0.95, 0.99)]
    assert widths == sorted(widths)
