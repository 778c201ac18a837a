"""Metrics of episodes: what a policy got and how long it took."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from sluice.problems.answers import Answers
from sluice.problems.of_means import OfMeans

#: What `Policy.judged` says of an episode, in this order.
RETURN, LENGTH, CUT = range(3)
#: Fewer episodes than this show little of rare ones.
_ENOUGH = 30


@dataclasses.dataclass(frozen=True)
class OfEpisodes(OfMeans):
    """The mean over episodes of one of the things that are known of each.

    Attributes:
        of: `RETURN`, `LENGTH` or `CUT`.
    """

    least: float = -math.inf
    most: float = math.inf
    of: int = RETURN

    def moments(self, a: Answers) -> np.ndarray:
        """[episodes, 1]."""
        return a.outputs[:, [self.of]]

    def alike(self, ours: Answers, theirs: Answers) -> bool:
        """Whether each episode came to the same."""
        return np.array_equal(ours.outputs[:, self.of], theirs.outputs[:, self.of])

    def too_narrow(self, a: Answers) -> str | None:
        """Few episodes, or all alike: what rarely goes wrong does not show."""
        n = len(a.outputs)
        if n < _ENOUGH:
            return f"the interval of {self.name} may be too narrow: {n} episodes show little of what rarely happens"
        if self.of == RETURN and np.ptp(a.outputs[:, RETURN]) == 0:
            return f"every one of {n} episodes has the return {a.outputs[0, RETURN]:g}: what fewer than one in {n // 3} does would not show"
        return None

    def difference_too_narrow(self, a: Answers) -> str | None:
        n = len(a.outputs)
        return f"of {n} episodes, fewer than {_ENOUGH}, the interval may be too narrow" if n < _ENOUGH else None
