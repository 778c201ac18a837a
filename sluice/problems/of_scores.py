"""Metrics of answers that were scored one by one: means over items, of those that have such a score."""

from __future__ import annotations

import dataclasses
import math
from typing import ClassVar

import numpy as np

from sluice.problems.answers import Answers
from sluice.problems.intervals import Interval, wilson
from sluice.problems.of_means import OfMeans


@dataclasses.dataclass(frozen=True)
class OfScores(OfMeans):
    """The mean over items of one column of scores; items without it (NaN) do not count.

    Attributes:
        at: the column of `Answers.outputs`.
    """

    at: int = 0
    #: Golden sets are small, and a prompt that is refused wrongly costs a try: 4 % at 95 % confidence (tests/bench/prompts.py has what comes of it).
    refusing: ClassVar[float] = 1.6

    def asked(self, a: Answers) -> bool:
        """Whether a scorer gave any item such a score."""
        return bool(np.isfinite(a.outputs[:, self.at]).any())

    def moments(self, a: Answers) -> np.ndarray:
        """[items, 2]: the score, 0 where there is none, and whether there is one."""
        found = a.outputs[:, self.at]
        there = np.isfinite(found)
        return np.stack([np.where(there, found, 0.0), there.astype(np.float64)], axis=1)

    def combine(self, means: np.ndarray) -> np.ndarray:
        """A ratio of means: of all items the usual one."""
        there = means[..., 1]
        return np.where(there > 0, means[..., 0] / np.where(there > 0, there, 1.0), np.nan)

    def interval(self, a: Answers, confidence: float, resamples: int) -> Interval | None:
        """Of scores from 0 to 1 Wilson's, which says something where all are right, too: no such score varies more than a share does; else by means."""
        found = a.outputs[:, self.at]
        n = float(np.isfinite(found).sum())
        if self.most != 1.0 or self.least != 0.0 or n < 2:
            return super().interval(a, confidence, resamples)
        if a.units is not None:
            n = min(n, float(a.units.effective))
        return wilson(self.value(a) * n, n, confidence)

    def losses(self, a: Answers) -> np.ndarray | None:
        """What each item's score lacks."""
        found = a.outputs[:, self.at]
        return -self.sign * found if np.isfinite(found).all() else None

    def alike(self, ours: Answers, theirs: Answers) -> bool:
        """Whether each item has the same score."""
        return np.array_equal(ours.outputs[:, self.at], theirs.outputs[:, self.at], equal_nan=True)

    def too_narrow(self, a: Answers) -> str | None:
        """Few items show little of what rarely goes wrong; said once, of the score itself."""
        if self.at:
            return None
        n = int(np.isfinite(a.outputs[:, self.at]).sum())
        return f"the interval of {self.name} may be too narrow: {n} items show little of what rarely goes wrong" if n < _ENOUGH else None

    def difference_too_narrow(self, a: Answers) -> str | None:
        n = int(np.isfinite(a.outputs[:, self.at]).sum())
        return f"of {n} items, fewer than {_ENOUGH}, the interval may be too narrow" if n < _ENOUGH else None

    def why(self, a: Answers) -> str:
        """Nothing asked for it."""
        return "no item has such a score: name its scorer under model.scorers"


#: Fewer items than this show little of rare failures.
_ENOUGH = 30
#: What of an item is written down beside scores: name -> whether more is better, and the largest it may be.
MEASURED = {
    "failed": ("lower", 1.0),
    "invalid": ("lower", 1.0),
    "cost": ("lower", math.inf),
    "seconds": ("lower", math.inf),
    "first_token": ("lower", math.inf),
    "tokens": ("lower", math.inf),
}
#: Scores that have a metric of their own: the built-in scorers, `score` the mean of those that decide.
SCORES = (
    "score",
    "exact",
    "normalised",
    "contains",
    "regex",
    "json_schema",
    "numeric",
    "citation",
    "forbidden",
    "similarity",
    "grounded",
    "judge",
)
COLUMNS = (*SCORES, *MEASURED)
