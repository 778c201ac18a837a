"""How far rows are from those that a profile was taken of: a package's, or a dataset's."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sluice.data.profile import profile_counts
from sluice.fields import field_of
from sluice.stats.drift import noise_floor, psi

#: Rows that are counted, evenly spaced, fewer where each has to be decoded; and how seldom a part that did not move may be said to have.
_ROWS, _LARGE_ROWS, _BY_CHANCE = 20_000, 500, 1e-4


@dataclasses.dataclass(frozen=True)
class Distance:
    """One part of one feature (``label``: of the labels): its population stability index, and what chance alone seldom exceeds."""

    feature: str
    part: str
    psi: float
    noise: float

    @property
    def name(self) -> str:
        """What a person calls it."""
        return self.feature if self.part in ("value", "") else f"{self.feature} ({self.part})"

    def beyond(self, threshold: float) -> bool:
        """Whether it is farther than the threshold and than chance explains."""
        return self.psi > max(threshold, self.noise)


def distances(
    profile: Mapping[str, Any], rows: pa.Table, labels: Sequence[Any] | NDArray[np.float64] | None = None, *, per_unit: float = 1.0
) -> list[Distance]:
    """Each part's distance, the farthest first.

    Parts that count several things a row (the words of a text) are left out: chance moves them further than is known here.

    Args:
        profile: of `sluice.data.profile.profile_dataset`.
        rows: with the features' columns.
        labels: of the rows.
        per_unit: rows that belong together, on average: so much more does chance move them, at most.

    Raises:
        DataError: not a profile of this version.
    """
    most = _LARGE_ROWS if any(field_of(f["kind"], n).blob for n, f in profile["features"].items()) else _ROWS
    if rows.num_rows > most:
        at = np.linspace(0, rows.num_rows - 1, most).astype(np.int64)
        rows, labels = rows.take(pa.array(at)), None if labels is None else [labels[i] for i in at]
    counted = profile_counts(profile, rows, labels)
    found = []
    for feature, reference in profile["features"].items():
        for part, told in reference.get("parts", {}).items():
            found.append(
                _distance(feature, part, told.get("counts"), counted["features"][feature].get(part), profile["rows"], counted["rows"])
            )
    if labels is not None:
        found.append(_distance("label", "", profile["label"].get("counts"), counted["label"], profile["rows"], counted["rows"]))
    known = [dataclasses.replace(d, noise=d.noise * per_unit) for d in found if d is not None]
    return sorted(known, key=lambda d: -d.psi)


def _distance(feature: str, part: str, before: Any, after: Any, rows_before: int, rows_after: int) -> Distance | None:
    if not before or not after or len(before) != len(after) or sum(before) != rows_before or sum(after) != rows_after:
        return None
    distance, noise = psi(before, after), noise_floor("psi", before, after, _BY_CHANCE)
    return None if distance is None or noise is None else Distance(feature, part, round(distance, 6), round(noise, 6))
