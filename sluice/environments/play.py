"""Episodes played by a policy, all in step: at each step one question for all of those that still go on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from sluice.environments.environment import Environment

#: What seeds are drawn for: no two of them share an episode.
REFERENCE, TRAINING, VALIDATION, JUDGED, CHANCE = range(5)


def seeds(seed: int, purpose: int, count: int) -> list[int]:
    """Seeds of `count` episodes: those of one purpose are never another's, and the first of more are the same."""
    return [int(np.random.SeedSequence([seed, purpose, i]).generate_state(1)[0]) for i in range(count)]


@dataclasses.dataclass(frozen=True)
class Episodes:
    """What came of episodes.

    Attributes:
        returns: the sum of each one's rewards, undiscounted, float64 [episodes].
        lengths: its steps, int64 [episodes].
        cut: whether it ended by a limit of steps, bool [episodes].
        actions: how often each action was taken, int64 [actions].
    """

    returns: np.ndarray
    lengths: np.ndarray
    cut: np.ndarray
    actions: np.ndarray


def play(environment: Environment, choose: Callable[[np.ndarray], np.ndarray], starts: Sequence[int]) -> Episodes:
    """Play an episode a seed.

    Args:
        environment: where.
        choose: observations FP32 [some, numbers] -> places of actions int64 [some]; asked once a step for all that go on.
        starts: the seeds.

    Raises:
        DataError: a reward or an observation is not finite.
    """
    made = [environment.make() for _ in starts]
    n = len(made)
    returns, lengths, cut = np.zeros(n), np.zeros(n, dtype=np.int64), np.zeros(n, dtype=bool)
    actions = np.zeros(len(environment.actions), dtype=np.int64)
    try:
        seen = np.stack([environment.flat(e.reset(seed=s)[0]) for e, s in zip(made, starts, strict=True)])
        alive = np.arange(n)
        while len(alive):
            chosen = choose(seen[alive])
            actions += np.bincount(chosen, minlength=len(actions))
            going = []
            for i, action in zip(alive.tolist(), chosen.tolist(), strict=True):
                observation, reward, ended, cut[i], _ = made[i].step(environment.action(action))
                seen[i] = environment.flat(observation)
                returns[i] += environment.reward(reward)
                lengths[i] += 1
                if not (ended or cut[i]):
                    going.append(i)
                elif ended:
                    cut[i] = False
            alive = np.array(going, dtype=np.int64)
    finally:
        for e in made:
            e.close()
    return Episodes(returns, lengths, cut, actions)


def at_random(environment: Environment, seed: int) -> Callable[[np.ndarray], np.ndarray]:
    """The policy that takes each action as often as any other."""
    chance = np.random.default_rng([seed, CHANCE])
    return lambda rows: chance.integers(len(environment.actions), size=len(rows))


def records(environment: Environment, rows: np.ndarray) -> list[dict[str, Any]]:
    """Observations as the rows a package takes."""
    return [dict(zip(environment.names, row, strict=True)) for row in rows.tolist()]
