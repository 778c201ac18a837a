"""Forecasts to learn from and to be judged on: a row for each origin of each series, divided by time.

The last times are the test's, those before them validate. A forecast belongs to the part in which all its targets lie; one whose targets lie
in two is left out, so no value that a model is judged on was ever learnt from (Tashman: Out-of-sample tests of forecasting accuracy,
International Journal of Forecasting 16, 2000, 437-450: rolling origins).
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numpy.typing import NDArray

from sluice.core.errors import DataError
from sluice.data.panel import Panel

#: Of the seasons a grid may have the one is taken whose naive forecast is best; one that is not better by so much gives way to the shorter.
_BETTER = 0.98
#: Held-out forecasts beyond which every second, third, ... is taken.
_MOST_JUDGED = 5_000


def longest(panel: Panel) -> int:
    """The most times ahead for which there are times to learn from, to validate and to test; at least 1."""
    there = [(f, f + len(y)) for f, y in zip(panel.first.tolist(), panel.values, strict=True) if len(y)]
    return max(1, (max(e for _, e in there) - min(b for b, _ in there) - 2) // 3) if there else 1


@dataclasses.dataclass(frozen=True)
class Plan:
    """How series become rows.

    Attributes:
        horizon: times that are forecast.
        context: times a forecast is made from.
        season: steps after which things come round again; 1: they do not.
        validation, test: the grid's number of the first time of these parts.
    """

    horizon: int
    context: int
    season: int
    validation: int
    test: int

    @classmethod
    def of(cls, panel: Panel, horizon: int, context: int | None, season: int | None, validation: float, test: float) -> Plan:
        """What is left open, from the series; `validation` and `test` are fractions of the times.

        Raises:
            DataError: the times are too few.
        """
        values = panel.values
        there = [(f, f + len(y)) for f, y in zip(panel.first.tolist(), values, strict=True) if len(y)]
        if not there:
            raise DataError("holds no number", field="data.columns.label", value=panel.target, fix="name the column that is to be forecast")
        begin, end = min(b for b, _ in there), max(e for _, e in there)
        n = end - begin
        tested, held = max(horizon, round(test * n)), max(horizon, round(validation * n))
        if n - tested - held > 5 * horizon:
            held = max(held, horizon + horizon // 2)  # or one forecast a series validates
        if n - tested - held < horizon + 2:
            most = (n - 2) // 3
            raise DataError(
                f"{n:,} times (of {panel.grid.named}) are too few for {horizon} ahead: as many again are needed for the test, to validate and to learn from",
                field="model.horizon",
                value=horizon,
                fix=f"give longer series, or set model.horizon to {most} or less" if most > 0 else "give longer series",
            )
        cut = end - tested - held
        learnt = [y[: max(0, cut - f)] for f, y in zip(panel.first.tolist(), values, strict=True)]
        if season is not None and 2 * season > cut - begin:
            raise DataError(
                f"does not fit twice into the {cut - begin:,} times that are learnt from",
                field="model.season",
                value=season,
                fix=f"give longer series, or set it to {max(1, (cut - begin) // 2)} or less (1: none)",
            )
        m = season if season is not None else _season(learnt, panel.grid.seasons, cut - begin)
        room = cut - begin - horizon
        wanted = context if context is not None else max(2 * m if 2 * m <= 96 else m, min(2 * horizon, 96), 6)
        return cls(horizon, max(1, min(wanted, room)), m, cut, end - tested)

    @property
    def least(self) -> int:
        """Fewest times before an origin to learn from."""
        return max(1, min(self.context, self.season + 1))


@dataclasses.dataclass(frozen=True)
class Windows:
    """Forecasts to be made.

    Attributes:
        series: int64 [rows].
        origin: int64 [rows]: the grid's number of the last time that is known.
        side: int8 [rows]: 0 to learn from, 1 to validate, 2 to test.
        past: float64 [rows, context], NaN where nothing is known.
        target: float64 [rows, 2 horizon + 1]: the values to come (NaN where one is missing), the seasonal naive forecast of them, and the
            series' error of such forecasts while it was learnt from, by which errors are scaled.
        more: past (and, of known ones, coming) values of other columns: float64 [rows, context or context + horizon].
        notes: what was left out, in sentences.
    """

    series: NDArray[np.int64]
    origin: NDArray[np.int64]
    side: NDArray[np.int8]
    past: NDArray[np.float64]
    target: NDArray[np.float64]
    more: dict[str, NDArray[np.float64]]
    notes: list[str]


def cut(panel: Panel, plan: Plan, ahead: frozenset[str], most: int) -> Windows:
    """Every forecast that can be learnt from or judged; of more than `most` to learn from every second, third, ... origin.

    Args:
        panel: the series.
        plan: how.
        ahead: columns whose coming values are known.
        most: rows to learn from.

    Raises:
        DataError: no series is long enough.
    """
    chosen = [
        _told(panel, ahead, s, plan, *_origins(y, int(f), plan)) for s, (f, y) in enumerate(zip(panel.first, panel.values, strict=True))
    ]
    counts = np.bincount(np.concatenate([side for _, side in chosen]).astype(np.int64), minlength=3)
    for part, name in enumerate(("to learn from", "to validate", "to test")):
        if not counts[part]:
            raise DataError(
                f"no series of {len(chosen)} is long enough: {plan.horizon} ahead from at least {plan.least} times before leaves none {name}",
                field="model.horizon",
                value=plan.horizon,
                fix="give longer series, a smaller horizon, or other data.split fractions",
            )
    every = [_stride(counts[part], limit, plan.season) for part, limit in ((0, most), (1, _MOST_JUDGED), (2, _MOST_JUDGED))]
    kept = []
    for (at, side), first in zip(chosen, panel.first, strict=True):
        take = (at + int(first)) % np.array(every)[side] == 0 if len(at) else np.zeros(0, bool)
        kept.append((at[take], side[take]))
    notes = _left_out(panel, chosen, plan)
    if max(every) > 1:
        notes.append(f"of {int(counts.sum()):,} forecasts every {every[0]}. is learnt from and every {every[2]}. judged (model.rows)")
    scales = _scales(panel, plan)
    parts = [
        (_windows(y, at, plan), _target(y, at, plan, scale))
        for y, (at, _), scale in zip(panel.columns[panel.target], kept, scales, strict=True)
    ]
    more = {}
    for name, columns in panel.columns.items():
        if name != panel.target:
            more[name] = np.concatenate(
                [_windows(x, at, plan, plan.horizon if name in ahead else 0) for x, (at, _) in zip(columns, kept, strict=True)]
            )
    origins = [at + int(f) - 1 for (at, _), f in zip(kept, panel.first, strict=True)]
    return Windows(
        np.repeat(np.arange(len(kept)), [len(at) for at, _ in kept]),
        np.concatenate(origins),
        np.concatenate([side for _, side in kept]).astype(np.int8),
        np.concatenate([p for p, _ in parts]),
        np.concatenate([t for _, t in parts]),
        more,
        notes,
    )


def last(
    panel: Panel, context: int, horizon: int, ahead: frozenset[str]
) -> tuple[NDArray[np.int64], NDArray[np.float64], dict[str, NDArray[np.float64]]]:
    """Each series from its end: the grid's number of its last known time [series], its past [series, context], and other columns' values."""
    ends = np.array([len(y) for y in panel.values], dtype=np.int64)
    where = [np.array([n]) for n in ends]
    plan = Plan(horizon, context, 1, 0, 0)
    past = np.concatenate([_windows(y, at, plan) for y, at in zip(panel.columns[panel.target], where, strict=True)])
    more = {
        name: np.concatenate([_windows(x, at, plan, horizon if name in ahead else 0) for x, at in zip(columns, where, strict=True)])
        for name, columns in panel.columns.items()
        if name != panel.target
    }
    return panel.first + ends - 1, past, more


def naive(y: NDArray[np.float64], at: NDArray[np.int64], horizon: int, season: int) -> NDArray[np.float64]:
    """What was there a season before, float64 [origins, horizon]: before times `at` and after; where that is missing two seasons before, and so on; else the last known value."""
    steps = np.arange(horizon)
    out = np.full((len(at), horizon), np.nan)
    for back in range(1, 4):
        where = at[:, None] + steps - season * (steps // season + back)
        found = np.where(where >= 0, y[np.clip(where, 0, len(y) - 1)], np.nan)
        out = np.where(np.isnan(out), found, out)
    known = ~np.isnan(y)
    newest = np.maximum.accumulate(np.where(known, np.arange(len(y)), -1))
    before = newest[at - 1]
    return np.where(np.isnan(out), np.where(before >= 0, y[np.maximum(before, 0)], 0.0)[:, None], out)


def _origins(y: NDArray[np.float64], first: int, plan: Plan) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
    """Where a series' forecasts begin (its own count), and the part each belongs to."""
    at = np.arange(plan.least, len(y) - plan.horizon + 1)
    if not len(at):
        return np.zeros(0, np.int64), np.zeros(0, np.int8)
    known = np.concatenate([[0], np.cumsum(~np.isnan(y))])
    before = known[at] - known[np.maximum(0, at - plan.context)]
    after = known[at + plan.horizon] - known[at]
    begin, end = at + first, at + first + plan.horizon
    side = np.full(len(at), -1, np.int8)
    side[end <= plan.validation] = 0
    side[(begin >= plan.validation) & (end <= plan.test)] = 1
    side[begin >= plan.test] = 2
    use = (before > 0) & (2 * after >= plan.horizon) & (side >= 0)
    return at[use], side[use]


