"""Windows' counts against a reference's: which parts moved, and in which words that is said."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sluice.monitor.config import Drift
from sluice.monitor.parts import Part
from sluice.monitor.sheet import WHOLE, Ready, Sheet
from sluice.monitor.verdict import Score
from sluice.monitor.windows import Open
from sluice.stats import mmd
from sluice.stats.noise import kept_bound, rate_bound

#: What a level is at most, whatever is put up with.
_LARGEST = 0.02
_SECOND = 1 / 86_400
#: Of windows that are asked together, how many deviations from chance each has to be: one in twenty or so is, where nothing moved. Together they are
#: no alarm below so many.
_WEAK, _LOUD = 1.8, 4.0
#: Times as many rows as windows together have, that a reference needs to be asked so: its own error is in each of them, and more rows only show it.
_KNOWN = 10


#: Places of windows by what their bounds depend on: rows and level.
Alike = list[tuple[tuple[int, float], Any]]


class Judge:
    """The settings, and how many things are asked of a window.

    Args:
        config: they.
        parts: of features. answers: of answers. vectors: of whole rows, by feature.
    """

    def __init__(self, config: Drift, parts: Sequence[Part], answers: Sequence[Part], vectors: Mapping[str, Any]):
        self.config, self.vectors = config, vectors
        self._last: tuple[Any, Alike] = (None, [])
        self.tests = max(sum(len(p.tests) for p in (*parts, *answers) if p.watched) + len(vectors), 1)

    def level(self, window: Open) -> float:
        """How often one thing may seem to move in as many windows in a row as it takes, by itself in each or by all of them together: false alarms a
        day, by the time the window stands for and by all that is asked."""
        days = window.days if window.days else None
        days = 1 / self.config.windows_a_day if days is None else max(days, _SECOND)
        ways = 1 if self.config.persistence == 1 else 2
        level = min(self.config.false_alarms * days / self.tests / ways, _LARGEST**self.config.persistence)
        return float(2.0 ** math.floor(math.log2(level)))  # of few sizes, so that bounds are worked out seldom

    def sheets(
        self,
        closed: Sequence[Open],
        levels: Sequence[float],
        parts: Sequence[Part],
        counts: Mapping[str, Any],
        totals: Mapping[str, Any],
        new: Mapping[str, list[dict[str, int]]],
        groups: Mapping[str, Any],
        start: int = 0,
    ) -> list[Sheet]:
        """Of each part that has counts, all windows at once.

        Args:
            start: the first window's place among those that the counts are of.
        """
        inside, out = slice(start, start + len(closed)), []
        for part in parts:
            if part.key in counts:
                total = totals[part.feature][inside] if part.part == "value" and part.feature in totals else None
                names = new[part.feature][inside] if part.listed and part.feature in new else None
                group = groups[part.key][inside] if part.key in groups else None
                out.append(self._sheet(part, np.asarray(counts[part.key][inside]), levels, total, names, group, start))
        return out

    def whole(self, levels: Sequence[float], sums: Mapping[str, Any]) -> list[Ready]:
        """Of the windows' whole rows, by feature: sums [windows, ...]."""
        return [
            Ready([self._whole(feature, one, level) for one, level in zip(found, levels, strict=False)]) for feature, found in sums.items()
        ]

    def _whole(self, feature: str, found: Any, level: float) -> Score:
        told, threshold = self.vectors[feature], self.config.vectors
        score, noise, limit, shift = mmd.distance(told, found), None, None, None
        if score is not None:
            null = mmd.null(told, int(found[0]))
            floor = kept_bound(null, level, self.config.persistence)
            noise, limit = math.sqrt(floor), math.sqrt(max(floor, null.surely(threshold**2)))
            shift = math.sqrt(max(score**2 - null.mean - null.lasting, 0.0))
        moves = ("distance",) if score is not None and limit is not None and score > limit else ()
        return Score(feature, WHOLE, "mmd", score, shift, threshold, noise, limit, bool(moves), moves, self.config.watched(feature))

    def _sheet(self, part: Part, found: Any, levels: Sequence[float], total: Any, new: Any, groups: Any, start: int) -> Sheet:
        means = stds = None
        if total is not None:
            with np.errstate(divide="ignore", invalid="ignore"):
                n = np.where(total[:, 0] > 0, total[:, 0], np.nan)
                means = total[:, 1] / n
                stds = np.sqrt(np.maximum(total[:, 2] / n - means**2, 0.0))
        score = part.distance(found, part.method, means)
        coarse = part.coarse(found)
        rows = coarse.sum(axis=1)
        noise, limit, shift, moved, weak = self._bounds(part, score, rows, levels, groups)
        shares, moves = self._rates(part, found, coarse, rows, levels)
        return Sheet(
            part,
            start,
            found,
            coarse,
            rows,
            score,
            shift,
            noise,
            limit,
            {"distance": moved, **moves},
            shares,
            means,
            stds,
            new,
            weak,
            np.full(len(rows), np.nan),
        )

    def _bounds(self, part: Part, score: Any, rows: Any, levels: Sequence[float], groups: Any) -> tuple[Any, Any, Any, Any, Any]:
        """Noise, limit, shift, whether it moved, and whether it may have, [windows]; windows of as many rows at the same level have the same bounds."""
        noise, limit, shift, moved, weak = (np.full(len(score), np.nan) for _ in range(5))
        unit = score**2 if part.squared else score
        alike = (
            self._alike(rows, levels)
            if groups is None
            else [((int(n), lv), np.array([i])) for i, (n, lv) in enumerate(zip(rows, levels, strict=False))]
        )
        for (n, level), at in alike:
            at = at[np.isfinite(score[at])]
            null = part.null(n, None if groups is None else groups[at[0]]) if len(at) else None
            if null is not None:
                floor = kept_bound(null, level, self.config.persistence)
                bound = max(floor, null.surely(part.unit(part.threshold)))
                noise[at], limit[at] = part.back(floor), part.back(bound)
                apart = np.maximum(unit[at] - null.mean - null.lasting, 0.0)
                shift[at], moved[at] = np.sqrt(apart) if part.squared else apart, unit[at] > bound
                weak[at] = unit[at] > null.mean + null.lasting + _WEAK * null.sd
        return noise, limit, shift, moved == 1.0, weak == 1.0

    def together(self, sheet: Sheet, levels: Sequence[float], before: Sequence[Sequence[int]]) -> tuple[Any, list[list[int]]]:
        """Windows in a row asked together: a shift that each of them shows, and none loudly enough, their rows together do.

        Args:
            before: counts of the windows before the first that may have moved, in a row up to it, of which the state keeps those.

        Returns:
            Which windows have moved with those before them, bool [windows], and what the next ones are asked with.
        """
        several, known = self.config.persistence, len(before)
        over = np.zeros(len(sheet.rows), bool)
        if several == 1 or sheet.part.several:
            return over, []
        for i in np.flatnonzero(sheet.weak).tolist():
            first = i + 1 - several
            if first < -known or not sheet.weak[max(first, 0) : i].all():
                continue
            counts = sheet.fine[max(first, 0) : i + 1].sum(axis=0)
            for one in before[known + first :] if first < 0 else ():
                counts = counts + np.asarray(one, np.int64)
            found = self._over(sheet.part, counts, int(sheet.rows[i]), levels[i])
            if found is not None:
                over[i], sheet.joint[i] = True, found
        last = next((n for n, weak in enumerate(sheet.weak[::-1].tolist()) if not weak), len(sheet.weak))
        kept = [*(before if last == len(sheet.weak) else ()), *sheet.fine[len(sheet.weak) - last :].tolist()]
        return over, kept[max(len(kept) - several + 1, 0) :]

    def _over(self, part: Part, counts: Any, rows: int, level: float) -> float | None:
        """The distance of windows' counts together, where it is beyond chance and the threshold; else None."""
        score = float(part.distance(counts[None], part.method)[0])
        one, several = part.null(rows) if score == score else None, self.config.persistence
        if one is None or part.unit(score) < one.lasting + (one.mean + _LOUD * one.sd) / several:
            return None
        together = int(part.coarse(counts[None])[0].sum())
        null = part.null(together) if int(part.counts.sum()) >= _KNOWN * together else None
        if null is None:
            return None
        # Of the threshold as much is left open as one window leaves: bins see less than all of a shift.
        bound = max(kept_bound(null, level, 1), one.surely(part.unit(part.threshold)) - one.mean + null.mean)
        return score if part.unit(score) > bound else None

    def _rates(self, part: Part, fine: Any, coarse: Any, rows: Any, levels: Sequence[float]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Shares of rows, and which of them moved, [windows] each."""
        shares: dict[str, Any] = {}
        moves: dict[str, Any] = {}
        before = int(part.counts.sum())
        if not before:
            return shares, moves
        asked = []
        if part.missing:
            asked.append(("nulls", coarse[:, -1], int(part.counts[-1]), self.config.nulls, True))
        if part.listed:
            asked.append(("unseen", coarse[:, -2], int(part.counts[-2]), self.config.unseen, False))
        if part.ranged:
            asked.append(("outside", fine[:, 0] + fine[:, -2], int(part.fine[0] + part.fine[-2]), self.config.outside, False))
        for what, now, then, most, both in asked:
            shares[what] = now / np.where(rows > 0, rows, np.nan)
            change = shares[what] - (then + 0.5) / (before + 1)
            moves[what] = np.zeros(len(rows), bool)
            for (n, level), at in self._alike(rows, levels):
                if n:
                    level = level ** (1 / self.config.persistence)
                    sure = most - 3 * math.sqrt(max(most * (1 - most), 1e-12) / n)
                    moves[what][at] = change[at] > max(rate_bound(then, before, n, level), sure)
                    if both:
                        moves[what][at] |= -change[at] > max(rate_bound(before - then, before, n, level), sure)
        return shares, moves

    def _alike(self, rows: Any, levels: Sequence[float]) -> Alike:
        """Windows of as many rows at the same level: ((rows, level), places); of the last rows and levels, kept: most parts have the same."""
        key = (rows.tobytes(), tuple(levels))
        if self._last[0] != key:
            found: dict[tuple[int, float], list[int]] = {}
            for i, one in enumerate(zip(rows.tolist(), levels, strict=False)):
                found.setdefault(one, []).append(i)
            self._last = (key, [(one, np.asarray(at)) for one, at in found.items()])
        return self._last[1]

    @staticmethod
    def text(score: Score, what: str) -> str:
        """An alarm in words."""
        if what == "distance" and score.together is not None and not (score.score or 0.0) > (score.limit or 0.0):
            return f"{score.name} has moved: {score.method} {score.score:.3g}, of its rows and those of the windows before together {score.together:.3g}, threshold {score.threshold:g}"
        if what == "distance":
            lost = f"; gone: {', '.join(score.gone[:5])}" if score.gone else ""
            return f"{score.name} has moved: {score.method} {score.score:.3g}, by chance up to {score.noise:.2g}, threshold {score.threshold:g}{lost}"
        if what == "nulls":
            return f"{score.name}: {100 * (score.nulls or 0):.1f} % of the rows have no value"
        if what == "unseen":
            names = ", ".join(list(score.new)[:5])
            return f"{score.name}: {100 * (score.unseen or 0):.1f} % of the values are new" + (f" ({names})" if names else "")
        return f"{score.name}: {100 * (score.outside or 0):.1f} % of the values are outside the training rows' range"
