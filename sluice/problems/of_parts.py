"""Errors of answers with several parts: each part in its own deviation, then the mean over them."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from sluice.problems.answers import Answers
from sluice.problems.of_means import OfMeans


@dataclasses.dataclass(frozen=True)
class MeanError(OfMeans):
    """mean_rmse, mean_mae: root mean square, or mean absolute, error over parts in units of each part's deviation among these rows' truth."""

    most: float = math.inf

    def moments(self, a: Answers) -> np.ndarray:
        """[rows, 1]: the mean over parts of the squared, or absolute, error."""
        scale = a.targets.std(axis=0)
        error = (a.outputs - a.targets) / np.where(scale > 0, scale, 1.0)
        return np.asarray((error * error if self._squared else np.abs(error)).reshape(len(error), -1).mean(axis=1))[:, None]

    def combine(self, means: np.ndarray) -> np.ndarray:
        return np.asarray(np.sqrt(means[..., 0]) if self._squared else means[..., 0])

    @property
    def _squared(self) -> bool:
        return self.name == "mean_rmse"
