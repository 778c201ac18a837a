"""Slices compared with the champion's: declared ones on all held-out rows, and those that are looked for.

Where losses are of right and wrong, all rows both find and confirm, and what all that was looked through costs is found by tosses (`sluice.stats.flips`). Other losses
are found on one half and confirmed on the other: the halves are of whole units, by a fixed seed, and each finds for the other: what a half finds is fixed before the other's rows are looked at, so their interval
is as good as that of a slice somebody declared. Half of the error level goes to declared slices, by Holm, half to found ones (all of it where there are none of the
others), half of that each way: those of a half are tried in the order of how sure it was, each at the whole level, until one is not confirmed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

import numpy as np

from sluice.core import predicate
from sluice.core.predicate import Column, Compared, Missing, Predicate
from sluice.data.where import Held, sliced
from sluice.gates.features_of import features_of
from sluice.gates.theirs import Theirs
from sluice.problems import metrics
from sluice.problems.answers import Answers
from sluice.problems.metric import Metric
from sluice.stats import flips
from sluice.stats.multiple import holm, in_order
from sluice.stats.subgroups import MOST_ROWS, search

if TYPE_CHECKING:
    from sluice.gates.facts import Judged
    from sluice.gates.slice_champion import SliceChampionConfig

_SEED = 17
#: Slices that a half finds; of a first model, those told.
_FOUND = 3
#: Without a champion a slice is told whose loss is so many times that of all rows.
_TIMES = 1.5
#: Resamples that an interval so far out in the tails needs, beyond those set.
_TAIL, _MOST_RESAMPLES = 20, 20_000


@dataclasses.dataclass(frozen=True, eq=False)
class _Slice:
    name: str
    rows: np.ndarray
    declared: bool


@dataclasses.dataclass(frozen=True, eq=False)
class _Pair:
    """Both models' answers to the rows that both can be right on, and what compares them."""

    metric: Metric
    ours: Answers
    theirs: Answers
    config: SliceChampionConfig

    def interval(self, rows: np.ndarray, level: float) -> tuple[float, float] | None:
        """Of the difference on some rows (a mask), with `level` on each side."""
        resamples = min(max(self.config.resamples, int(_TAIL / level)), _MOST_RESAMPLES)
        return self.metric.difference(self.ours.rows(rows), self.theirs.rows(rows), 1 - 2 * level, resamples)

    def margin(self, rows: np.ndarray) -> float:
        wanted = self.config.margin if self.config.slice_margin is None else self.config.slice_margin
        return metrics.allowance(self.metric, wanted, self.metric.value(self.theirs.rows(rows)) if self.metric.relative else 0.0)


def compared(facts: Judged, config: SliceChampionConfig) -> dict[str, Any] | None:
    """Every slice that is declared or found, against the champion's, or without a champion the worst against all rows.

    Returns:
        ``against`` (``champion`` or ``all rows``), ``metric``, ``margin``, ``level``: how often at most a candidate no worse on any is refused; and ``slices``
        [{slice, declared, rows, unit, units, metric, candidate, champion (or ``whole``), difference, low, high, confidence, margin, verdict, why, accepted}]. A verdict is
        ``worse``, ``accepted``, ``better``, ``no_worse``, ``cannot_tell`` or, of a found one, ``not_confirmed``. None where rows are not the dataset's.
    """
    declared: list[str] = getattr(config, "slices", [])
    if facts.dataset.rows("test") != len(facts.targets) or not (declared or config.find_slices):
        return None
    asked, package = facts.dataset.problem, facts.package
    every = asked.metrics()
    metric = every[metrics.metric_of(config.metric, asked.name)]
    ours = asked.answers(facts.outputs, facts.targets, facts.labels, rule=package.rule, positive=facts.positive, units=facts.units)
    apart = ("label", *facts.project.data.sensitive)  # names of slices stand in reports
    held, row_metric = Held.of(facts.dataset, "test"), every.get(metric.by_rows, metric)
    if not isinstance(facts.theirs, Theirs):
        return _without_champion(held, ours, row_metric, config, apart) if config.find_slices else None
    ours, theirs, shared = asked.pair(ours, facts.labels, facts.theirs.outputs, facts.theirs.labels, facts.theirs.rule)
    return versus(held, declared, (metric, row_metric), ours, theirs, config, shared, apart) if shared.any() else None


