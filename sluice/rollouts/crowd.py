"""Made-up users for made-up traffic: they come again, are each of their own kind, and stay with a model or not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sluice.stats.special import Floats

#: As the model server counts them.
GROUPS = 64


@dataclass(frozen=True)
class Users:
    """How users come.

    Attributes:
        visits: requests a user makes in all, on average (geometric, so most make fewer and some many more).
        correlation: between two requests of one user, of whether they fail, are slow, get a label or bring an outcome; from 0 to 1.
        sticky: whoever has met one of the two models keeps to it.
        known: the share of users who are counted by group.
        at_once: users who come again in the same time; with few, one user's requests follow each other closely.
    """

    visits: float = 5.0
    correlation: float = 0.3
    sticky: bool = True
    known: float = 1.0
    at_once: int = 300


class Crowd:
    """The users of the moment. Each is of a kind, a number in [0, 1] for each way a request may turn out, fixed for life."""

    KINDS = ("errors", "slow", "outcome", "label")

    def __init__(self, how: Users, generator: np.random.Generator):
        self.how, self.generator = how, generator
        self.met = 0
        self.kind = np.zeros((len(self.KINDS), how.at_once))
        self.group = np.zeros(how.at_once, dtype=np.int64)
        self.arm = np.zeros(how.at_once, dtype=np.int64)
        self._renew(np.arange(how.at_once))

    def _renew(self, who: NDArray[np.int64]) -> None:
        """Other users in these places."""
        self.met += who.size
        self.kind[:, who] = self.generator.random((len(self.KINDS), who.size))
        self.group[who] = np.where(self.generator.random(who.size) < self.how.known, self.generator.integers(0, GROUPS, who.size), -1)
        self.arm[who] = -1

    def come(self, n: int, weight: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """n requests: (whose, 0 to stable or 1 to the candidate), each of shape [n], with `weight` per cent of new users to the candidate."""
        who = self.generator.integers(0, self.how.at_once, n)
        drawn = (self.generator.random(n) * 100 < weight).astype(np.int64)
        if not self.how.sticky or weight <= 0:
            return who, drawn
        fresh = self.arm[who] < 0
        # Of several first requests of one user at once, one decides.
        self.arm[who[fresh]] = drawn[fresh]
        return who, self.arm[who]

    def turns_out(self, way: str, who: NDArray[np.int64], share: float | Floats) -> NDArray[np.bool_]:
        """Whether each request turns out so, whose probability is `share`: as the user's kind is, or each time by chance anew."""
        own = self.generator.random(who.size) < np.sqrt(self.how.correlation)
        return np.where(own, self.kind[self.KINDS.index(way), who], self.generator.random(who.size)) < share

    def labels(self, who: NDArray[np.int64], shares: Floats) -> NDArray[np.int64]:
        """The label that answers each request: of the user's kind, or by chance anew; `shares` of all, shape [labels]."""
        own = self.generator.random(who.size) < np.sqrt(self.how.correlation)
        at = np.where(own, self.kind[self.KINDS.index("label"), who], self.generator.random(who.size))
        return np.minimum(np.searchsorted(np.cumsum(shares), at, side="right"), len(shares) - 1)

    def leave(self, who: NDArray[np.int64]) -> None:
        """After their requests some users never come again."""
        gone = np.unique(who[self.generator.random(who.size) * self.how.visits < 1])
        if gone.size:
            self._renew(gone)

    def by_group(self, sign: str, who: NDArray[np.int64], values: Floats | None = None) -> dict[str, float]:
        """Counters by group (`state.BY_USER`'s `sign`): requests, or the sum of `values`."""
        groups = self.group[who]
        seen = groups >= 0
        sums = np.bincount(groups[seen], None if values is None else values[seen], minlength=GROUPS)
        return {f"{sign}{g}": float(v) for g, v in enumerate(sums.tolist()) if v}
