"""A small net whose features pictures are compared by: one layer of filters learnt from the training pictures, pooled and whitened.

Patches are centred, scaled and whitened, and the filters are the centres of their clusters; a place in a picture answers to a filter by
how much nearer it is than to the mean of all (Coates, Ng, Lee: An analysis of single-layer networks in unsupervised feature learning,
AISTATS 2011). What the quarters of a picture answer is averaged, and the principal axes of these numbers are the features, each of
variance 1 over the training pictures. It needs no labels and no torch, takes a second, and is the same wherever the rows and the seed are.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

SEED = 17
#: Features a picture has; fewer where there are fewer pictures.
WIDTH = 32
_FILTERS, _PATCHES, _ROUNDS = 48, 20_000, 12
_CHUNK = 256
#: Of the largest variance: axes of less are noise, and would be blown up.
_LEAST = 1e-3


@dataclasses.dataclass(frozen=True, eq=False)
class Features:
    """What `fit` found.

    Attributes:
        shape: (height, width, channels) of a picture.
        side: of a patch, in pixels.
        centre, whiten: of patches [side * side * channels], and [patch, patch].
        filters: [filters, patch].
        mean, axes: of pooled answers [pooled], and [pooled, features].
    """

    shape: tuple[int, int, int]
    side: int
    centre: NDArray[np.float64]
    whiten: NDArray[np.float64]
    filters: NDArray[np.float64]
    mean: NDArray[np.float64]
    axes: NDArray[np.float64]

    def __call__(self, pictures: NDArray[np.float64]) -> NDArray[np.float64]:
        """Pictures in [0, 1], [rows, height * width * channels], to features float64 [rows, features]."""
        return (self._pooled(pictures) - self.mean) @ self.axes

    def _pooled(self, pictures: NDArray[np.float64]) -> NDArray[np.float64]:
        parts = [self._answers(pictures[i : i + _CHUNK]) for i in range(0, len(pictures), _CHUNK)]
        return np.concatenate(parts)

    def _answers(self, pictures: NDArray[np.float64]) -> NDArray[np.float64]:
        windows = _windows(pictures.reshape(-1, *self.shape), self.side)
        rows, high, wide, _ = windows.shape
        x = (_normal(windows) - self.centre) @ self.whiten
        squares = (x * x).sum(axis=-1, keepdims=True) + (self.filters * self.filters).sum(axis=1) - 2 * x @ self.filters.T
        distance = np.sqrt(np.maximum(squares, 0.0))
        active = np.maximum(distance.mean(axis=-1, keepdims=True) - distance, 0.0)
        downs, rights = _halves(high), _halves(wide)
        return np.concatenate([active[:, down, right].mean(axis=(1, 2)) for down in downs for right in rights], axis=1).reshape(rows, -1)


def fit(pictures: NDArray[np.float64], shape: Sequence[int], seed: int = SEED) -> Features:
    """The net of some training pictures; equal pictures and seed give an equal one.

    Args:
        pictures: [rows, height * width * channels] in [0, 1], two at least.
        shape: (height, width, channels).
        seed: of the patches drawn and the first centres.
    """
    height, width, channels = shape
    side = int(np.clip(round(0.35 * min(height, width)), 1, 6))
    rng = np.random.Generator(np.random.Philox(seed))
    patches = _normal(_drawn(pictures.reshape(-1, height, width, channels), side, rng))
    centre = patches.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov((patches - centre).T).reshape(side * side * channels, -1))
    whiten = vectors / np.sqrt(np.maximum(values, 0) + 0.1 * max(float(values.mean()), 1e-12)) @ vectors.T
    filters = _centres((patches - centre) @ whiten, rng)
    made = Features((height, width, channels), side, centre, whiten, filters, np.zeros(0), np.zeros((0, 0)))
    pooled = made._pooled(pictures)
    mean = pooled.mean(axis=0)
    _, scale, axes = np.linalg.svd(pooled - mean, full_matrices=False)
    kept = max(1, min(WIDTH, int((scale**2 > _LEAST * scale[0] ** 2).sum())))
    deviation = np.maximum(scale[:kept], 1e-9) / np.sqrt(max(len(pictures) - 1, 1))
    return dataclasses.replace(made, mean=mean, axes=axes[:kept].T / deviation)


def _windows(pictures: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    """Every patch: [rows, height - side + 1, width - side + 1, side * side * channels]."""
    view = np.lib.stride_tricks.sliding_window_view(pictures, (side, side), axis=(1, 2))
    return view.reshape(*view.shape[:3], -1)


def _normal(patches: NDArray[np.float64]) -> NDArray[np.float64]:
    """Patches about their own mean, half scaled by their contrast: an even patch stays even."""
    centred = patches - 0.5
    return np.asarray(centred / (0.1 + centred.std(axis=-1, keepdims=True)))


def _drawn(pictures: NDArray[np.float64], side: int, rng: np.random.Generator) -> NDArray[np.float64]:
    rows, height, width, _ = pictures.shape
    which = rng.integers(rows, size=_PATCHES)
    top, left = rng.integers(height - side + 1, size=_PATCHES), rng.integers(width - side + 1, size=_PATCHES)
    at = np.arange(side)
    found = pictures[which[:, None, None], (top[:, None] + at)[:, :, None], (left[:, None] + at)[:, None, :]]
    return found.transpose(0, 3, 1, 2).reshape(_PATCHES, -1)


def _centres(points: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """k-means (Lloyd 1982) from points drawn at random; a centre that nothing is nearest to stays where it is."""
    centres = points[rng.choice(len(points), _FILTERS, replace=False)]
    for _ in range(_ROUNDS):
        nearest = ((centres * centres).sum(axis=1) - 2 * points @ centres.T).argmin(axis=1)
        counts = np.bincount(nearest, minlength=_FILTERS)
        sums = np.zeros_like(centres)
        np.add.at(sums, nearest, points)
        centres = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], centres)
    return centres


def _halves(length: int) -> list[slice]:
    return [slice(0, length)] if length < 2 else [slice(0, (length + 1) // 2), slice(length // 2, length)]
