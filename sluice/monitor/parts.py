"""What is watched: each part of each feature of a profile, with all that its distance takes."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sluice.core.errors import DataError
from sluice.data.profile import FORMAT
from sluice.fields import Field, field_of
from sluice.monitor.config import Drift
from sluice.stats import distances, noise
from sluice.stats.special import Floats

Counts = NDArray[np.int64]
#: A model's answers, and how sure it is of them; a feature may be called the same.
PREDICTION, ANSWER, CONFIDENCE = "prediction", "answer", "confidence"
_CONFIDENCE = [round(0.05 * i, 2) for i in range(1, 20)]
#: Whether a distance's square is what adds up, and its `Null.grain` at one row: of a share at most a quarter, of a mean in deviations 1.
_SQUARED = {"psi": False, "js": True, "wasserstein": True, "ks": True}
_GRAIN = {"psi": 1.0, "js": 1 / (8 * np.log(2)), "wasserstein": 1.0, "ks": 0.25}


@dataclasses.dataclass(frozen=True, eq=False)
class Part:
    """One part of a feature.

    Attributes:
        feature, part: names.
        bins: ``edges``, ``values`` or ``buckets`` of the distance's bins.
        counts: the reference's, in these [bins].
        edges: finer ones that windows are counted into, where bins have an order; None elsewhere.
        fine: the reference's counts in these.
        ends: of the finer bins, the two outer ones without a width; None: no distance along a line.
        scale: the reference's deviation; mean: the reference's.
        several: a row has several of what is counted.
        listed: every value of the reference has a bin, so what is in none is new.
        ranged: the outer finer bins hold what is outside the reference's range.
        missing: the last count is of rows without a value.
        watched: it may raise an alarm.
        method: of its distance. threshold: in the method's unit.
    """

    feature: str
    part: str
    bins: Mapping[str, Any]
    counts: Counts
    edges: Floats | None
    fine: Counts
    ends: Floats | None
    scale: float
    mean: float | None
    several: bool
    listed: bool
    ranged: bool
    missing: bool
    watched: bool
    method: str
    threshold: float

    @property
    def key(self) -> str:
        """In states."""
        return f"{self.feature}\x1f{self.part}"

    @property
    def tests(self) -> tuple[str, ...]:
        """What may raise an alarm of it."""
        return (
            "distance",
            *(["nulls"] if self.missing else []),
            *(["unseen"] if self.listed else []),
            *(["outside"] if self.ranged else []),
        )

    @functools.cached_property
    def _starts(self) -> NDArray[np.intp]:
        assert self.edges is not None
        return np.concatenate([[0], np.searchsorted(self.edges, np.asarray(self.bins["edges"], dtype=np.float64), side="left") + 1])

    def coarse(self, found: Counts) -> Counts:
        """Counts in finer bins [windows, finer] in the distance's [windows, bins]."""
        if self.edges is None or len(self.counts) == found.shape[1]:
            return found
        return np.concatenate([np.add.reduceat(found[:, :-1], self._starts, axis=1), found[:, -1:]], axis=1)

    def based(self, fine: Counts) -> Part:
        """The same with other counts to compare with."""
        return dataclasses.replace(self, fine=fine, counts=self.coarse(fine[None])[0])

    def distance(self, found: Counts, method: str, means: Floats | None = None) -> Floats:
        """Of windows' (finer) counts [windows, finer]; NaN of a window that has none.

        Args:
            found: them. method: of `sluice.stats.distances`.
            means: of the windows' numbers: no two distributions are nearer than their means, which sees what lies outside all bins.
        """
        if method == "ks":
            return distances.ks(self.fine[:-1], found[:, :-1])
        if method == "wasserstein":
            assert self.ends is not None
            plain = distances.wasserstein(self.fine[:-1], found[:, :-1], self.ends.tolist(), self.scale)
            if means is None or self.mean is None:
                return plain
            return np.fmax(plain, np.where(np.isnan(plain), np.nan, np.abs(means - self.mean) / self.scale))
        counts = self.coarse(found)
        some = np.where(counts[:, : len(counts[0]) - self.missing].sum(axis=1) > 0, 1.0, np.nan)
        return some * (distances.psi if method == "psi" else distances.js)(self.counts, counts)

    def null(self, rows: int, groups: Counts | None = None) -> noise.Null | None:
        """Its distance where nothing moved, of a window of so many rows; None: not known."""
        if not self.several:
            return self._null(rows if rows <= 1000 else _step(rows))
        found = None if groups is None else noise.together(groups)
        if found is None:
            return None
        # A few sizes of either, rounded to where chance does more.
        null = self._null(_step(rows), 1.1 ** np.ceil(np.log(found[0]) / np.log(1.1)))
        sd = max(1.2 * null.sd, 1.4 * found[1] * null.mean)
        return dataclasses.replace(null, sd=sd, skew=max(null.skew, 2 * sd / null.mean))

    def unit(self, value: float) -> float:
        """A distance in the unit of its null."""
        return value**2 if self.squared else value

    def back(self, value: float) -> float:
        """The other way."""
        return float(np.sqrt(max(value, 0.0))) if self.squared else value

    @property
    def squared(self) -> bool:
        """Whether its distance's square is what adds up."""
        return _SQUARED[self.method]

    @functools.cached_property
    def _nulls(self) -> dict[tuple[int, float], noise.Null]:
        return {}

    def _null(self, rows: int, together: float = 1.0) -> noise.Null:
        if (rows, together) not in self._nulls:
            if len(self._nulls) > 200:
                self._nulls.clear()
            counts = self.fine if self.edges is not None else self.counts
            self._nulls[rows, together] = noise.drawn(
                counts, rows, lambda found: self.distance(found, self.method), _SQUARED[self.method], _GRAIN[self.method], together
            )
        return self._nulls[rows, together]


