"""Several tests at once: what a procedure rejects."""

from __future__ import annotations

import numpy as np
import pytest

from sluice.stats.multiple import holm, in_order


def at(*p: float) -> list:
    return [lambda level, p=p: p <= level for p in p]


@pytest.mark.parametrize(
    ("p", "rejected"),
    [
        ((0.01, 0.04, 0.03), [True, False, False]),
        ((0.01, 0.02, 0.03), [True, True, True]),  # 0.05/3, then 0.05/2, then 0.05
        ((0.02, 0.02), [True, True]),
        ((0.03, 0.03), [False, False]),
        ((), []),
    ],
)
def test_holm_steps_down(p, rejected):
    assert holm(at(*p), 0.05) == rejected


def test_holm_is_the_procedure_in_order_of_p_values():
    rng = np.random.default_rng(17)
    for _ in range(200):
        p = rng.random(6) ** 3
        stopped, expected = False, [False] * 6
        for rank, i in enumerate(np.argsort(p)):
            stopped = stopped or p[i] > 0.05 / (6 - rank)
            expected[i] = not stopped
        assert holm(at(*p), 0.05) == expected


def test_in_order_stops_at_the_first_that_stands():
    assert in_order(at(0.04, 0.03, 0.2, 0.0), 0.05) == [True, True, False, False]
