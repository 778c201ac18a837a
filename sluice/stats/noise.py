"""What chance alone makes of a distance between a reference's counts and a window's, and from where on a distance is a shift.

Of n rows of the reference's own distribution the distance is drawn (a parametric bootstrap), its first three moments are kept, and a gamma
distribution with them (Pearson's type III) gives the tail, which is far beyond what draws reach. The reference is a sample too, and the error in
it is the same in every window: windows in a row do not make it smaller. So what is asked for is how often `persistence` windows in a row all
exceed a bound, averaged over where the reference's truth may lie; a window's distance then is a noncentral one, whose variance grows as a noncentral
chi-squared's.

References:
    Yurdakul, Naranjo: Statistical properties of the population stability index (Journal of Risk Model Validation 14, 2020): near 0 a
        chi-squared distribution, of bins with enough rows; here drawn, for bins with few.
    Wilson, Hilferty: The distribution of chi-square (PNAS 17, 1931): the gamma distribution's tail.
    Rao, Scott: The analysis of categorical data from complex sample surveys (JASA 76, 1981): of counts in clusters.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from sluice.stats.special import Floats

#: Draws a null distribution is made of, and cells of counts that are drawn at once.
_DRAWS = 1000
#: How sure it is that a window with a shift of the threshold is over the bound, in standard deviations; and how much larger they are of a shift in
#: rare bins, whose logarithm moves fast, than near 0.
_SURE, _RARE = 3.5, 1.5
_TAILS = -np.linspace(0, 9, 46)

Counts = NDArray[np.int64]
#: Counts in windows [windows, bins] -> their distances from the reference [windows].
Distance = Callable[[Counts], Floats]


@dataclasses.dataclass(frozen=True)
class Null:
    """A distance where nothing moved, in units in which what lasts and what varies add up (PSI as it is, other distances squared).

    Attributes:
        mean, sd, skew: of one window.
        lasting, lasting_sd: what the reference's own error adds to every window.
        grain: of a bin with one degree of freedom, the mean: 1 / rows of PSI. A shift adds four times that and itself to the variance.
    """

    mean: float
    sd: float
    skew: float
    lasting: float = 0.0
    lasting_sd: float = 0.0
    grain: float = 0.0

    def spread(self, apart: float) -> float:
        """Standard deviation of a window's distance where the two differ by `apart`."""
        return math.sqrt(self.sd**2 + 4 * apart * max(self.grain, self.sd**2 / max(2 * self.mean, 1e-300)))

    def bound(self, level: float, persistence: int) -> float:
        """What `persistence` windows in a row all exceed with probability `level` at most."""
        at, weights = self._truths()
        low, high = self.mean, self.mean + self.lasting + 60 * (self.sd + self.lasting_sd) + 1e-12
        for _ in range(50):
            middle = 0.5 * (low + high)
            seldom = sum(w * self._beyond(middle, a) ** persistence for a, w in zip(at.tolist(), weights.tolist(), strict=True))
            low, high = (low, middle) if seldom <= level else (middle, high)
        return high

    def surely(self, threshold: float) -> float:
        """What a window with a shift of `threshold` exceeds almost always: beside it, a bound would miss such shifts; at many rows it is the threshold."""
        return threshold + self.mean - _SURE * self.spread(threshold)

    def _truths(self) -> tuple[Floats, Floats]:
        """Where the reference's own error may lie, and with which probability: nodes of a gamma distribution, far into its tail."""
        if self.lasting_sd <= 0.02 * self.sd:
            return np.array([self.lasting]), np.ones(1)
        edges = 10.0**_TAILS
        weights = np.append(edges[:-1] - edges[1:], edges[-1])
        shape = (self.lasting / self.lasting_sd) ** 2
        middles = np.append(np.sqrt(edges[:-1] * edges[1:]), edges[-1] / 3)
        return np.array([_gamma_quantile(float(q), shape) * self.lasting / shape for q in middles]), weights

    def _beyond(self, value: float, apart: float) -> float:
        return beyond(value, self.mean + apart, self.spread(apart), self.skew)


