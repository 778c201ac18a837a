"""Metrics of pairs: how a cosine goes with a score."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sluice.problems.answers import Answers
from sluice.problems.of_means import OfMeans


def ranks(values: np.ndarray) -> NDArray[np.float64]:
    """The rank of each value, from 0 to 1; equal ones share the mean of theirs."""
    _, codes, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    found: NDArray[np.float64] = ((ends - counts + ends - 1) / 2)[codes] / max(1, len(values) - 1)
    return found


class Pearson(OfMeans):
    """pearson: the correlation of cosines and scores; 0 where either does not vary."""

    def moments(self, a: Answers) -> np.ndarray:
        x, y = self._sides(a)
        x, y = x - x.mean(), y - y.mean()
        return np.stack([x, y, x * y, x * x, y * y], axis=1)

    def combine(self, means: np.ndarray) -> np.ndarray:
        x, y, xy, xx, yy = (means[..., i] for i in range(5))
        both = (xx - x * x) * (yy - y * y)
        found = (xy - x * y) / np.sqrt(np.where(both > 0, both, 1.0))
        return np.where(both > 1e-24, found, 0.0)

    def too_narrow(self, a: Answers) -> str | None:
        """None: what it is made of lies about 0, where no row carries a share of the sum."""
        return None

    @staticmethod
    def _sides(a: Answers) -> tuple[np.ndarray, np.ndarray]:
        return a.outputs[:, 0], a.targets


class Spearman(Pearson):
    """spearman: the correlation of their ranks, which an interval takes as they stand."""

    def alike(self, ours: Answers, theirs: Answers) -> bool:
        return np.array_equal(ranks(ours.outputs[:, 0]), ranks(theirs.outputs[:, 0]))

    @staticmethod
    def _sides(a: Answers) -> tuple[np.ndarray, np.ndarray]:
        return ranks(a.outputs[:, 0]), ranks(a.targets)


class CosineDistance(OfMeans):
    """cosine_distance: one less the cosine of a vector and the true one, the mean over rows."""

    def moments(self, a: Answers) -> np.ndarray:
        lengths = np.linalg.norm(a.outputs, axis=1) * np.linalg.norm(a.targets, axis=1)
        return np.asarray(1 - (a.outputs * a.targets).sum(axis=1) / np.maximum(lengths, 1e-12))[:, None]


class Auc(OfMeans):
    """pair_auc: of two scores alone, how often a pair of the higher one has the larger cosine (Mann and Whitney 1947); NaN of more scores."""

    def moments(self, a: Answers) -> np.ndarray:
        scores = np.unique(a.targets)
        if len(scores) != 2:
            return np.full((len(a.targets), 2), np.nan)
        high = (a.targets == scores[-1]).astype(np.float64)
        return np.stack([ranks(a.outputs[:, 0]) * high, high], axis=1)

    def combine(self, means: np.ndarray) -> np.ndarray:
        share = means[..., 1]
        inside = (share > 0) & (share < 1)
        share = np.where(inside, share, 0.5)
        return np.where(inside, (means[..., 0] / share - share / 2) / (1 - share), np.nan)