def versus(
    held: Held,
    declared: list[str],
    by: tuple[Metric, Metric],
    ours: Answers,
    theirs: Answers,
    config: SliceChampionConfig,
    shared: np.ndarray | None = None,
    apart: Collection[str] = ("label",),
) -> dict[str, Any] | None:
    """`compared` of two models' answers.

    Args:
        held: all held-out rows.
        declared: columns and expressions.
        by: the metric by which declared slices are compared, and the one by which found ones are.
        ours, theirs: the answers to the rows that both can be right on.
        config: how.
        shared: which of all rows these are, bool [rows]; None: all.
        apart: columns by which nothing is looked for.
    """
    shared = np.ones(len(ours.targets), dtype=bool) if shared is None else shared
    pair, by_rows = _Pair(by[0], ours, theirs, config), _Pair(by[1], ours, theirs, config)
    allowed = [(_rows_of(held, predicate.read(text))[shared], why) for text, why in config.accept_slices.items()]
    level, slices = (1 - config.confidence) / 2, _declared(held, declared, shared)
    parts = 2 if slices and config.find_slices else 1
    out = _judged(pair, slices, level / parts, allowed)
    if config.find_slices and not by_rows.metric.alike(ours, theirs):
        out += _found(held, shared, by_rows, level / parts, allowed, apart)
    margin = config.margin if config.slice_margin is None else config.slice_margin
    return {"against": "champion", "metric": by[0].name, "margin": margin, "level": level, "slices": out} if out else None


def _declared(held: Held, declared: list[str], shared: np.ndarray) -> list[_Slice]:
    out = []
    for text, values in sliced(held, declared).items():
        if isinstance(values, np.ndarray):
            out.append(_Slice(text, values[shared], True))
            continue
        among = np.asarray(values, dtype=object)[shared].astype(str)
        column = Column(text)
        for value in np.unique(among).tolist():
            of = float(value) if held.fields[text].quantity and value != "None" else value
            which: Predicate = Missing(column) if value == "None" else Compared(column, "==", of)
            out.append(_Slice(str(which), among == value, True))
    return out


def _rows_of(held: Held, which: str | Predicate) -> np.ndarray:
    if isinstance(which, str):
        values = held.spelled(which)
        return np.ones(len(values), dtype=bool)  # a whole column: every slice of it
    return held.rows(which, "evaluate.accept_slices")


def _halves(a: Answers) -> list[tuple[np.ndarray, np.ndarray]]:
    """Two halves of the rows, whole units each; both ways round."""
    codes = a.units.codes if a.units else np.arange(len(a.targets))
    side = np.random.default_rng(_SEED).permutation(int(codes.max()) + 1) % 2 == 0
    first = side[codes]
    return [(first, ~first), (~first, first)]


def _found(
    held: Held, shared: np.ndarray, pair: _Pair, level: float, allowed: list[tuple[np.ndarray, str]], apart: Collection[str]
) -> list[dict[str, Any]]:
    """Slices that nobody declared: on all rows where losses are of right and wrong, else found on one half and confirmed on the other."""
    mine, other = pair.metric.losses(pair.ours), pair.metric.losses(pair.theirs)
    if mine is None or other is None:
        return []
    if not pair.metric.relative and flips.one_sized(mine - other):
        return _stood_out(held, shared, pair, mine - other, level, allowed, apart)
    out, excess = [], mine - other
    for first, second in _halves(pair.ours):
        less = 0.0 if pair.metric.relative else pair.margin(first)
        found = _search(held, shared, excess - less, first, pair.config.slice_support, apart)
        out += _judged(pair, [dataclasses.replace(s, rows=s.rows & second) for s in found], level / 2, allowed)
    return out


def _stood_out(
    held: Held,
    shared: np.ndarray,
    pair: _Pair,
    differences: np.ndarray,
    level: float,
    allowed: list[tuple[np.ndarray, str]],
    apart: Collection[str],
) -> list[dict[str, Any]]:
    """The slices that stand out of all there are, each with ``among``, how many these are."""
    every = np.ones(len(differences), dtype=bool)
    at, among, support = _at_most(every, flips.MOST_ROWS), np.flatnonzero(shared), pair.config.slice_support
    margin = max(
        pair.margin(every), float(differences.mean())
    )  # worse than the rest, where the whole is worse: else all rows would be found
    units = pair.ours.units.codes[at] if pair.ours.units else None
    features = [f.some(among[at]) for f in features_of(held, apart)]
    stood, out = flips.stand_out(features, differences[at], margin, level, max(support, 2), units, _FOUND), []
    for s in stood.found:
        rows = held.rows(s.which)[shared]
        told = {**_measured(pair, _Slice(str(s.which), rows, False)), "among": stood.among}
        if told["why"] is None:
            limits = {"low": -s.mean - s.half, "high": -s.mean + s.half, "confidence": 1 - 2 * level}
            told |= {**limits, "verdict": "worse" if s.worse else "not_confirmed"}
        out.append(_accepted(told, rows, allowed))
    return out


def _at_most(half: np.ndarray, most: int) -> np.ndarray:
    """Which rows a search looks at, of some: int64, ascending."""
    at = np.flatnonzero(half)
    return at if len(at) <= most else np.sort(np.random.default_rng(_SEED).choice(at, most, replace=False))


def _search(held: Held, shared: np.ndarray, excess: np.ndarray, half: np.ndarray, support: int, apart: Collection[str]) -> list[_Slice]:
    at = _at_most(half, MOST_ROWS)
    among = np.flatnonzero(shared)[at]
    features = [f.some(among) for f in features_of(held, apart)]
    some = excess[at] - max(0.0, float(excess[at].mean()))  # worse than the rest, where the whole is worse: else all rows would be found
    found = search(features, some, max(support, 2), _FOUND)
    return [_Slice(str(f.which), held.rows(f.which)[shared], False) for f in found]