def beyond(value: float, mean: float, sd: float, skew: float) -> float:
    """The share of a Pearson type III distribution above a value."""
    if sd <= 0:
        return 0.0 if value >= mean else 1.0
    if skew < 0.02:
        return 0.5 * math.erfc((value - mean) / sd / math.sqrt(2))
    shape = 4 / skew**2
    x = shape + (value - mean) / sd * math.sqrt(shape)
    if x <= 0:
        return 1.0
    z = ((x / shape) ** (1 / 3) - (1 - 1 / (9 * shape))) * 3 * math.sqrt(shape)
    return 0.5 * math.erfc(z / math.sqrt(2))


def _gamma_quantile(tail: float, shape: float) -> float:
    from statistics import NormalDist

    z = NormalDist().inv_cdf(1 - min(max(tail, 1e-15), 1 - 1e-9))
    return float(shape * max(1 - 1 / (9 * shape) + z / (3 * math.sqrt(shape)), 0.0) ** 3)


def drawn(reference: Counts, rows: int, distance: Distance, squared: bool, grain: float, together: float = 1.0) -> Null:
    """Of windows whose rows are independent, or of counts that come so many at a time.

    Args:
        reference: counts [bins].
        rows: of a window, or what is counted in it.
        distance: from the reference's counts.
        squared: of a distance whose square is what adds up.
        grain: of `Null`, times the rows.
        together: how many counts are worth one independent one.
    """
    rng = np.random.default_rng(20_261)
    total = int(reference.sum())
    p = (reference + 0.5) / (total + 0.5 * len(reference))

    def of(n: float, draws: int) -> Floats:
        counts = rng.multinomial(max(round(n / together), 1), p, size=draws)
        return distance(np.rint(counts * together).astype(np.int64)) ** (2 if squared else 1)

    found = of(rows, _DRAWS)
    mean, sd = float(found.mean()), float(found.std())
    skew = max(float(((found - mean) ** 3).mean()) / sd**3 if sd > 0 else 0.0, 0.0)
    if total >= 2000 * rows:
        return Null(mean, sd, skew, grain=_RARE * grain * together / rows)
    # Were the reference as exact as it is, and the window without end: what is left is the reference's error.
    fine = of(total, _DRAWS // 4)
    return Null(mean, sd, skew, float(fine.mean()), float(fine.std()), _RARE * grain * together / rows)


def together(groups: Counts) -> tuple[float, float] | None:
    """Of counts of which a row has several (the words of a text, the pixels of an image): how many are worth one independent one, and how much a group's
    statistic varies, as a share of its mean.

    That is seen in the window itself: its rows in groups by their order, each group's Pearson statistic against the window's own shares. It is taken
    upwards by what so few groups leave open.

    Args:
        groups: [groups, bins] of one window.

    Returns:
        None where fewer than eight groups have counts.
    """
    some = groups[groups.sum(axis=1) > 0]
    whole = some.sum(axis=0)
    some, whole = some[:, whole > 0], whole[whole > 0]
    if len(some) < 8 or len(whole) < 2:
        return None
    expected = some.sum(axis=1, keepdims=True) * (whole / whole.sum())
    found = ((some - expected) ** 2 / expected).sum(axis=1) * len(some) / (len(some) - 1)
    mean, sd = float(found.mean()), float(found.std(ddof=1))
    if mean <= 0:
        return 1.0, 0.0
    return max(1.0, mean * (1 + 2 * sd / mean / math.sqrt(len(some))) / (len(whole) - 1)), sd / mean


@functools.lru_cache(maxsize=65_536)
def rate_bound(count: int, total: int, rows: int, level: float) -> float:
    """How far a window's share of rows may be from a reference's by chance.

    The reference's share is taken at the upper end of what its sample leaves open; the window's tail is a gamma's (that of a Poisson number).

    Args:
        count, total: rows of the reference that have it, and all. rows: of the window.
        level: probability that a window is farther.
    """
    share = (count + 0.5) / (total + 1)
    upper = min(share + 3 * math.sqrt(share * (1 - share) / (total + 1)) + 2 / (total + 1), 1.0)
    most = rows * upper
    # P(Poisson(most) >= k) is a gamma distribution's below `most`; the smallest such k by doubling and halving.
    low, high = most, most + 10 * math.sqrt(most) + 60
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (low, middle) if beyond(middle, most, math.sqrt(most), 1 / math.sqrt(most)) <= level else (middle, high)
    return max(high / rows - share, 1 / rows)


@functools.lru_cache(maxsize=65_536)
def kept_bound(null: Null, level: float, persistence: int) -> float:
    """`Null.bound`, worked out once."""
    return null.bound(level, persistence)
