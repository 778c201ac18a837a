"""Which subgroups of rows are worse, of all that can be told by one or two comparisons, when two models are right or wrong on each row.

Where two models are as good as each other, which of them is wrong on a row that only one gets wrong is a toss of a coin. So the signs of the differences are
tossed anew some hundred times, and each time the largest score of all subgroups is kept: a subgroup is worse that stands out from these. Nothing is assumed of
how the subgroups overlap, and all rows both find and confirm. A model that is better somewhere makes large scores rarer yet, since each rises with every sign.

References:
    Westfall, Young: Resampling-based multiple testing (Wiley 1993): the largest statistic of all, under resampling that keeps how they hang together.
    Hemerik, Goeman: Exact testing with random permutations (TEST 27, 2018, 811-825): random tosses, of which what was seen is one, keep the level exactly.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sluice.core.predicate import All, Predicate
from sluice.stats.subgroups import Comparison, Names, Numbers, comparisons

Signs = NDArray[np.float64]
#: Comparisons at most, all pairs of which are looked through, and cuts of a column of numbers, fewer where there are many columns; cuts that are tried alone.
_COMPARISONS, _MOST_CUTS, _LEAST_CUTS, _ALONE_CUTS = 200, 14, 3, 40
#: Tosses at least, and so many for each in which one larger score may come; cells of rows and pairs that are summed at once; tosses after which it is looked whether more are needed.
_TOSSES, _FOR_ONE, _MOST_TOSSES, _BLOCK, _FIRST = 299, 6, 4999, 4_000_000, 60
#: What a second comparison has to add to the score; and the least score that is told though it does not stand out.
_WORTH, _LEAST = 0.3, 1.5
#: The part that a subgroup's own spread has in its score beside that of all rows: alone it hides what goes wrong, which spreads as it does; without it a group on
#: which the models often differ drowns all others.
_OWN = 0.25
_SEED = 17
#: Rows that are looked at: half of those of a search on each half.
MOST_ROWS = 25_000


@dataclasses.dataclass(frozen=True, eq=False)
class Standing:
    """A subgroup: which rows, the mean difference on them, and half the width of an interval that holds for all subgroups together."""

    which: Predicate
    mean: float
    half: float
    worse: bool


@dataclasses.dataclass(frozen=True, eq=False)
class Stood:
    """What stands out, the surest first, of so many subgroups that were looked through."""

    found: list[Standing]
    among: int


def one_sized(differences: Signs) -> bool:
    """Whether all that differ differ by as much, as losses of right and wrong do: what this is for."""
    sizes = np.unique(np.abs(differences[differences != 0]))
    return len(sizes) == 1


def stand_out(
    features: Sequence[Numbers | Names],
    differences: Signs,
    allowed: float,
    level: float,
    support: int,
    units: NDArray[np.int64] | None = None,
    most: int = 3,
) -> Stood:
    """The subgroups on which differences are above what is allowed, all of them together at a level.

    Args:
        features: of the rows.
        differences: of each row, above 0 where it is worse: float64 [rows], of one size or 0 (`one_sized`).
        allowed: a mean difference that is none, at least that of all rows.
        level: with what probability at most one is called worse where none is.
        support: rows that a subgroup has at least.
        units: which rows belong together and so have one sign: int64 [rows]; None: each is its own.
        most: how many are told.
    """
    family = _Family.of(features, differences, allowed, support)
    if family is None:
        return Stood([], 0)
    bound, rejected = _bound(family, differences, units, level)
    found: list[Standing] = []
    left = np.ones(len(differences), dtype=bool)
    z = family.scores(differences)
    while len(found) < most:
        at = _next(family, differences, left, z, bound if rejected else -math.inf)
        if at is None:
            break
        rows = family.rows(at)
        half = (bound + family.worth[at]) * float(family.error[at])
        found.append(Standing(family.named(at), float(differences[rows].mean()), half, rejected))
        left &= ~rows
    return Stood(found, len(family.n))


@dataclasses.dataclass(frozen=True, eq=False)
class _Family:
    """Every comparison and every pair of them that has the rows."""

    tests: list[Comparison]
    paired: int
    x: NDArray[np.float32]
    kept: NDArray[np.bool_]
    pairs: tuple[NDArray[np.int64], NDArray[np.int64]]
    n: NDArray[np.float64]
    error: NDArray[np.float64]
    worth: NDArray[np.float64]
    allowed: float

    @classmethod
    def of(cls, features: Sequence[Numbers | Names], differences: Signs, allowed: float, support: int) -> _Family | None:
        tests, paired = _tests(features, support)
        if not tests or not differences.any():
            return None
        x = np.stack([t.rows for t in tests], axis=1).astype(np.float32)
        i, j = (np.append(p, np.arange(paired, len(tests))) for p in np.triu_indices(paired))
        n = _sums(x, paired, np.ones(len(x)))
        kept = n >= support
        squares, n = np.square(differences), n[kept]
        spread, own = float(squares.mean()), _sums(x, paired, squares)[kept] / n
        error = np.sqrt(((1 - _OWN) * spread + _OWN * np.maximum(own, spread)) / n)
        i, j = i[kept], j[kept]
        return cls(tests, paired, x, kept, (i, j), n, error, np.where(i == j, 0.0, _WORTH), allowed)

    def scores(self, differences: Signs, left: NDArray[np.bool_] | None = None) -> NDArray[np.float64]:
        """Of each subgroup how many standard errors its mean lies above what is allowed; of those rows that are left, where some are not."""
        some = differences if left is None else np.where(left, differences, 0.0)
        n = self.n if left is None else _sums(self.x, self.paired, left.astype(np.float64))[self.kept]
        sums = _sums(self.x, self.paired, some)[self.kept]
        return np.asarray((sums - self.allowed * n) / (self.n * self.error) - self.worth)

    def largest(self, signed: NDArray[np.float32], at: NDArray[np.int64]) -> NDArray[np.float64]:
        """The largest score of each toss: float64 [tosses] of float32 [rows at, tosses]. What is allowed is no part of it: a coin has a mean of 0."""
        z, out = self.x[at], np.full(signed.shape[1], -np.inf)
        block = max(1, _BLOCK // len(at))
        for k in range(0, len(self.n), block):
            i, j = (p[k : k + block] for p in self.pairs)
            sums = (z[:, i] * z[:, j]).T @ signed
            scale = (self.n * self.error)[k : k + block, None]
            np.maximum(out, (sums / scale - self.worth[k : k + block, None]).max(axis=0), out=out)
        return out

    def rows(self, at: int) -> NDArray[np.bool_]:
        i, j = (int(p[at]) for p in self.pairs)
        return np.asarray(self.tests[i].rows & self.tests[j].rows)

    def named(self, at: int) -> Predicate:
        i, j = (int(p[at]) for p in self.pairs)
        return self.tests[i].which if i == j else All((self.tests[i].which, self.tests[j].which))


def _sums(x: NDArray[np.float32], paired: int, weights: Signs) -> NDArray[np.float64]:
    """The weights' sums on each pair of the first comparisons, themselves among these, and on each of the others."""
    use = np.flatnonzero(weights)
    by = weights[use, None].astype(np.float32)
    pairs = (x[use, :paired] * by).T @ x[use, :paired]
    return np.append(pairs[np.triu_indices(paired)], (x[use, paired:] * by).sum(axis=0)).astype(np.float64)


