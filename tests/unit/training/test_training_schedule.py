"""Learning rates step by step, and patience."""

from __future__ import annotations

import math

import pytest
from pydantic import ValidationError

from sluice.learners.torch.config import TrainConfig
from sluice.learners.torch.plan import Plan
from sluice.learners.torch.schedule import Patience, multiplier, warmup_steps


def rates(steps=100, per_epoch=10, **settings):
    config = Plan(**settings)
    return [multiplier(config, s, steps, per_epoch) for s in range(steps)]


def test_warm_up_grows_to_the_full_rate_and_cosine_falls_to_nothing():
    found = rates(warmup=0.1)
    assert found[:10] == pytest.approx([0.1 * (i + 1) for i in range(10)])
    assert found[10] == 1.0
    assert found[55] == pytest.approx(0.5)
    assert found[99] == pytest.approx(0.5 * (1 + math.cos(math.pi * 89 / 90)))
    assert found[10:] == sorted(found[10:], reverse=True)


def test_linear_constant_and_step():
    assert rates(warmup=0.0, schedule="linear")[25] == pytest.approx(0.75)
    assert set(rates(warmup=0.0, schedule="constant")) == {1.0}
    found = rates(warmup=0.0, schedule="step", decay={"every": 3, "factor": 0.5})
    assert [found[0], found[29], found[30], found[60], found[90]] == [1.0, 1.0, 0.5, 0.25, 0.125]


def test_a_plateau_s_multiplier_is_what_it_was_cut_to():
    config = TrainConfig(schedule="plateau", warmup=0.0)
    assert multiplier(config, 5, 10, 5, plateau=0.01) == 0.01


def test_warm_up_is_at_least_a_step_where_there_is_one():
    assert warmup_steps(Plan(warmup=0.05), 3) == 1
    assert warmup_steps(Plan(warmup=0.0), 3) == 0


def test_patience_counts_epochs_since_the_best_and_nan_is_never_best():
    p = Patience(-1)
    seen = [p.see(v, i + 1) for i, v in enumerate([1.0, 0.5, 0.5, math.nan, 0.4])]
    assert seen == [True, True, False, False, True]
    assert (p.best, p.best_epoch, p.bad) == (0.4, 5, 0)
    larger = Patience(1)
    assert [larger.see(v, 1) for v in (0.1, 0.2, 0.15)] == [True, True, False]


def test_a_batch_that_cannot_be_dealt_out_is_refused():
    with pytest.raises(ValidationError, match="is less than processes x nodes x accumulate = 8"):
        TrainConfig(batch_size=7, processes=2, accumulate=4)
