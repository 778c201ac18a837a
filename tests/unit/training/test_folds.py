"""Which fold a row is in, and the interval over folds."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from sluice.core.errors import DataError
from sluice.learners.crossvalidation import interval
from sluice.learners.folds import assign
from sluice.stats.student import t_quantile


def table(labels, folds, k):
    return np.array([[((folds == f) & (labels == c)).sum() for c in np.unique(labels)] for f in range(k)])


def test_every_label_and_every_fold_is_level():
    labels = np.random.default_rng(0).choice(4, 997, p=[0.6, 0.3, 0.08, 0.02])
    found = table(labels, assign(labels, np.arange(997), 5, 17), 5)
    assert (np.ptp(found, axis=0) <= 1).all() and np.ptp(found.sum(axis=1)) <= 1


def test_groups_stay_together_and_labels_are_nearly_level():
    rng = np.random.default_rng(1)
    groups = rng.integers(0, 80, 1200)
    labels = (rng.random(1200) < 0.2 + 0.5 * (groups % 2)).astype(np.int64)
    folds = assign(labels, groups, 4, 17)
    assert all(len(set(folds[groups == g])) == 1 for g in np.unique(groups))
    share = table(labels, folds, 4) / np.bincount(labels)
    assert np.abs(share - 0.25).max() < 0.03


def test_groups_of_several_rows_leave_room_for_those_alone():
    groups = np.concatenate([np.zeros(30, np.int64), np.arange(1, 91)])
    folds = assign(np.zeros(120, np.int64), groups, 4, 17)
    assert np.bincount(folds).tolist() == [30, 30, 30, 30]


def test_values_are_spread_over_the_folds():
    values = np.random.default_rng(2).exponential(size=1000)
    folds = assign(values, np.arange(1000), 5, 17)
    means = [values[folds == f].mean() for f in range(5)]
    assert np.bincount(folds).max() - np.bincount(folds).min() <= 1
    assert max(means) - min(means) < 0.2


def test_the_same_seed_gives_the_same_folds_and_another_others():
    labels, groups = np.arange(200) % 3, np.arange(200)
    assert (assign(labels, groups, 5, 1) == assign(labels, groups, 5, 1)).all()
    assert (assign(labels, groups, 5, 1) != assign(labels, groups, 5, 2)).any()


def test_fewer_groups_than_folds_are_refused():
    with pytest.raises(DataError, match="3 groups of training rows for 5 folds"):
        assign(np.zeros(9, np.int64), np.arange(9) // 3, 5, 1)


@pytest.mark.parametrize("df", [1, 2, 3, 4, 9, 30, 99])
@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.99])
def test_the_t_quantile_is_students(df, confidence):
    assert t_quantile(confidence, df) == pytest.approx(stats.t.ppf(0.5 + confidence / 2, df), rel=1e-12)


def test_the_interval_is_wider_than_independent_folds_would_give():
    found = interval([0.9, 0.92, 0.88, 0.91, 0.89], 0.95)
    naive = stats.t.interval(0.95, 4, 0.9, np.std([0.9, 0.92, 0.88, 0.91, 0.89], ddof=1) / 5**0.5)
    assert found["mean"] == pytest.approx(0.9)
    assert found["high"] - found["mean"] == pytest.approx((naive[1] - 0.9) * 1.5)  # sqrt((1/5 + 1/4) / (1/5))


def test_an_undefined_fold_gives_no_interval():
    assert interval([0.9, float("nan")], 0.95) == {"mean": None, "std": None, "low": None, "high": None}


def test_an_interval_stays_where_the_metric_can_be():
    found = interval([0.99, 1.0, 0.9], 0.95, 0.0, 1.0)
    assert found["high"] == 1.0 and 0 < found["low"] < 0.9
