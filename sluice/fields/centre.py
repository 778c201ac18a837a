"""Numbers that are all far from 0 lose in 32 bits what they differ by, unless their middle is taken away first."""

from __future__ import annotations

import numpy as np

from sluice.stats.tally import Tally


def centre(values: np.ndarray | Tally) -> float:
    """What to take away from numbers, float64 [rows] or counted, before they become 32-bit ones: 0 where nothing is gained by it.

    The middle of their range, a whole number where it is a large one: seconds since 1970, of which neighbours 128 s apart
    are one number in 32 bits, then stay apart. NaN and infinity are left out.
    """
    if not isinstance(values, Tally):
        values = values[np.isfinite(values)]
    if not (values.total if isinstance(values, Tally) else len(values)):
        return 0.0
    low, high = (values.first, values.last) if isinstance(values, Tally) else (float(values.min()), float(values.max()))
    # 32 bits hold 24 binary digits: the fewer of them the range needs, the more are wasted on what all have in common.
    if low * high <= 0 or high - low >= 0.5 * max(abs(low), abs(high)):
        return 0.0
    tally = Tally.of(values)
    middle = low + (high - low) / 2
    middle = float(np.round(middle)) if abs(middle) >= 1 else middle
    plain, centred = (tally.narrow(taken)[0] for taken in (0.0, middle))
    return middle if centred > plain else 0.0
