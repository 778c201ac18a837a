"""How often answers are right against how sure they were: bins, the expected calibration error, and its interval."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from sluice.problems.answers import Answers
from sluice.problems.intervals import Interval

_BINS = 10
_DRAWS, _HALVINGS, _SEED = 2000, 20, 17


def reliability(a: Answers, confidence: float) -> dict[str, Any]:
    """Top-label reliability over ten equal bins of confidence, and the expected calibration error (Naeini et al., AAAI 2015).

    Args:
        a: a classifier's answers; where rows belong together (`Answers.units`) the interval is of units.
        confidence: of the interval.

    Returns:
        ``bins`` [{confidence, accuracy, rows}], ``ece``, ``low`` and ``high`` (null where there is a single row or unit).
    """
    sure, right = a.outputs.max(axis=1), a.targets == a.outputs.argmax(axis=1)
    at = np.clip((sure * _BINS).astype(np.int64), 0, _BINS - 1)
    rows = np.bincount(at, minlength=_BINS)
    sums, hits = np.bincount(at, sure, _BINS), np.bincount(at, right, _BINS)
    bins = [
        {"confidence": float(sums[i] / rows[i]), "accuracy": float(hits[i] / rows[i]), "rows": int(rows[i])}
        for i in range(_BINS)
        if rows[i]
    ]
    gaps = (np.arange(_BINS) == at[:, None]) * (sure - right)[:, None]
    limits = ece_interval(gaps if a.units is None else a.units.sums(gaps), len(right), confidence)
    low, high = limits or (None, None)
    return {"bins": bins, "ece": float(np.abs(sums - hits).sum() / len(right)), "low": low, "high": high}


def ece_interval(gaps: np.ndarray, rows: int, confidence: float) -> Interval | None:
    """Limits of the sum over bins of absolute mean gaps.

    The sum of absolute values of noise is not 0, so resampling the rows would put the interval of a calibrated model above 0. Here the test is
    inverted: gaps that add up to a value are drawn with their bins' own errors, and the interval holds the values under which what was found lies
    between the draws' tails. How noise adds to a sum depends on which bins it is made of: the lower limit takes them as they were found, the upper
    one in proportion to their errors, where noise adds least.

    Args:
        gaps: what each row (or unit) adds to each bin's sum of confidence minus truth, [rows or units, bins].
        rows: how many rows there are.
        confidence: of the interval.
    """
    n = len(gaps)
    if n < 2:
        return None
    middle = gaps.sum(axis=0) / rows
    covariance = np.cov(gaps * n / rows, rowvar=False) / n
    found, errors = float(np.abs(middle).sum()), np.sqrt(np.diag(covariance))
    if not errors.any():
        return found, found
    noise = np.random.default_rng(_SEED).standard_normal((_DRAWS, len(middle))) @ _root(covariance).T
    tail = (1 - confidence) / 2

    def below(value: float, parts: np.ndarray) -> float:
        """The share of draws around such a value that are at most what was found."""
        return float((np.abs(value * parts + noise).sum(axis=1) <= found).mean())

    low = _crossing(lambda value: below(value, middle / (found or 1.0)), 1 - tail, found)
    high = _crossing(lambda value: below(value, errors / errors.sum()), tail, found + 10 * float(errors.sum()))
    return low, max(high, found)


def _crossing(falling: Callable[[float], float], level: float, most: float) -> float:
    """Where a falling function of [0, most] passes a level; 0 where it is below it from the start."""
    low, high = 0.0, most
    if falling(0.0) <= level:
        return 0.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if falling(middle) > level else (low, middle)
    return high


def _root(covariance: np.ndarray) -> np.ndarray:
    """A matrix whose product with its transpose is the covariance."""
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0)))