def _step(rows: int) -> int:
    return int(1.1 ** int(np.log(max(rows, 1)) / np.log(1.1)))


def parts_of(profile: Mapping[str, Any], config: Drift) -> tuple[dict[str, Field], list[Part]]:
    """A profile's features that have something to compare, and their parts.

    Raises:
        DataError: not a profile of this version.
    """
    if profile.get("format") != FORMAT:
        raise DataError(f"format is not {FORMAT}", field="profile", value=profile.get("format"), fix="train again with this version")
    fields, found = {}, []
    for name, reference in profile["features"].items():
        field = field_of(reference["kind"], name)
        own = [_part(field, reference, part, told, config, profile["rows"]) for part, told in reference.get("parts", {}).items()]
        found += own
        if own:
            fields[name] = field
    return fields, found


def _part(field: Field, reference: Mapping[str, Any], part: str, told: Mapping[str, Any], config: Drift, rows: int) -> Part:
    grid = field.grid(reference)[part]
    counts, fine = np.asarray(told["counts"], np.int64), np.asarray(grid["counts"], np.int64)
    several = int(counts.sum()) != reference.get("rows", rows)
    spread, mean = (reference.get("std"), reference.get("mean")) if field.quantity else (None, None)
    values = told.get("values")
    return make(
        field.name,
        part,
        told,
        grid,
        counts,
        fine,
        config,
        several=several,
        spread=spread,
        mean=mean,
        listed=bool(values) and field.category and reference.get("distinct", np.inf) <= len(values or ()),
        ranged=field.quantity and len(grid.get("edges", ())) > 0,
        watched=config.watched(field.name) and (not field.timed or field.name in config.columns),
    )


def make(
    feature: str,
    part: str,
    told: Mapping[str, Any],
    grid: Mapping[str, Any],
    counts: Counts,
    fine: Counts,
    config: Drift,
    *,
    several: bool = False,
    spread: float | None = None,
    mean: float | None = None,
    listed: bool = False,
    ranged: bool = False,
    watched: bool = True,
) -> Part:
    """A `Part` of bins and counts as a profile has them."""
    edges = np.asarray(grid["edges"], dtype=np.float64) if "edges" in grid else None
    ordered = edges is not None and len(edges) > 1 and not several
    method = config.measured(feature)
    method = method if ordered or method in ("psi", "js") else "psi"
    ends = np.concatenate([edges[:1], edges, edges[-1:]]) if ordered and edges is not None else None
    return Part(
        feature=feature,
        part=part,
        bins={k: told[k] for k in ("edges", "values", "buckets") if k in told},
        counts=counts,
        edges=edges,
        fine=fine,
        ends=ends,
        scale=float(spread) if spread else float(ends[-1] - ends[0]) / 4 if ends is not None and ends[-1] > ends[0] else 1.0,
        mean=mean,
        several=several,
        listed=listed,
        ranged=ranged,
        missing="buckets" not in told,
        watched=watched,
        method=method,
        threshold=config.limit(method, feature),
    )


def answer_parts(profile: Mapping[str, Any], config: Drift) -> list[Part]:
    """Of a model's answers: their bins are the labels'; what they are compared with comes from the first rows that are answered."""
    told = profile.get("label") or {}
    found = []
    if told.get("edges") or told.get("values"):
        empty = np.zeros(len(told["edges"]) + 2 if "edges" in told else len(told["values"]) + 2, np.int64)
        found.append(make(PREDICTION, ANSWER, told, told, empty, empty, config, watched=config.watched(PREDICTION)))
    if "values" in told:
        bins = {"edges": _CONFIDENCE}
        empty = np.zeros(len(_CONFIDENCE) + 2, np.int64)
        found.append(make(PREDICTION, CONFIDENCE, bins, bins, empty, empty, config, watched=config.watched(PREDICTION)))
    return found