def _told(
    panel: Panel, ahead: frozenset[str], series: int, plan: Plan, at: NDArray[np.int64], side: NDArray[np.int8]
) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
    """Those of a series' origins at which a value at least of each column is known that tells of the times to come."""
    use = np.ones(len(at), bool)
    for name in ahead & panel.columns.keys():
        x = panel.columns[name][series]
        known = np.concatenate([[0], np.cumsum(~np.isnan(x))])
        use &= known[np.minimum(len(x), at + plan.horizon)] > known[np.maximum(0, at - plan.context)]
    return at[use], side[use]


def _stride(rows: int, most: int, season: int) -> int:
    """Every how many origins are taken; one that has no factor in common with the season, so that none of its phases is passed over."""
    step = max(1, math.ceil(rows / most))
    while step > 1 and math.gcd(step, season) > 1:
        step += 1
    return step


def _windows(x: NDArray[np.float64], at: NDArray[np.int64], plan: Plan, ahead: int = 0) -> NDArray[np.float64]:
    """The `context` values before each origin, and `ahead` from it on."""
    if not len(at):
        return np.zeros((0, plan.context + ahead))
    padded = np.concatenate([np.full(plan.context, np.nan), x, np.full(ahead + 1, np.nan)])
    return np.lib.stride_tricks.sliding_window_view(padded, plan.context + ahead)[at]


