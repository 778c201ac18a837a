"""Policies are compared episode by episode: both played the same ones."""

from __future__ import annotations

import numpy as np

from sluice.gates.config import EvaluateConfig
from sluice.problems.comparison import compare
from sluice.problems.policy import Policy

ASKED = Policy()


def played(returns: list[float]) -> np.ndarray:
    return np.stack([np.array(returns), np.full(len(returns), 10.0), np.zeros(len(returns))], axis=1)


def test_two_policies_are_paired_by_episode() -> None:
    seeds = np.random.default_rng(3).normal(size=40)
    better, worse = played((seeds + 1.1).tolist()), played((seeds + 1).tolist())
    found = compare(better, worse, np.zeros(40), ["l", "r"], ["l", "r"], EvaluateConfig(), asked=ASKED)
    assert (found["metric"], found["rows"], found["verdict"]) == ("mean_return", 40, "better")
    assert found["n_discordant"] == 40 and 0 < found["low"] <= found["difference"] <= found["high"]
    same = compare(worse, worse, np.zeros(40), ["l", "r"], ["l", "r"], EvaluateConfig(), asked=ASKED)
    assert same["verdict"] == "no_worse" and same["n_discordant"] == 0
