"""What a stream of errors can tell at all: exact thresholds, and the bound that no test exceeds."""

from __future__ import annotations

import numpy as np
import pytest

from sluice.monitor.concept import power, ratios, threshold


@pytest.mark.parametrize(("rate", "apart"), [(0.1, 1000.0), (0.2, 500.0)])
def test_false_alarms_are_as_far_apart_as_was_asked(rate: float, apart: float) -> None:
    told = ratios(np.full(1, rate), 0.05, rate)
    limit, rng = threshold(told, apart), np.random.default_rng(5)
    sums, alarms, rows = np.zeros(400), 0, 4000
    for _ in range(rows):
        sums = np.maximum(sums + np.where(rng.random(400) < rate, told.wrong[0], told.right[0]), 0.0)
        over = sums > limit
        alarms, sums[over] = alarms + int(over.sum()), 0.0
    assert 400 * rows / alarms == pytest.approx(apart, rel=0.12)


def test_five_points_of_one_error_in_five_are_out_of_reach_of_any_test_and_more_false_alarms_reach_them() -> None:
    found, most = power(0.2, 0.05, 4000)
    assert 0.82 < found < most < 0.95 and most == pytest.approx(0.932, abs=0.01)
    assert power(0.2, 0.05, 1000)[0] > 0.95 and power(0.05, 0.05, 4000)[0] > 0.98
