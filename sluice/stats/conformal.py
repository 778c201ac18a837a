"""Intervals that hold what they say: how much the two sides of a band around a middle value are stretched, by values it has not learnt from.

Conformalised quantile regression (Romano, Patterson, Candès: Conformalized quantile regression, NeurIPS 2019) with the score of a value in widths of
its own row's band (Kivaranovic, Johnson, Leeb: Adaptive, distribution-free prediction intervals for deep networks, AISTATS 2020), so that series of any
size share one factor. Its guarantee is for exchangeable values, of which times of a few series are not many: a factor of few independent
stretches of time is drawn towards that of the rows learnt from, as an estimate by its uncertainty is (James, Stein 1961).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: So many independent stretches of held-out time weigh as much as what the rows learnt from say: of the level, and of a step's and a side's own part in it.
_LEVEL, _OWN = 10.0, 20.0
#: Neighbouring steps a step's own factor is found with, and how far it may lie from that of all.
_BESIDE, _FAR = 2, 5.0
_LEAST, _MOST = 0.02, 50.0


def scores(values: Floats, low: Floats, middle: Floats, high: Floats) -> Floats:
    """How far each value lies from the middle, in distances of the bound on its side: -1 on the lower one, 1 on the upper one.

    Args:
        values: [rows, steps], NaN where one is missing.
        low, middle, high: [rows, steps], in this order.
    """
    apart = values - middle
    side = np.where(apart < 0, middle - low, high - middle)
    tiny = 1e-9 * (np.abs(middle) + np.abs(apart)) + 1e-300
    return np.asarray(apart / np.maximum(side, tiny))


def stretches(held: Floats, learnt: Floats, independent: float, share: float) -> Floats:
    """By what the distances of both bounds are multiplied, [steps, 2] (lower, upper).

    Args:
        held: `scores` of values that were not learnt from, [rows, steps].
        learnt: of those that were, [rows, steps].
        independent: how many stretches of time, none of which tells of another, `held` comes to.
        share: of the values that the bounds are to hold.
    """
    out = np.ones((held.shape[1], 2))
    if not np.isfinite(held).any():
        return out
    middle, weight = max(_LEAST, _quantile(np.abs(held), share)), independent / (independent + _OWN)
    for h in range(len(out)):
        near = held[:, max(0, h - _BESIDE) : h + _BESIDE + 1]
        for side, sign in enumerate((-1.0, 1.0)):
            own = np.clip(_quantile(sign * near, (1 + share) / 2) / middle, 1 / _FAR, _FAR)
            out[h, side] = own**weight
    levels = [_quantile(np.abs(np.where(s < 0, s / out[:, 0], s / out[:, 1])), share) for s in (held, learnt)]
    levels = [max(_LEAST, levels[0]), max(1.0, levels[1])]  # what was learnt from is no reason to be surer
    weight = independent / (independent + _LEVEL) if np.isfinite(learnt).any() else 1.0
    return np.clip(out * levels[0] ** weight * levels[1] ** (1 - weight), _LEAST, _MOST)


def _quantile(values: Floats, share: float) -> float:
    """The smallest value that so many of the known ones and one more do not pass; 1 where none is known."""
    found = np.sort(values[np.isfinite(values)])
    n = len(found)
    return float(found[min(n, int(np.ceil(share * (n + 1)))) - 1]) if n else 1.0
