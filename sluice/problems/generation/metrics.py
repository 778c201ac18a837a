"""Metrics of two sets of pictures, made and real, on their features: each with an interval, and that of two models' difference."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np

from sluice.problems import clustered, intervals
from sluice.problems.answers import Answers
from sluice.problems.generation import sets
from sluice.problems.metric import Metric
from sluice.problems.units import Units

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sluice.problems.intervals import Interval

#: Groups of rows left out in turn, where leaving out each row would take long.
_GROUPS = 40
_TOO_FEW = f"fewer than {sets.NEIGHBOURS + 2} pictures"


@dataclasses.dataclass(frozen=True, eq=False)
class Samples(Answers):
    """What a generator made of a row a seed, and the pictures that were held out.

    Attributes:
        outputs, targets: features float64 [rows, width] of the made and of the real pictures.
        made, real: these, in [0, 1], [rows, pixels].
    """

    made: NDArray[np.float64] = dataclasses.field(default_factory=lambda: np.zeros((0, 0)))
    real: NDArray[np.float64] = dataclasses.field(default_factory=lambda: np.zeros((0, 0)))

    def rows(self, chosen: np.ndarray) -> Samples:
        """The same of some rows: a mask or indices."""
        units = self.units.rows(chosen) if self.units else None
        return Samples(
            self.outputs[chosen], self.targets[chosen], self.predicted, None, units, made=self.made[chosen], real=self.real[chosen]
        )


@dataclasses.dataclass(frozen=True)
class OfSets(Metric):
    """A metric of two sets."""

    most: float = math.inf

    def why(self, a: Answers) -> str:
        return _TOO_FEW

    def too_narrow(self, a: Answers) -> str | None:
        n = a.units.count if a.units else len(a.targets)
        return None if n >= 100 else f"of {n} held-out pictures, fewer than 100, the interval of {self.name} may be too narrow"

    def difference_too_narrow(self, a: Answers) -> str | None:
        return self.too_narrow(a)


class KernelDistance(OfSets):
    """The kernel distance, 0 on average where both sets come from the same law; by chance below 0.

    Intervals are of a U-statistic, by leaving out each unit in turn (Arvesen: Jackknifing U-statistics, Annals of Mathematical Statistics 40,
    1969); of a difference those of the difference pair by pair, the real pictures being the same (Bounliphone et al., ICLR 2016).
    """

    def value(self, a: Answers) -> float:
        return self._pairs(a).value if len(a.targets) > 2 else math.nan

    def interval(self, a: Answers, confidence: float, resamples: int) -> Interval | None:
        return _limits(self._pairs(a), a.units, confidence) if len(a.targets) > 2 else None

    def difference(self, ours: Answers, theirs: Answers, confidence: float, resamples: int) -> Interval | None:
        return _limits(self._pairs(theirs) - self._pairs(ours), ours.units, confidence) if len(ours.targets) > 2 else None

    def method(self, units: Units | None = None) -> str:
        return "U-statistic, each unit left out in turn" if units else "U-statistic, each row left out in turn"

    def why(self, a: Answers) -> str:
        return "fewer than three pictures"

    @staticmethod
    def _pairs(a: Answers) -> sets.Pairs:
        if "kernel" not in a.memo:
            a.memo["kernel"] = sets.kernel_pairs(a.outputs, a.targets, a.units)
        found: sets.Pairs = a.memo["kernel"]
        return found


def _limits(pairs: sets.Pairs, units: Units | None, confidence: float) -> Interval | None:
    if len(pairs.totals) < 3:
        return None
    df = units.effective - 1 if units else None
    return intervals.two_sided(pairs.value, pairs.left_out, confidence, df)


class FrechetDistance(OfSets):
    """The Fréchet distance. Of few pictures it is too large, of as many alike for every model."""

    def value(self, a: Answers) -> float:
        made, real = sets.moments(a.outputs), sets.moments(a.targets)
        return sets.frechet(made, real, a.outputs.shape[1]) if len(a.targets) > 2 else math.nan

    def interval(self, a: Answers, confidence: float, resamples: int) -> Interval | None:
        found = self._left_out([a.outputs, a.targets], a.units, lambda d, m, r: d(m, r), confidence)
        return (max(0.0, found[0]), found[1]) if found else None

    def difference(self, ours: Answers, theirs: Answers, confidence: float, resamples: int) -> Interval | None:
        rows = [ours.outputs, theirs.outputs, ours.targets]
        return self._left_out(rows, ours.units, lambda d, m, t, r: d(t, r) - d(m, r), confidence)

    def method(self, units: Units | None = None) -> str:
        return f"{_GROUPS} groups of {'units' if units else 'rows'} left out in turn"

    @staticmethod
    def _left_out(rows: list[NDArray[np.float64]], units: Units | None, of: object, confidence: float) -> Interval | None:
        n, width = len(rows[0]), rows[0].shape[1]
        groups = (np.arange(n) if units is None else units.codes) % min(_GROUPS, max(2, n // 3))
        if n < 6 or len(np.unique(groups)) < 3:
            return None
        size = 1 + width + width * width

        def totals(which: np.ndarray) -> np.ndarray:
            return np.concatenate([sets.moments(r[which]) for r in rows])

        def distance(made: np.ndarray, real: np.ndarray) -> float:
            return sets.frechet(made, real, width)

        def statistic(sums: np.ndarray) -> np.ndarray:
            flat = sums.reshape(-1, sums.shape[-1])
            found = [of(distance, *np.split(line, range(size, len(line), size))) for line in flat]  # type: ignore[operator]
            return np.array(found).reshape(sums.shape[:-1])

        codes = np.unique(groups, return_inverse=True)[1].astype(np.int64)
        return clustered.of_sums(totals, Units("group", codes), statistic, confidence)


@dataclasses.dataclass(frozen=True)
class Covered(OfSets):
    """precision: the share of made pictures that lie among the real ones; recall: of real pictures that lie among the made ones.

    Intervals take the balls as they are, and the rows as drawn.
    """

    most: float = 1.0

    def value(self, a: Answers) -> float:
        return float(self._hits(a).mean()) if len(a.targets) > sets.NEIGHBOURS + 1 else math.nan

    def interval(self, a: Answers, confidence: float, resamples: int) -> Interval | None:
        return clustered.proportion(self._hits(a), a.units, confidence)

    def difference(self, ours: Answers, theirs: Answers, confidence: float, resamples: int) -> Interval | None:
        if len(ours.targets) <= sets.NEIGHBOURS + 1:
            return None
        return clustered.paired_proportions(self._hits(ours), self._hits(theirs), ours.units, confidence)

    def method(self, units: Units | None = None) -> str:
        return "Newcombe's paired interval" + (" over units" if units else "")

    def _hits(self, a: Answers) -> np.ndarray:
        if self.name not in a.memo:
            pair = (a.outputs, a.targets) if self.name == "precision" else (a.targets, a.outputs)
            a.memo[self.name] = sets.inside(*pair)
        return np.asarray(a.memo[self.name])
