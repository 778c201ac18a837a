"""What a policy would have earned, from decisions that another one made and logged: importance weighting and doubly robust values.

Dudik, Langford, Li, "Doubly Robust Policy Evaluation and Learning" (ICML 2011); Swaminathan, Joachims, "The Self-Normalized Estimator
for Counterfactual Learning" (NIPS 2015).
"""

from __future__ import annotations

import dataclasses

import numpy as np

#: Penalty of the reward model's slopes, in standardised features.
_L2 = 1.0
#: Values of a category that have a column of their own.
_MOST_VALUES = 50


@dataclasses.dataclass(frozen=True, eq=False)
class Logs:
    """Logged decisions.

    Attributes:
        actions: places of the actions that were taken, int64 [rows].
        rewards: what came of them, float64 [rows].
        propensities: the probability with which the logging policy took that action then, in (0, 1], float64 [rows].
    """

    actions: np.ndarray
    rewards: np.ndarray
    propensities: np.ndarray


def row_values(logs: Logs, chosen: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """What each logged row says of a deterministic policy: float64 [rows, 3].

    Args:
        logs: the rows.
        chosen: the policy's actions, int64 [rows].
        expected: rewards that a model expects of each action, fitted to other rows, float64 [rows, actions].

    Returns:
        The doubly robust value ``q(x, pi(x)) + w (r - q(x, a))``; ``w r``; and the weight ``w``: 1 / propensity where the policy takes
        the logged action, else 0. The mean of the first, of the second, and the ratio of the means of the second and third are the
        estimates DR, IPS and SNIPS.
    """
    rows = np.arange(len(chosen))
    weights = (chosen == logs.actions) / logs.propensities
    robust = expected[rows, chosen] + weights * (logs.rewards - expected[rows, logs.actions])
    return np.stack([robust, weights * logs.rewards, weights], axis=1)


def effective(weights: np.ndarray) -> float:
    """How many rows of weight 1 these are worth: (sum w)^2 / sum w^2 (Kish 1965); 0 where all are 0."""
    total = float(np.square(weights).sum())
    return float(weights.sum()) ** 2 / total if total else 0.0


@dataclasses.dataclass(frozen=True, eq=False)
class RewardModel:
    """A ridge regression of the reward for each action: what the doubly robust estimate leans on. `slopes`: [features + 1, actions]."""

    slopes: np.ndarray

    @classmethod
    def fitted(cls, features: np.ndarray, logs: Logs, actions: int) -> RewardModel:
        """Of logged rows, standardised features [rows, features]; an action with fewer rows than 2 gets the mean of all rewards."""
        x = np.concatenate([features, np.ones((len(features), 1))], axis=1)
        penalty = _L2 * np.eye(x.shape[1])
        penalty[-1, -1] = 0.0
        slopes = np.zeros((x.shape[1], actions))
        slopes[-1] = logs.rewards.mean() if len(logs.rewards) else 0.0
        for a in range(actions):
            of = logs.actions == a
            if of.sum() >= 2:
                slopes[:, a] = np.linalg.solve(x[of].T @ x[of] + penalty, x[of].T @ logs.rewards[of])
        return cls(slopes)

    def expected(self, features: np.ndarray) -> np.ndarray:
        """float64 [rows, actions]."""
        return np.asarray(features @ self.slopes[:-1] + self.slopes[-1])


def numbers_as_features(train: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A column of numbers (NaN: missing) in the training rows' deviation, and whether it is missing: [rows, 2] of each."""
    seen = train[np.isfinite(train)]
    mean, scale = (float(seen.mean()), float(seen.std()) or 1.0) if len(seen) else (0.0, 1.0)
    first, second = (np.stack([np.where(np.isfinite(x), (x - mean) / scale, 0.0), ~np.isfinite(x)], axis=1) for x in (train, other))
    return first.astype(np.float64), second.astype(np.float64)


def texts_as_features(train: list[str | None], other: list[str | None]) -> tuple[np.ndarray, np.ndarray]:
    """A column of names as a column for each of the training rows' commonest."""
    counts: dict[str, int] = {}
    for v in train:
        if v is not None:
            counts[v] = counts.get(v, 0) + 1
    known = sorted(counts, key=lambda v: (-counts[v], v))[:_MOST_VALUES]
    place = {v: i for i, v in enumerate(known)}

    def of(values: list[str | None]) -> np.ndarray:
        out = np.zeros((len(values), len(known)))
        for row, v in enumerate(values):
            if v in place:
                out[row, place[v]] = 1.0
        return out

    return of(train), of(other)
