"""Windows' counts against a reference's: which parts moved, and in which words that is said."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sluice.monitor.config import Drift
from sluice.monitor.parts import Part
from sluice.monitor.verdict import Score
from sluice.monitor.windows import Open
from sluice.stats import distances, mmd
from sluice.stats.noise import kept_bound, rate_bound

#: What a level is at most, whatever is put up with.
_LARGEST = 0.02
_SECOND = 1 / 86_400
#: Rows a value was due in that is told to be gone.
_DUE = 10
#: What whole rows are called as a part.
WHOLE = "whole"


@dataclasses.dataclass(frozen=True)
class Asked:
    """A score, and what may be moved about it."""

    plain: Score
    asked: tuple[str, ...]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.plain, name)


class Judge:
    """The settings, and how many things are asked of a window.

    Args:
        config: they.
        parts: of features. answers: of answers. vectors: of whole rows, by feature.
    """

    def __init__(self, config: Drift, parts: Sequence[Part], answers: Sequence[Part], vectors: Mapping[str, Any]):
        self.config, self.vectors = config, vectors
        self.tests = max(sum(len(p.tests) for p in (*parts, *answers) if p.watched) + len(vectors), 1)

    def level(self, window: Open) -> float:
        """How often one thing may seem to move in as many windows in a row as it takes: false alarms a day, by the time the window stands for and by all that is asked."""
        days = window.days if window.days else None
        days = 1 / self.config.windows_a_day if days is None else max(days, _SECOND)
        level = min(self.config.false_alarms * days / self.tests, _LARGEST**self.config.persistence)
        return float(2.0 ** math.floor(math.log2(level)))  # of few sizes, so that bounds are worked out seldom

    def scores(
        self,
        closed: Sequence[Open],
        levels: Sequence[float],
        parts: Sequence[Part],
        counts: Mapping[str, Any],
        totals: Mapping[str, Any],
        new: Mapping[str, list[dict[str, int]]],
        groups: Mapping[str, Any],
    ) -> list[list[Asked]]:
        """Of each window, of each part that has counts."""
        out: list[list[Asked]] = [[] for _ in closed]
        for part in parts:
            if part.key not in counts:
                continue
            found = np.asarray(counts[part.key][: len(closed)])
            total = totals.get(part.feature) if part.part == "value" else None
            for i, one in enumerate(self._part(part, found, closed, levels, total, new.get(part.feature), groups.get(part.key))):
                out[i].append(one)
        return out

    def whole(self, level: float, sums: Mapping[str, Any]) -> list[Asked]:
        """Of one window's whole rows, by feature."""
        out = []
        for feature, found in sums.items():
            told, threshold = self.vectors[feature], self.config.vectors
            score, noise, limit, shift = mmd.distance(told, found), None, None, None
            if score is not None:
                null = mmd.null(told, int(found[0]))
                floor = kept_bound(null, level, self.config.persistence)
                noise, limit = math.sqrt(floor), math.sqrt(max(floor, null.surely(threshold**2)))
                shift = math.sqrt(max(score**2 - null.mean - null.lasting, 0.0))
            moves = ("distance",) if score is not None and limit is not None and score > limit else ()
            watched = self.config.watched(feature)
            told_ = Score(feature, WHOLE, "mmd", score, shift, threshold, noise, limit, bool(moves), moves, watched)
            out.append(Asked(told_, ("distance",)))
        return out

    def _part(
        self, part: Part, found: Any, closed: Sequence[Open], levels: Sequence[float], total: Any, new: Any, groups: Any
    ) -> list[Asked]:
        means = stds = None
        if total is not None:
            with np.errstate(divide="ignore", invalid="ignore"):
                n = np.where(total[:, 0] > 0, total[:, 0], np.nan)[: len(closed)]
                means = total[: len(closed), 1] / n
                stds = np.sqrt(np.maximum(total[: len(closed), 2] / n - means**2, 0.0))
        score = part.distance(found, part.method, means)
        line = part.ends is not None
        beside = {m: part.distance(found, m, means) for m in ("ks", "wasserstein")} if line else {}
        coarse = part.coarse(found)
        return [
            self._one(
                part,
                i,
                found[i],
                coarse[i],
                float(score[i]),
                window,
                levels[i],
                {m: float(v[i]) for m, v in beside.items()},
                means,
                stds,
                new,
                groups,
            )
            for i, window in enumerate(closed)
        ]

    def _one(
        self,
        part: Part,
        i: int,
        fine: Any,
        coarse: Any,
        score: float,
        window: Open,
        level: float,
        beside: Any,
        means: Any,
        stds: Any,
        new: Any,
        groups: Any,
    ) -> Asked:
        rows = int(coarse.sum())
        noise = limit = shift = None
        moves: list[str] = []
        if score == score:
            null = part.null(rows, None if groups is None else groups[i])
            if null is not None:
                floor = kept_bound(null, level, self.config.persistence)
                bound = max(floor, null.surely(part.unit(part.threshold)))
                noise, limit = part.back(floor), part.back(bound)
                shift = part.back(max(part.unit(score) - null.mean - null.lasting, 0.0))
                if part.unit(score) > bound:
                    moves.append("distance")
        shares, more = self._rates(part, fine, coarse, rows, level ** (1 / self.config.persistence))
        moves += more
        valid = rows - (int(coarse[-1]) if part.missing else 0)
        reference = int(part.fine[:-1].sum())
        told = Score(
            feature=part.feature,
            part=part.part,
            method=part.method,
            score=score if score == score else None,
            shift=shift,
            threshold=part.threshold,
            noise=noise,
            limit=limit,
            moved=bool(moves),
            moves=tuple(moves),
            watched=part.watched,
            **shares,
            ks=_number(beside.get("ks")),
            ks_p=distances.ks_p(beside["ks"], valid, reference) if _number(beside.get("ks")) is not None else None,
            wasserstein=_number(beside.get("wasserstein")),
            mean=None if means is None else _number(float(means[i])),
            std=None if stds is None else _number(float(stds[i])),
            new=dict(new[i]) if new is not None and part.listed else {},
            gone=self._gone(part, coarse, rows),
            shares=tuple((coarse / max(rows, 1)).tolist()) if len(coarse) <= 64 else (),
        )
        return Asked(told, part.tests)

    def _rates(self, part: Part, fine: Any, coarse: Any, rows: int, level: float) -> tuple[dict[str, float], list[str]]:
        """Shares of rows, and which of them moved."""
        shares: dict[str, float] = {}
        moves: list[str] = []
        before = int(part.counts.sum())

        def ask(what: str, now: int, then: int, most: float, both: bool = False) -> None:
            shares[what] = now / rows
            change = now / rows - (then + 0.5) / (before + 1)
            sure = most - 3 * math.sqrt(max(most * (1 - most), 1e-12) / rows)
            if change > max(rate_bound(then, before, rows, level), sure) or (
                both and -change > max(rate_bound(before - then, before, rows, level), sure)
            ):
                moves.append(what)

        if rows and before:
            if part.missing:
                ask("nulls", int(coarse[-1]), int(part.counts[-1]), self.config.nulls, both=True)
            if part.listed:
                ask("unseen", int(coarse[-2]), int(part.counts[-2]), self.config.unseen)
            if part.ranged:
                ask("outside", int(fine[0] + fine[-2]), int(part.fine[0] + part.fine[-2]), self.config.outside)
        return shares, moves

    @staticmethod
    def _gone(part: Part, coarse: Any, rows: int) -> tuple[str, ...]:
        values = part.bins.get("values")
        if not values:
            return ()
        due = part.counts[: len(values)] / max(int(part.counts.sum()), 1) * rows
        return tuple(str(values[j]) for j in np.flatnonzero((due >= _DUE) & (coarse[: len(values)] == 0)).tolist())

    @staticmethod
    def text(score: Score, what: str) -> str:
        """An alarm in words."""
        if what == "distance":
            lost = f"; gone: {', '.join(score.gone[:5])}" if score.gone else ""
            return f"{score.name} has moved: {score.method} {score.score:.3g}, by chance up to {score.noise:.2g}, threshold {score.threshold:g}{lost}"
        if what == "nulls":
            return f"{score.name}: {100 * (score.nulls or 0):.1f} % of the rows have no value"
        if what == "unseen":
            names = ", ".join(list(score.new)[:5])
            return f"{score.name}: {100 * (score.unseen or 0):.1f} % of the values are new" + (f" ({names})" if names else "")
        return f"{score.name}: {100 * (score.outside or 0):.1f} % of the values are outside the training rows' range"


def _number(value: float | None) -> float | None:
    return value if value is not None and value == value else None
