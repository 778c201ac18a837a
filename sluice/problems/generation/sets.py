"""How far apart two sets of features are, and how much of each lies in the other."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sluice.problems.units import Units

_CHUNK = 512
#: Five of 255 steps of grey.
TWINS = 0.02
#: Neighbours that the ball around a picture reaches to.
NEIGHBOURS = 3


@dataclasses.dataclass(frozen=True, eq=False)
class Pairs:
    """Sums over pairs of rows that do not belong together.

    Attributes:
        totals: of each unit (row) with all others, float64 [units].
        counts: how many pairs these are.
    """

    totals: NDArray[np.float64]
    counts: NDArray[np.float64]

    @property
    def value(self) -> float:
        """The mean over all pairs."""
        return float(self.totals.sum() / self.counts.sum())

    @property
    def left_out(self) -> NDArray[np.float64]:
        """The same without each unit in turn: each pair stands in the totals of both its units."""
        return np.asarray((self.totals.sum() - 2 * self.totals) / (self.counts.sum() - 2 * self.counts))

    def __sub__(self, other: Pairs) -> Pairs:
        """Of the differences, pair by pair."""
        return Pairs(self.totals - other.totals, self.counts)


def kernel(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """The polynomial kernel of degree 3, (a.b / width + 1)^3: [rows of a, rows of b]."""
    return np.asarray((a @ b.T / a.shape[1] + 1.0) ** 3)


def kernel_pairs(made: NDArray[np.float64], real: NDArray[np.float64], units: Units | None = None) -> Pairs:
    """The squared maximum mean discrepancy of two sets of as many rows, as a U-statistic of pairs (made, real): its mean is unbiased.

    Gretton et al.: A kernel two-sample test (JMLR 13, 2012), lemma 6; on features of a net Binkowski et al.: Demystifying MMD GANs (ICLR 2018).

    Args:
        made, real: features [rows, width], row by row what one seed made and a picture that was held out.
        units: which rows belong together; such pairs are left out, since they may be alike for that alone.
    """
    n = len(made)
    codes = np.arange(n) if units is None else units.codes
    totals = np.zeros(n)
    for at in range(0, n, _CHUNK):
        part = slice(at, at + _CHUNK)
        each = kernel(made[part], made) + kernel(real[part], real) - kernel(made[part], real) - kernel(real[part], made)
        totals[part] = np.where(codes[part, None] == codes, 0.0, each).sum(axis=1)
    if units is None:
        return Pairs(totals, np.full(n, n - 1.0))
    sizes = units.sizes()
    return Pairs(units.sums(totals), sizes * (n - sizes))


def moments(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """How many rows, their sum and the sum of their products, in one line: what `frechet` takes, and what adds up over parts."""
    return np.concatenate([[len(rows)], rows.sum(axis=0), (rows.T @ rows).ravel()])


def frechet(made: NDArray[np.float64], real: NDArray[np.float64], width: int) -> float:
    """The Fréchet distance of the normal laws with the moments of two sets (Heusel et al., NIPS 2017): |m - n|^2 + tr(A + B - 2 (AB)^1/2).

    Args:
        made, real: of `moments`.
        width: of a row.
    """
    (m, a), (n, b) = _law(made, width), _law(real, width)
    values, vectors = np.linalg.eigh(a)
    root = vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T
    both = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ b @ root), 0)).sum()
    return float(((m - n) ** 2).sum() + np.trace(a) + np.trace(b) - 2 * both)


def _law(sums: NDArray[np.float64], width: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    n, mean = sums[0], sums[1 : 1 + width] / sums[0]
    return mean, (sums[1 + width :].reshape(width, width) / n - np.outer(mean, mean)) * (n / max(n - 1, 1))


def inside(these: NDArray[np.float64], those: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which of these rows lie in the ball of one of those at least: bool [rows of these].

    A ball reaches from a row to the third nearest of its own set (Kynkäänniemi et al.: Improved precision and recall metric for assessing
    generative models, NeurIPS 2019). Of made pictures in the balls of real ones this is precision, the other way round recall.
    """
    radii = nearest(those, NEIGHBOURS)
    return np.concatenate([(_squares(p, those) <= radii**2).any(axis=1) for p in _parts(these)])


def nearest(rows: NDArray[np.float64], which: int = 1) -> NDArray[np.float64]:
    """How far each row is from the nearest other one (the `which`th) of its set: [rows]."""
    found = [np.partition(_squares(p, rows), which, axis=1)[:, which] for p in _parts(rows)]
    return np.sqrt(np.concatenate(found))


def repeated(made: NDArray[np.float64], real: NDArray[np.float64]) -> float:
    """The share of made pictures that have a twin: another made one that nobody would tell from it.

    Two are twins whose pixels differ by less than `TWINS` (root of the mean square) and by less than hardly any two real ones do.

    Args:
        made, real: pixels in [0, 1], [rows, pixels].
    """
    across = np.sqrt(made.shape[1])
    limit = min(TWINS, max(float(np.quantile(nearest(real), 0.01)) / across, 1e-4))
    return float((nearest(made) / across < limit).mean())


def spread(made: NDArray[np.float64], real: NDArray[np.float64]) -> float:
    """How much pictures of a set differ, as a share of how much real ones do: the variances of their pixels, summed."""
    return float(made.var(axis=0).sum() / max(float(real.var(axis=0).sum()), 1e-12))


def _parts(rows: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    return [rows[i : i + _CHUNK] for i in range(0, len(rows), _CHUNK)]


def _squares(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    found = (a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1) - 2 * a @ b.T
    return np.asarray(np.maximum(found, 0.0))
