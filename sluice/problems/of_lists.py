"""Metrics of ranked lists: what came is found among the first places, early, and not always the same.

References:
    Järvelin, Kekäläinen: Cumulated gain-based evaluation of IR techniques (ACM TOIS 20, 2002, 422-446): NDCG, here with gains of 0 and 1.
    Herlocker et al.: Evaluating collaborative filtering recommender systems (ACM TOIS 22, 2004, 5-53): coverage of the catalogue.
    Zhou et al.: Solving the apparent diversity-accuracy dilemma of recommender systems (PNAS 107, 2010, 4511-4515): novelty in bits.
    Burnham, Overton: Robust estimation of population size when capture probabilities vary (Ecology 60, 1979, 927-936): the jackknife of
        how many kinds were seen, whose error coverage has.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from sluice.problems import intervals
from sluice.problems.answers import Answers
from sluice.problems.intervals import Interval
from sluice.problems.metric import Metric
from sluice.problems.of_means import OfMeans
from sluice.problems.truth import Truth
from sluice.problems.units import Units


def hits(a: Answers, places: int) -> np.ndarray:
    """Whether what stands at each of the first places came: bool [rows, places]."""
    found = a.outputs[:, :places, 0]
    return np.asarray(((found[:, :, None] == Truth(a.targets).codes[:, None, :]) & (found >= 0)[:, :, None]).any(axis=2))


def came(a: Answers) -> np.ndarray:
    """How many items came, those the model does not know among them: int64 [rows]."""
    return np.asarray((Truth(a.targets).codes != -1).sum(axis=1))


@dataclasses.dataclass(frozen=True)
class OfLists(OfMeans):
    """ndcg, recall, hit, mrr, novelty: means over rows, of the first `places`."""

    places: int = 10
    per_row = True

    def moments(self, a: Answers) -> np.ndarray:
        """[rows, 1]."""
        of = getattr(self, f"_{self.name.partition('_')[0]}")
        return np.asarray(of(a), dtype=np.float64)[:, None]

    def _ndcg(self, a: Answers) -> np.ndarray:
        discount = 1 / np.log2(np.arange(2, self.places + 2))
        best = np.append(0.0, np.cumsum(discount))[np.minimum(came(a), self.places)]
        found = hits(a, self.places)
        return np.asarray((found * discount[: found.shape[1]]).sum(axis=1) / np.maximum(best, 1e-12))

    def _recall(self, a: Answers) -> np.ndarray:
        """Of what came and has room in the list."""
        return np.asarray(hits(a, self.places).sum(axis=1) / np.maximum(np.minimum(came(a), self.places), 1))

    def _hit(self, a: Answers) -> np.ndarray:
        return np.asarray(hits(a, self.places).any(axis=1))

    def _mrr(self, a: Answers) -> np.ndarray:
        found = hits(a, self.places)
        return np.where(found.any(axis=1), 1 / (1 + found.argmax(axis=1)), 0.0)

    def _novelty(self, a: Answers) -> np.ndarray:
        there = a.outputs[:, : self.places, 0] >= 0
        return np.asarray((a.outputs[:, : self.places, 2] * there).sum(axis=1) / np.maximum(there.sum(axis=1), 1))

    def alike(self, ours: Answers, theirs: Answers) -> bool:
        """Scores do not matter, places do."""
        return np.array_equal(ours.outputs[:, : self.places, 0], theirs.outputs[:, : self.places, 0])


@dataclasses.dataclass(frozen=True)
class Coverage(Metric):
    """The share of the items that stand among the first places of some row."""

    places: int = 10

    def value(self, a: Answers) -> float:
        return len(self._seen(a)[0]) / max(1, Truth(a.targets).catalogue)

    def interval(self, a: Answers, confidence: float, resamples: int) -> Interval | None:
        found = self._limits(self.value(a), self._without(a), a.units, confidence)
        return None if found is None else (max(0.0, found[0]), min(1.0, found[1]))

    def difference(self, ours: Answers, theirs: Answers, confidence: float, resamples: int) -> Interval | None:
        return self._limits(self.value(ours) - self.value(theirs), self._without(ours) - self._without(theirs), ours.units, confidence)

    def alike(self, ours: Answers, theirs: Answers) -> bool:
        return np.array_equal(ours.outputs[:, : self.places, 0], theirs.outputs[:, : self.places, 0])

    def method(self, units: Units | None = None) -> str:
        return "jackknife over units" if units else "jackknife"

    def _seen(self, a: Answers) -> tuple[np.ndarray, np.ndarray]:
        """The items that stand somewhere, and of each item and unit that it stands in the unit [pairs, 2]."""
        found = a.outputs[:, : self.places, 0].astype(np.int64)
        unit = np.arange(len(found)) if a.units is None else a.units.codes
        pairs = np.unique(np.stack([found.ravel(), np.repeat(unit, found.shape[1])], axis=1), axis=0)
        pairs = pairs[pairs[:, 0] >= 0]
        return np.unique(pairs[:, 0]), pairs

    def _without(self, a: Answers) -> np.ndarray:
        """The value without each unit in turn [units]: what it alone has goes with it."""
        items, pairs = self._seen(a)
        units = len(a.targets) if a.units is None else a.units.count
        place, of = np.unique(pairs[:, 0], return_inverse=True)
        alone = np.bincount(of, minlength=len(place))[of] == 1
        lost = np.bincount(pairs[alone, 1], minlength=units)
        return (len(items) - lost) / max(1, Truth(a.targets).catalogue)

    @staticmethod
    def _limits(value: float, without: np.ndarray, units: Units | None, confidence: float) -> Interval | None:
        """Student's t about the value itself: the jackknife's own would be of an endless number of users."""
        n = len(without)
        if n < 2:
            return None
        error = math.sqrt((n - 1) / n * float(np.square(without - without.mean()).sum()))
        half = intervals.times(confidence, units.effective - 1 if units else n - 1) * error
        return value - half, value + half


METRICS: tuple[Metric, ...] = (
    OfLists("ndcg_10", "ranking", "higher"),
    OfLists("recall_10", "ranking", "higher"),
    OfLists("hit_10", "ranking", "higher"),
    OfLists("mrr", "ranking", "higher", places=20),
    Coverage("coverage", "ranking", "higher"),
    OfLists("novelty", "ranking", "higher", most=math.inf),
)