def _judged(pair: _Pair, slices: list[_Slice], level: float, allowed: list[tuple[np.ndarray, str]]) -> list[dict[str, Any]]:
    """Each slice's difference, and which are worse, together at a level."""
    told = [_measured(pair, s) for s in slices]
    asked = [i for i, t in enumerate(told) if t["why"] is None]

    def worse(i: int) -> Callable[[float], bool]:
        def at(of: float) -> bool:
            limits = pair.interval(slices[i].rows, of)
            return limits is not None and limits[1] < -told[i]["margin"] - metrics.ROUNDING

        return at

    declared = all(s.declared for s in slices)
    rejected = dict(zip(asked, (holm if declared else in_order)([worse(i) for i in asked], level), strict=True))
    level = level / max(len(asked), 1) if declared else level
    for i in asked:
        limits = pair.interval(slices[i].rows, level)
        if limits is None:
            told[i]["why"] = "the rows tell no interval"
            continue
        told[i] |= {"low": limits[0], "high": limits[1], "confidence": 1 - 2 * level}
        told[i]["verdict"] = _verdict(told[i], rejected[i], slices[i].declared)
    return [_accepted(t, s.rows, allowed) for t, s in zip(told, slices, strict=True)]


def _accepted(told: dict[str, Any], rows: np.ndarray, allowed: list[tuple[np.ndarray, str]]) -> dict[str, Any]:
    """With what a person said of it, where it is worse and within what may be."""
    why = next((why for may, why in allowed if (may & rows).sum() >= 0.9 * rows.sum()), None)
    accepted = {"verdict": "accepted", "accepted": why} if told["verdict"] == "worse" and why is not None else {}
    return {**told, "why": told["why"] or "", **accepted}


def _verdict(t: dict[str, Any], worse: bool, declared: bool) -> str:
    if worse:
        return "worse"
    if not declared:
        return "not_confirmed"
    return "better" if t["low"] > 0 else "no_worse" if t["low"] >= -t["margin"] - metrics.ROUNDING else "cannot_tell"


def _measured(pair: _Pair, s: _Slice) -> dict[str, Any]:
    """A slice's two values, with ``why`` it cannot be told where it cannot."""
    out: dict[str, Any] = {
        "slice": s.name,
        "declared": s.declared,
        "rows": int(s.rows.sum()),
        "metric": pair.metric.name,
        "verdict": "cannot_tell",
    }
    out |= dict.fromkeys(("candidate", "champion", "difference", "low", "high", "confidence", "why"))
    if not s.rows.any():
        return out | {"margin": None, "why": "no held-out row is in it"}
    ours, theirs = pair.ours.rows(s.rows), pair.theirs.rows(s.rows)
    values = pair.metric.value(ours), pair.metric.value(theirs)
    out |= ours.units.told_as() if ours.units else {}
    out["margin"] = pair.margin(s.rows)
    if not np.isfinite(values).all():
        return out | {"why": f"{pair.metric.name} is not defined: {pair.metric.why(ours)}"}
    out |= {"candidate": values[0], "champion": values[1], "difference": pair.metric.sign * (values[0] - values[1])}
    counted = ours.units.count if ours.units else out["rows"]
    if counted < pair.config.slice_support:
        return out | {"why": f"fewer than {pair.config.slice_support} {'units' if ours.units else 'rows'}"}
    if pair.metric.alike(ours, theirs):
        return out | {"verdict": "no_worse", "why": "both answer alike"}
    return out


def _without_champion(
    held: Held, ours: Answers, metric: Metric, config: SliceChampionConfig, apart: Collection[str] = ("label",)
) -> dict[str, Any] | None:
    """The slices with the largest losses, told by rows that did not find them."""
    losses = metric.losses(ours)
    if losses is None:
        return None
    first, second = _halves(ours)[0]
    every, out = np.ones(len(losses), dtype=bool), []
    found = _search(held, every, losses - losses[first].mean(), first, config.slice_support, apart)
    whole = metric.value(ours.rows(second)) if second.any() else float("nan")
    for s in found:
        rows = s.rows & second
        some = ours.rows(rows)
        if (some.units.count if some.units else int(rows.sum())) < config.slice_support:
            continue
        value = metric.value(some)
        limits = metric.interval(some, 1 - (1 - config.confidence) / len(found), config.resamples)
        if limits is None or not np.isfinite(value):
            continue
        far = metric.sign * ((limits[1] if metric.sign > 0 else limits[0]) - whole) < 0
        ratio = losses[rows].mean() > _TIMES * losses[second].mean() if losses.min() >= 0 else True
        out.append(
            {"slice": s.name, "declared": False, "rows": int(rows.sum()), **(some.units.told_as() if some.units else {}), "metric": metric.name, "candidate": value,
             "whole": whole, "low": limits[0], "high": limits[1], "verdict": "worse" if far and ratio else "not_confirmed"}
        )  # fmt: skip
    return {"against": "all rows", "metric": metric.name, "slices": out} if out else None