def _tests(features: Sequence[Numbers | Names], support: int) -> tuple[list[Comparison], int]:
    """What rows are told by, and how many of the first of these in pairs too: so many at most, fewer cuts first, then the rarest. Whatever the differences are: to
    leave out by the signs what looks like nothing would make the tosses' largest scores too small."""
    numbers = [f for f in features if isinstance(f, Numbers)]
    cuts = max(_LEAST_CUTS, min(_MOST_CUTS, _COMPARISONS // (2 * len(features))) if features else 0)
    tests = [t for f in features for t in comparisons(f, support, cuts)]
    if len(tests) > _COMPARISONS:
        kept = np.sort(np.argsort([-min(int(t.rows.sum()), int((~t.rows).sum())) for t in tests], kind="stable")[:_COMPARISONS])
        tests = [tests[i] for i in kept]
    there, alone = {str(t.which) for t in tests}, min(_ALONE_CUTS, _COMPARISONS // max(len(numbers), 1))
    finer = [t for f in numbers if alone > cuts for t in comparisons(f, support, alone) if str(t.which) not in there]
    return tests + finer, len(tests)


def _bound(family: _Family, differences: Signs, units: NDArray[np.int64] | None, level: float) -> tuple[float, bool]:
    """The score that stands out at a level, and whether one does. It ends as soon as none can."""
    tosses = min(max(_TOSSES, math.ceil(_FOR_ONE / level)), _MOST_TOSSES)
    allowed, seen = math.floor(level * (tosses + 1)), float(family.scores(differences).max())
    rng, at = np.random.default_rng(_SEED), np.flatnonzero(differences)
    _, of = np.unique(at if units is None else units[at], return_inverse=True)
    values, largest = differences[at].astype(np.float32)[:, None], np.empty(0)
    while len(largest) < tosses:
        count = min(_FIRST if not len(largest) else tosses, tosses - len(largest))
        coins = rng.integers(0, 2, (int(of.max()) + 1, count)).astype(np.float32) * 2 - 1
        largest = np.append(largest, family.largest(values * coins[of], at))
        if (largest >= seen).sum() >= allowed:  # beside what was seen there are so many that large: no more tosses will change it
            break
    bound = float(np.sort(largest)[::-1][max(0, math.floor(level * (len(largest) + 1)) - 1)])
    return bound, len(largest) == tosses and 1 + int((largest >= seen).sum()) <= allowed


def _next(family: _Family, differences: Signs, left: NDArray[np.bool_], z: NDArray[np.float64], bound: float) -> int | None:
    """The subgroup with the best score on rows that none has named yet, of those that stand out on all of theirs."""
    rest = np.where(z > bound, z if left.all() else family.scores(differences, left), -math.inf)
    best = int(rest.argmax())
    return best if rest[best] >= _LEAST else None
