"""A fault of the data told from a real shift: which change of a feature's values makes the rows after it look like those before.

A fault leaves the world as it was and its description changed: values missing, one value in all rows, another unit, two columns swapped, a category
renamed, a default filled in. Each says exactly what the distribution must look like now, for all rows or for the share of them that comes from
the broken place: ``F_after = (1 - s) F_before + s F_changed``. The share is found by least squares, and a fault is named where what it leaves
unexplained is within what so many rows leave to chance, and little beside the whole change. What no fault explains is a real shift.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: Factors between units that are in use; each way. Below 1.3 a change of unit cannot be told from a shift.
UNITS: dict[str, float] = {
    "a factor of 1,000": 1000.0,
    "a factor of 100 (a share for per cent, cents for whole units)": 100.0,
    "a factor of 10": 10.0,
    "a factor of 1,000,000": 1e6,
    "a factor of 1,000,000,000": 1e9,
    "inches and centimetres": 2.54,
    "inches and millimetres": 25.4,
    "feet and metres": 3.28084,
    "miles and kilometres": 1.609344,
    "pounds and kilograms": 2.2046226,
    "ounces and grams": 28.349523,
    "gallons and litres": 3.785412,
    "a factor of 60 (minutes and seconds, or hours and minutes)": 60.0,
    "hours and seconds": 3600.0,
    "days and hours": 24.0,
    "days and seconds": 86400.0,
    "weeks and days": 7.0,
    "years and months": 12.0,
    "degrees and radians": 180 / math.pi,
}
#: Shares from which something counts; rows below which nothing is said.
_NULLS, _CONSTANT, _SHARE, FEW = 0.1, 0.98, 0.08, 50
#: Of the whole change, what a fault may leave unexplained; a part of the rows has one more number to fit, and less room.
_LEFT, _LEFT_OF_PART = 0.35, 0.2
_GRID = 400


@dataclasses.dataclass(frozen=True)
class Cause:
    """What became of a feature.

    Attributes:
        kind: ``nulls``, ``constant``, ``default``, ``unit``, ``swapped``, ``renamed``; ``shift``: none of them.
        fault: whether it is the data's and not the world's.
        text: a clause with the feature as its subject: ``is 2.54 times smaller``.
        share: of the rows that it is true of. other: the column it was swapped with.
    """

    kind: str
    fault: bool
    text: str
    share: float = 1.0
    other: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON."""
        return dataclasses.asdict(self)


def chance(n: int, m: int) -> float:
    """The largest distance between two empirical distributions of one law, exceeded once in a hundred times (Smirnov 1948)."""
    return 1.63 * math.sqrt(1 / max(n, 1) + 1 / max(m, 1))


class Numbers:
    """A numeric feature before and after.

    Args:
        before, after: float64, NaN where missing.
    """

    def __init__(self, before: Floats, after: Floats):
        self.nulls = (
            float(np.mean(~np.isfinite(before))) if len(before) else 0.0,
            float(np.mean(~np.isfinite(after))) if len(after) else 0.0,
        )
        self.before, self.after = np.sort(before[np.isfinite(before)]), np.sort(after[np.isfinite(after)])
        places = np.linspace(0, 1, _GRID)
        self.grid = np.unique(np.concatenate([_at(v, places) for v in (self.before, self.after) if len(v)] or [np.empty(0)]))
        self.change = share_below(self.after, self.grid) - share_below(self.before, self.grid)

    @property
    def whole(self) -> float:
        """How far they are apart: the Kolmogorov-Smirnov distance."""
        return float(np.abs(self.change).max(initial=0.0))

    def explained(self, changed: Floats) -> tuple[float, float]:
        """Of rows that came to be as `changed` (sorted): the share, and what that leaves of the distance."""
        towards = share_below(changed, self.grid) - share_below(self.before, self.grid)
        size = float(towards @ towards)
        if size <= 0:
            return 0.0, self.whole
        share = min(max(float(self.change @ towards) / size, 0.0), 1.0)
        if share > 0.9 and float(np.abs(self.change - towards).max()) <= self.room:
            share = 1.0
        return share, float(np.abs(self.change - share * towards).max())

    @property
    def room(self) -> float:
        """What chance leaves."""
        return 0.02 + chance(len(self.before), len(self.after))

    def holds(self, share: float, left: float) -> bool:
        """Whether a change explains what is seen."""
        return share >= _SHARE and left <= self.room and left <= (_LEFT if share > 0.9 else _LEFT_OF_PART) * self.whole


