"""What logged decisions say of a policy that did not make them."""

from __future__ import annotations

import numpy as np
import pytest

from sluice.problems.bandit import Bandit, logged, logs_of
from sluice.problems.intervals import Interval
from sluice.problems.offpolicy import Logs, RewardModel, effective, numbers_as_features, row_values, texts_as_features

ASKED = Bandit()


def simulated(seed: int, rows: int, explore: float = 0.3) -> tuple[np.ndarray, Logs, np.ndarray]:
    """Contexts [rows, 2], what was logged by a policy that explores, and each action's true mean reward [rows, 3]."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((rows, 2))
    means = np.stack([x[:, 0], x[:, 1], 0.5 * np.abs(x[:, 0])], axis=1)
    chances = np.full((rows, 3), explore / 3)
    chances[np.arange(rows), means.argmax(axis=1)[rng.permutation(rows)]] += 1 - explore
    actions = (chances.cumsum(axis=1) > rng.random((rows, 1))).argmax(axis=1)
    rewards = means[np.arange(rows), actions] + rng.standard_normal(rows)
    return x, Logs(actions, rewards, chances[np.arange(rows), actions]), means


def policy(x: np.ndarray) -> np.ndarray:
    """What is judged: the better of two actions."""
    return (x[:, 1] > x[:, 0]).astype(np.int64)


#: What it earns: E[max of two standard normals].
TRUTH = 1 / np.sqrt(np.pi)


def judged(seed: int, rows: int) -> tuple[float, Interval]:
    x, logs, _ = simulated(seed, 2 * rows)
    first = Logs(logs.actions[:rows], logs.rewards[:rows], logs.propensities[:rows])
    second = Logs(logs.actions[rows:], logs.rewards[rows:], logs.propensities[rows:])
    expected = RewardModel.fitted(x[:rows], first, 3).expected(x[rows:])
    chosen = policy(x[rows:])
    values = np.concatenate([row_values(second, chosen, expected), chosen[:, None]], axis=1)
    a = ASKED.answers(values, second.rewards, ["a", "b", "c"])
    metric = ASKED.metrics()["dr"]
    interval = metric.interval(a, 0.95, 1000)
    assert interval is not None
    return metric.value(a), interval


def test_the_interval_covers_what_the_policy_truly_earns():
    found = [judged(seed, 400) for seed in range(60)]
    covered = sum(low <= TRUTH <= high for _, (low, high) in found)
    assert covered >= 54, covered  # of 60 at 95 % fewer than 54 happen once in 40
    assert abs(np.mean([value for value, _ in found]) - TRUTH) < 0.03, "unbiased"


def test_all_three_estimates_agree_with_the_truth_and_the_doubly_robust_one_is_the_surest():
    x, logs, _ = simulated(7, 20_000)
    expected = RewardModel.fitted(x[:10_000], Logs(logs.actions[:10_000], logs.rewards[:10_000], logs.propensities[:10_000]), 3)
    rest = Logs(logs.actions[10_000:], logs.rewards[10_000:], logs.propensities[10_000:])
    chosen = policy(x[10_000:])
    values = np.concatenate([row_values(rest, chosen, expected.expected(x[10_000:])), chosen[:, None]], axis=1)
    a = ASKED.answers(values, rest.rewards, ["a", "b", "c"])
    widths = {}
    for name, metric in ASKED.metrics().items():
        interval = metric.interval(a, 0.95, 1000)
        assert interval is not None and interval[0] - 0.05 < TRUTH < interval[1] + 0.05
        widths[name] = interval[1] - interval[0]
    assert widths["dr"] < widths["snips"] and widths["dr"] < widths["ips"]


def test_of_the_policy_that_logged_every_estimate_is_the_mean_reward():
    rewards = np.array([1.0, 0.0, 2.0, 5.0])
    values = np.stack([rewards, rewards, np.ones(4), np.zeros(4)], axis=1)
    a = ASKED.answers(values, rewards, ["a", "b"])
    assert {m.value(a) for m in ASKED.metrics().values()} == {2.0}


def test_where_no_row_took_the_policys_action_there_is_no_value_and_it_is_said_why():
    logs = Logs(np.zeros(40, dtype=np.int64), np.ones(40), np.full(40, 0.9))
    values = np.concatenate([row_values(logs, np.ones(40, dtype=np.int64), np.zeros((40, 2))), np.ones((40, 1))], axis=1)
    a = ASKED.answers(values, logs.rewards, ["a", "b"])
    for metric in ASKED.metrics().values():
        assert np.isnan(metric.value(a)) and "tell nothing of it" in metric.why(a)


def test_little_overlap_is_said_with_its_numbers():
    logs = Logs(np.r_[np.ones(5), np.zeros(95)].astype(np.int64), np.ones(100), np.r_[np.full(5, 0.05), np.full(95, 0.95)])
    values = np.concatenate([row_values(logs, np.ones(100, dtype=np.int64), np.zeros((100, 2))), np.ones((100, 1))], axis=1)
    said = ASKED.metrics()["dr"].too_narrow(ASKED.answers(values, logs.rewards, ["a", "b"]))
    assert said is not None and "5 of 100" in said and "worth 5 rows" in said and "weight is 20" in said


def test_effective_rows_are_all_where_weights_are_alike_and_one_where_one_has_all():
    assert effective(np.full(30, 4.0)) == pytest.approx(30)
    assert effective(np.array([0.0, 9.0, 0.0])) == 1 and effective(np.zeros(3)) == 0


def test_what_was_logged_is_kept_to_the_last_digit():
    import pyarrow as pa

    column = pa.chunked_array([logged(["b", "a"], [0.1 + 0.2, -1e-17], [1 / 3, 1.0])])
    found = logs_of(column, ["a", "b"])
    assert (
        found.actions.tolist() == [1, 0] and found.rewards.tolist() == [0.1 + 0.2, -1e-17] and found.propensities.tolist() == [1 / 3, 1.0]
    )
    assert ASKED.labels(column) == ["a", "b"] and ASKED.unknown(column, ["a"]) == "b" and ASKED.unknown(column, ["a", "b"]) is None
    assert logs_of(column, ["a"]).actions.tolist() == [-1, 0]


def test_contexts_become_numbers_by_the_training_rows_alone():
    first, second = numbers_as_features(np.array([0.0, 2.0, np.nan]), np.array([3.0, np.nan]))
    assert first.tolist() == [[-1, 0], [1, 0], [0, 1]] and second.tolist() == [[2, 0], [0, 1]]
    known, other = texts_as_features(["a", "b", "a", None], ["a", "c"])
    assert known.tolist() == [[1, 0], [0, 1], [1, 0], [0, 0]] and other.tolist() == [[1, 0], [0, 0]]
