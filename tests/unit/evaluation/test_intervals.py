"""Intervals cover as often as they say, and agree with published values and with SciPy."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sluice.gates.config import EvaluateConfig
from sluice.problems.counts import from_codes, from_totals, totals
from sluice.problems.evaluator import evaluate
from sluice.problems.intervals import (
    bca,
    largest_share,
    leave_one_out,
    mcnemar_exact,
    mean_of_proportions,
    newcombe_paired,
    resample_cells,
    skewed,
    unseen,
    wilson,
)
from sluice.problems.metrics import TABLE, Answers
from tests.bench.intervals import coverage
from tests.unit.evaluation.decided import decide

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
    f = {"mean": lambda m: m, "root": np.sqrt}[statistic]
    drawn = np.random.default_rng(17).integers(0, 150, (20_000, 150))
    ours = bca(float(f(x.mean())), (f(x[drawn].mean(axis=1)), leave_one_out(x[:, None], lambda m: f(m[..., 0])), np.ones(150)), 0.95)
    theirs = stats.bootstrap(
        (x,), lambda a, axis: f(a.mean(axis=axis)), n_resamples=20_000, method="BCa", rng=np.random.default_rng(4)
    ).confidence_interval
    assert ours == pytest.approx(tuple(theirs), rel=0.02)


def test_without_skewness_it_is_students_t_and_turned_round_it_turns_round():
    x = np.random.default_rng(4).normal(size=40)
    x = np.concatenate([x, -x]) + 3
    low, high = skewed(x.mean(), leave_one_out(x[:, None], lambda m: m[..., 0]), 0.95)
    assert (low, high) == pytest.approx(stats.t.interval(0.95, 79, x.mean(), stats.sem(x)))
    y = np.random.default_rng(5).exponential(size=60)
    one, other = (skewed(v.mean(), leave_one_out(v[:, None], lambda m: m[..., 0]), 0.9) for v in (y, -y))
    assert one == pytest.approx((-other[1], -other[0]))
    assert one[1] - y.mean() > y.mean() - one[0], "it reaches further to where the tail is"


def test_hall_s_transformation_is_undone_by_its_inverse():
    """The limits are where the transformed t of Hall (1992) is Student's: t + a t^2 / 3 + a^2 t^3 / 27 + a / 6 with a = skewness / sqrt(n)."""
    y = np.random.default_rng(6).lognormal(size=50)
    a = stats.skew(y, bias=False) / np.sqrt(50)
    for limit, wanted in zip(skewed(y.mean(), leave_one_out(y[:, None], lambda m: m[..., 0]), 0.95), (1, -1), strict=True):
        t = (y.mean() - limit) / stats.sem(y)
        assert t + a * t**2 / 3 + a**2 * t**3 / 27 + a / 6 == pytest.approx(wanted * stats.t.ppf(0.975, 49))


def test_what_may_lie_beyond_the_largest_error_counts_where_the_tail_is_long_and_not_elsewhere():
    rng = np.random.default_rng(7)
    assert unseen(np.abs(rng.normal(size=200)), 0.95) == 0
    long = rng.lognormal(sigma=2, size=200)
    assert unseen(long, 0.95) == pytest.approx(1.5 * (1 - 0.025 ** (1 / 200)) * long.max())
    assert largest_share(np.array([1.0] * 99 + [99.0])) == 0.5 and largest_share(np.zeros(5)) == 0


#: Law of the bench, metric -> the value and the difference themselves, as `truth` there finds them from eight million rows.
TRUE = {
    ("sharp probabilities, equal models", "log_loss"): (0.30702, -0.00006),
    ("sharp probabilities, one too sure", "log_loss"): (0.29530, 0.01919),
    ("normal errors", "rmse"): (1.0, 0.1),
    ("lognormal targets, half explained", "rmse"): (1.7039, 0.4554),
    ("Student's errors, 5 degrees of freedom", "mae"): (0.94916, 0.09412),
}

#: How often the value's interval, and the difference's, hold at least: of 300 sets, so two standard errors are taken off 93 %.
ENOUGH = 0.93 - 2 * math.sqrt(0.93 * 0.07 / 300)


@pytest.mark.parametrize(
    ("law", "metric", "rows"),
    [
        ("sharp probabilities, equal models", "log_loss", 30),
        ("sharp probabilities, one too sure", "log_loss", 200),
        ("normal errors", "rmse", 30),
        ("lognormal targets, half explained", "rmse", 200),
        ("lognormal targets, half explained", "rmse", 2000),
        ("Student's errors, 5 degrees of freedom", "mae", 200),
    ],
)
def test_intervals_of_losses_hold_as_often_as_they_say(law, metric, rows, monkeypatch):
    monkeypatch.setattr("tests.bench.intervals.truth", lambda *_: TRUE[law, metric])
    own, paired, _ = coverage(law, metric, rows, 300)
    assert own >= ENOUGH and paired >= ENOUGH


def test_where_rows_cannot_show_it_it_is_told():
    y, rng = np.zeros(30), np.random.default_rng(8)
    few = evaluate(rng.normal(size=30), y, [], EvaluateConfig(metric="rmse"))
    assert "30 rows show no large error that fewer than one row in 10 has" in few["metrics"]["rmse"]["note"]
    assert "note" not in evaluate(rng.normal(size=300), np.zeros(300), [], EvaluateConfig(metric="rmse"))["metrics"]["rmse"]
    heavy = evaluate(np.where(np.arange(1000) < 10, 40.0, 1.0), np.zeros(1000), [], EvaluateConfig(metric="rmse"))
    said = heavy["metrics"]["rmse"]["note"]
    assert "the largest 1% of the rows (10) carry 94% of the sum" in said
    decision, reasons = decide(heavy, None, EvaluateConfig(metric="rmse"))
    assert decision == "pass" and any(said in r for r in reasons)


def test_an_interval_of_a_hundred_thousand_rows_takes_no_time():
    rng = np.random.default_rng(9)
    ours, theirs = (Answers.of(rng.normal(size=100_000), np.zeros(100_000)) for _ in range(2))
    begun = time.process_time()
    for metric in ("rmse", "mae", "r2"):
        TABLE[metric].interval(ours, 0.95, 1000)
        TABLE[metric].difference(ours, theirs, 0.95, 1000)
    assert time.process_time() - begun < 1


def test_cells_resample_as_rows_do():
    rng = np.random.default_rng(5)
    y = rng.integers(0, 3, 400)
    predicted = np.where(rng.random(400) < 0.8, y, rng.integers(0, 3, 400))
    value = from_codes("macro_f1", y, predicted, 3)
    ours = bca(
        value,
        resample_cells(
            np.stack([y, predicted], 1), lambda c, w: totals(c[:, 0], c[:, 1], 3, w), lambda t: from_totals("macro_f1", t), 5000
        ),
        0.95,
    )
    theirs = stats.bootstrap(
        (y, predicted),
        lambda a, b: from_codes("macro_f1", a, b, 3),
        paired=True,
        vectorized=False,
        n_resamples=3000,
        method="BCa",
        rng=np.random.default_rng(6),
    ).confidence_interval
    assert ours == pytest.approx(tuple(theirs), abs=0.006)


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