def _at(v: Floats, places: Floats) -> Floats:
    return v[np.minimum((places * len(v)).astype(np.int64), len(v) - 1)]


def share_below(values: Floats, grid: Floats) -> Floats:
    """Of sorted values, the share at or below each place."""
    return np.searchsorted(values, grid, side="right") / max(len(values), 1)


def of_numbers(name: str, both: Mapping[str, Numbers]) -> Cause:
    """What became of a numeric feature; `both` holds the others too, of which one may have changed places with it."""
    n = both[name]
    if n.nulls[1] - n.nulls[0] >= _NULLS:
        return Cause("nulls", True, f"has no value in {_percent(n.nulls[1])} of the rows ({_percent(n.nulls[0])} before)", n.nulls[1])
    if len(n.before) < FEW or len(n.after) < FEW:
        return _real(n)
    value, most = _commonest(n.after)
    if most >= _CONSTANT and _commonest(n.before)[1] < 0.9:
        return Cause("constant", True, f"is {value:.6g} in {'all' if most == 1 else _percent(most) + ' of the'} rows", most)
    candidates = [*_units(n), *_defaults(n), *_swaps(name, both)]
    if candidates:
        return min(candidates, key=lambda c: c[0])[1]
    return _real(n)


def _units(n: Numbers) -> list[tuple[float, Cause]]:
    out: list[tuple[float, Cause]] = []
    distinct = len(np.unique(n.before[:: max(1, len(n.before) // 1000)]))
    if distinct < 4:
        return out
    growth, error = _growth(n)
    for what, factor in UNITS.items():
        for by, word in ((factor, "larger"), (1 / factor, "smaller")):
            share, left = n.explained(n.before * by)
            if n.holds(share, left) and (factor > 7 or (share > 0.9 and _exact(by, growth, error))):
                # Of whole columns the nearest factor, on a scale below that of all other causes.
                rank = min(abs(growth - math.log(by)), 1.0) * 1e-3 if share > 0.9 else left
                out.append((rank, Cause("unit", True, f"is {factor:.6g} times {word}{_of(share)}: another unit ({what})", share)))
    degrees = bool(n.before[0] > -150 and n.before[-1] < 600)  # as temperatures are
    others = (
        (n.before * 1.8 + 32, "is in degrees Fahrenheit where it was in Celsius", degrees),
        ((n.before - 32) / 1.8, "is in degrees Celsius where it was in Fahrenheit", degrees),
        (n.before + 273.15, "is in kelvins where it was in degrees Celsius", degrees),
        (n.before - 273.15, "is in degrees Celsius where it was in kelvins", degrees),
        (-n.before[::-1], "has the opposite sign", True),
    )
    for changed, what, can_be in others:
        share, left = n.explained(changed) if can_be else (0.0, 1.0)
        if n.holds(share, left) and share > 0.9:
            out.append((left, Cause("unit", True, f"{what}{_of(share)}", share)))
    if not out and (grown := _factor(n)) is not None:
        share, left = n.explained(n.before * grown)
        if n.holds(share, left) and share > 0.9:
            word = "larger" if grown > 1 else "smaller"
            out.append(
                (left, Cause("unit", True, f"is about {max(grown, 1 / grown):.3g} times {word}, all values alike: another unit", share))
            )
    return out


def _growth(n: Numbers) -> tuple[float, float]:
    """By how much the logarithm of sizes has grown, all values but the outer tenths, and its standard error."""
    logs = [np.log(np.abs(v[v != 0])) for v in (n.before, n.after)]
    if min(map(len, logs)) < FEW:
        return 0.0, math.inf
    inner = [np.sort(x)[len(x) // 10 : len(x) - len(x) // 10] for x in logs]
    return float(inner[1].mean() - inner[0].mean()), math.sqrt(sum(float(x.var()) / len(x) for x in logs))


def _exact(by: float, growth: float, error: float) -> bool:
    """Whether a small factor is that of a unit and of nothing near it: prices grow by 1.6 too."""
    known = error < (0.01 if max(by, 1 / by) < 2.5 else 0.04)
    return known and abs(growth - math.log(by)) < 2.5 * error + 0.003


def _factor(n: Numbers) -> float | None:
    """By what all values seem to have been multiplied, where that is far from 1."""
    a, b = (float(np.median(np.abs(v))) for v in (n.before, n.after))
    return b / a if a > 0 and b > 0 and not 1 / 5 < b / a < 5 else None


def _defaults(n: Numbers) -> list[tuple[float, Cause]]:
    value, most = _commonest(n.after)
    before = float(np.mean(n.before == value))
    if most < _SHARE or before > most / 5:
        return []
    share, left = n.explained(np.full(1, value))
    if not n.holds(share, left):
        return []
    return [
        (
            left,
            Cause(
                "default", True, f"is {value:.6g} in {_percent(most)} of the rows ({_percent(before)} before): a default filled in", most
            ),
        )
    ]


def _swaps(name: str, both: Mapping[str, Numbers]) -> list[tuple[float, Cause]]:
    out = []
    mine = both[name]
    for other, theirs in both.items():
        if other == name or len(theirs.before) < FEW or len(theirs.after) < FEW or theirs.whole <= theirs.room:
            continue
        share, left = mine.explained(theirs.before)
        back, rest = theirs.explained(mine.before)
        if mine.holds(share, left) and theirs.holds(back, rest) and abs(share - back) < 0.15:
            out.append(
                (max(left, rest), Cause("swapped", True, f"has the values that {other} had{_of(share)}: the two are swapped", share, other))
            )
    return out


def _commonest(values: Floats) -> tuple[float, float]:
    """The commonest value of sorted ones, and its share."""
    at, counts = np.unique(values, return_counts=True)
    i = int(counts.argmax())
    return float(at[i]), float(counts[i] / len(values))


def _real(n: Numbers) -> Cause:
    if not len(n.before) or not len(n.after):
        return Cause("shift", False, "has moved")
    a, b, sd = float(np.median(n.before)), float(np.median(n.after)), float(n.before.std())
    moved = f" ({abs(b - a) / sd:.2g} standard deviations)" if sd > 0 else ""
    return Cause("shift", False, f"has moved: its median is {b:.4g}, it was {a:.4g}{moved}")


# -- categories --------------------------------------------------------------------------------------


def of_categories(name: str, both: Mapping[str, tuple[Counter[str], Counter[str]]]) -> Cause:
    """What became of a categorical feature. `both`: feature -> how often each value stood, before and after; "" is none."""
    before, after = both[name]
    n, m = before.total(), after.total()
    nulls = before[""] / max(n, 1), after[""] / max(m, 1)
    if nulls[1] - nulls[0] >= _NULLS:
        return Cause("nulls", True, f"has no value in {_percent(nulls[1])} of the rows ({_percent(nulls[0])} before)", nulls[1])
    p, q = _shares(before), _shares(after)
    if min(n, m) < FEW:
        return Cause("shift", False, "has moved")
    top = max(q, key=lambda v: q[v], default="")
    if q.get(top, 0) >= _CONSTANT and max(p.values(), default=0) < 0.9:
        return Cause("constant", True, f"is {top!r} in {'all' if q[top] > 0.9999 else _percent(q[top]) + ' of the'} rows", q[top])
    found = [*_renamed(p, q, n, m), *_swapped(name, both)]
    if found:
        return min(found, key=lambda c: c[0])[1]
    moved = sorted({*p, *q}, key=lambda v: -abs(q.get(v, 0) - p.get(v, 0)))[:2]
    said = ", ".join(f"{v!r} {_percent(q.get(v, 0))} of the rows ({_percent(p.get(v, 0))} before)" for v in moved)
    return Cause("shift", False, f"has moved: {said}")


def _shares(counts: Mapping[str, int]) -> dict[str, float]:
    whole = sum(n for v, n in counts.items() if v) or 1
    return {v: n / whole for v, n in counts.items() if v}


def _far(p: Mapping[str, float], q: Mapping[str, float]) -> float:
    """Total variation."""
    return 0.5 * sum(abs(q.get(v, 0.0) - p.get(v, 0.0)) for v in {*p, *q})


def _plain(value: str) -> str:
    return re.sub(r"[\W_]+", "", value.casefold())


def _renamed(p: Mapping[str, float], q: Mapping[str, float], n: int, m: int) -> list[tuple[float, Cause]]:
    fresh = {v: s for v, s in q.items() if p.get(v, 0.0) <= 0.002 and s >= 0.01}
    gone = {v: s - q.get(v, 0.0) for v, s in p.items() if s - q.get(v, 0.0) > 0.005}
    pairs: dict[str, str] = {}
    for new in sorted(fresh, key=lambda v: -fresh[v]):
        left = [v for v in gone if v not in pairs.values()]
        like = [v for v in left if _plain(v) == _plain(new) or _prefix(v, new)]
        near = sorted(like or left, key=lambda v: abs(gone[v] - fresh[new]))
        off = 3 * math.sqrt(max(fresh[new] * (1 - fresh[new]), 1e-6) * (1 / n + 1 / m)) + 0.005
        if near and abs(gone[near[0]] - fresh[new]) <= off * (2 if like else 1):
            pairs[new] = near[0]
    if not pairs:
        return []
    back: dict[str, float] = {}
    for v, s in q.items():
        back[pairs.get(v, v)] = back.get(pairs.get(v, v), 0.0) + s
    whole, rest = _far(p, q), _far(p, back)
    room = 0.02 + 0.5 * sum(math.sqrt(max(s * (1 - s), 0) * (1 / n + 1 / m)) for s in p.values())
    if rest > max(room, 0.2 * whole) or rest > 0.5 * whole:
        return []
    shown = [f"{old!r} is written {new!r}" for new, old in sorted(pairs.items(), key=lambda kv: -fresh[kv[0]])]
    more = f" and {len(shown) - 3} more" if len(shown) > 3 else ""
    share = min(1.0, sum(fresh[v] for v in pairs))
    return [(rest, Cause("renamed", True, f"has values renamed: {', '.join(shown[:3])}{more} ({_percent(share)} of the rows)", share))]


def _prefix(a: str, b: str) -> bool:
    a, b = sorted((_plain(a), _plain(b)), key=len)
    return len(a) >= 3 and b.startswith(a)


def _swapped(name: str, both: Mapping[str, tuple[Counter[str], Counter[str]]]) -> list[tuple[float, Cause]]:
    out = []
    p, q = (_shares(c) for c in both[name])
    for other, counts in both.items():
        if other == name:
            continue
        r, s = (_shares(c) for c in counts)
        whole, left = max(_far(p, q), 1e-9), max(_far(r, q), _far(p, s))
        if left <= 0.05 + 0.15 * whole and left < _LEFT * whole and _far(r, s) > 2 * left:
            out.append((left, Cause("swapped", True, f"has the values that {other} had: the two are swapped", 1.0, other)))
    return out


# -- columns that look alike -------------------------------------------------------------------------


def swapped_by_company(before: Floats, after: Floats, names: Sequence[str]) -> list[tuple[str, str]]:
    """Columns that changed places and look alike by themselves: each has the correlations with the others that the other one had.

    Args:
        before, after: [rows, columns], NaN where missing. names: of the columns.
    """
    if min(len(before), len(after)) < 4 * FEW or len(names) < 3:
        return []
    a, b = _correlations(before), _correlations(after)
    room = 4 * math.sqrt(1 / len(before) + 1 / len(after))
    if float(np.abs(a - b).max()) < max(room, 0.1):
        return []
    out = []
    whole = float(np.square(a - b).sum())
    for i in range(len(names)):
        for j in range(i + 1, len(names)):
            order = np.arange(len(names))
            order[[i, j]] = j, i
            if float(np.square(a[np.ix_(order, order)] - b).sum()) < 0.2 * whole:
                out.append((names[i], names[j]))
    return out


def _correlations(x: Floats) -> Floats:
    """Of ranks, so that heavy tails do not decide."""
    filled = np.where(np.isfinite(x), x, np.nanmedian(np.where(np.isfinite(x), x, np.nan), axis=0))
    ranks = np.argsort(np.argsort(filled, axis=0, kind="stable"), axis=0).astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = np.corrcoef(ranks, rowvar=False)
    return np.nan_to_num(np.atleast_2d(found))


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.095 or share == 0 else f"{100 * share:.1f} %"


def _of(share: float) -> str:
    return "" if share > 0.95 else f" in about {_percent(share)} of the rows"