def _target(y: NDArray[np.float64], at: NDArray[np.int64], plan: Plan, scale: float) -> NDArray[np.float64]:
    if not len(at):
        return np.zeros((0, 2 * plan.horizon + 1))
    true = np.lib.stride_tricks.sliding_window_view(y, plan.horizon)[at]
    return np.concatenate([true, naive(y, at, plan.horizon, plan.season), np.full((len(at), 1), scale)], axis=1)


def _scales(panel: Panel, plan: Plan) -> NDArray[np.float64]:
    """Of each series the mean error of seasonal naive forecasts of one step before the held-out times (Hyndman, Koehler: Another look at measures
    of forecast accuracy, International Journal of Forecasting 22, 2006, 679-688). Of one that was not there then, or never changed, of all
    its times; of one that never does the median of the others."""
    out = np.full(len(panel.first), np.nan)
    for s, (first, y) in enumerate(zip(panel.first.tolist(), panel.values, strict=True)):
        for part, m in ((y[: max(0, plan.validation - first)], plan.season), (y[: max(0, plan.test - first)], plan.season), (y, 1)):
            error = np.abs(part[m:] - part[:-m]) if len(part) > m else np.zeros(0)
            found = error[~np.isnan(error)]
            if len(found) and found.mean() > 1e-12 * np.nanmax(np.abs(part)):
                out[s] = found.mean()
                break
    usual = float(np.nanmedian(out)) if np.isfinite(out).any() else 1.0
    return np.where(np.isfinite(out), out, usual)


def _season(learnt: list[NDArray[np.float64]], seasons: tuple[int, ...], times: int) -> int:
    """The season whose naive forecast is best of those that fit twice into the times; the shorter one of equals."""
    best, least = 1, math.inf
    for m in seasons:
        if 2 * m > times:
            continue
        errors = [
            np.abs(y[m:] - y[:-m]) / s for y in learnt if len(y) > m and (s := np.nanmean(np.abs(y)) if np.isfinite(y).any() else 0) > 0
        ]
        all_ = np.concatenate(errors) if errors else np.zeros(0)
        mean = float(np.nanmean(all_)) if np.isfinite(all_).any() else math.inf
        if mean < _BETTER * least:
            best, least = m, mean
    return best


def _left_out(panel: Panel, chosen: list[tuple[NDArray[np.int64], NDArray[np.int8]]], plan: Plan) -> list[str]:
    notes = []
    none = [n for n, (at, _) in zip(panel.names, chosen, strict=True) if not len(at)]
    if none:
        notes.append(
            f"{len(none):,} of {len(chosen):,} series are too short for a forecast of {plan.horizon} from {plan.least} before and teach nothing: "
            f"{', '.join(repr(n) for n in none[:5])}{', ...' if len(none) > 5 else ''}; they can be forecast all the same"
        )
    gaps = sum(int(np.isnan(y).sum()) for y in panel.values)
    if gaps:
        where = next(n for n, y in zip(panel.names, panel.values, strict=True) if np.isnan(y).any())
        first = f"; the first in series {where!r}" if where else ""
        notes.append(
            f"{gaps:,} values of {sum(map(len, panel.values)):,} are missing (gaps, or empty cells{first}): they are neither learnt from nor judged"
        )
    flat = (
        [n for n, y in zip(panel.names, panel.values, strict=True) if len(y) > 1 and np.nanmax(y) == np.nanmin(y)]
        if gaps < sum(map(len, panel.values))
        else []
    )
    if flat and len(panel.names) > 1:
        notes.append(
            f"{len(flat):,} of {len(panel.names):,} series never change ({', '.join(map(repr, flat[:5]))}{', ...' if len(flat) > 5 else ''}): "
            "their errors are scaled by what is usual of the others"
        )
    return notes
