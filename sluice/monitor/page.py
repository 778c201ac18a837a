"""Page's test for a rate of errors that rises: a sum of log likelihood ratios that begins anew wherever it falls to 0, against a limit.

What is expected is learnt on: of the first rows, and of all rows since up to where the sum was last at 0. As long as few rows say it, an answer can
be held against the upper end of what they leave open, so that a rate that was told too low by chance makes no rise. A rise stands from where the
sum goes over the limit to where as much speaks for the rate as it was before.

Rows are taken in blocks: what is expected changes between two of them alone, so the same rows give the same however they are cut, and what has to be
kept between two looks is a handful of numbers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
#: Rows of a block.
BLOCK = 25
LEAST, LARGEST = 1e-3, 0.95
#: By how much more is asked of what ends a rise than of what begins it: one that is there does not flicker.
_SURER = 2.0


@dataclasses.dataclass(frozen=True)
class Ratios:
    """Log likelihood ratios: of an error and of a right answer, for each chance to err; and what is expected of them as long as nothing changed (negative)."""

    wrong: Floats
    right: Floats
    mean: Floats
    chances: Floats


def ratios(chances: Floats, loss: float, rate: float, upper: Floats | None = None) -> Ratios:
    """Against a model whose error rate is `rate + loss`: some of what it answered right, wherever it stands, it answers wrong now.

    Args:
        chances: to err, float64 [any]. upper: what they may be at the most as things are [any]; None: what they are. Where that is as much as the
            loss makes of them, an answer says nothing.
    """
    more = loss / max(1.0 - rate, LEAST)
    worse = np.minimum(chances + min(more, 0.99) * (1 - chances), 1 - 1e-6)
    now = chances if upper is None else np.minimum(upper, worse)
    wrong, right = np.log(worse / now), np.log((1 - worse) / (1 - now))
    return Ratios(wrong, right, now * wrong + (1 - now) * right, now)


@dataclasses.dataclass
class State:
    """Between two blocks; plain numbers.

    Attributes:
        row: rows so far. total: the sum, or, where a rise stands, what speaks for its end. since: the row at which the sum was last 0.
        expected, wrong: errors expected and seen up to `since`; open_expected, open_wrong: behind it. standing: whether a rise stands.
    """

    row: int = 0
    total: float = 0.0
    since: int = 0
    expected: float = 0.0
    wrong: float = 0.0
    open_expected: float = 0.0
    open_wrong: float = 0.0
    standing: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def of(cls, kept: dict[str, Any]) -> Self:
        """What `to_dict` gave."""
        return cls(**{f.name: kept[f.name] for f in dataclasses.fields(cls)})


@dataclasses.dataclass(frozen=True)
class Crossed:
    """That the sum went over the limit: at which row, which row it began at, the share of errors since."""

    row: int
    since: int
    rate: float


class Page:
    """The test.

    Args:
        rate: of errors, as the first rows say. rows: how many these are. loss: of it, that is looked for.
        limit: of the sum. upper: how many standard errors above what was seen the rate may be as things are.
    """

    def __init__(self, rate: float, rows: float, loss: float, limit: float, upper: float = 0.0):
        self.rate, self.loss, self.limit, self.upper = rate, loss, limit, upper
        self.state = State(expected=rate * rows, wrong=rate * rows)

    def update(self, wrong: NDArray[np.bool_], chances: Floats, beyond: Floats | None = None) -> list[Crossed]:
        """Count answers in.

        Args:
            wrong: of each answer, bool [rows]. chances: to be wrong, as the first rows would have it [rows].
            beyond: what is added to the limit [rows]; None: nothing.
        """
        return together([self], wrong, chances, [beyond])[0]

    def block(self, wrong: NDArray[np.bool_], chances: Floats, beyond: float, learnt: State) -> list[Crossed]:
        """Count a block in, or what there is of it. `learnt`: whose errors say what is to be expected."""
        s, limit = self.state, self.limit + beyond
        told = self._told(chances, learnt)
        steps = np.where(wrong, told.wrong, told.right)
        run = s.total + np.cumsum(-steps if s.standing else steps)
        sums = run - np.minimum(np.minimum.accumulate(run), 0.0)
        if s.standing:
            self._ending(wrong, chances, sums)
            return []
        over, zeros = np.flatnonzero(sums > limit), np.flatnonzero(sums == 0)
        found: list[Crossed] = []
        if len(over):
            s.standing, zeros = True, zeros[zeros < over[0]]
        zero = int(zeros[-1]) + 1 if len(zeros) else 0
        if zero:  # up to there nothing rose
            s.expected += s.open_expected + float(chances[:zero].sum())
            s.wrong += s.open_wrong + float(wrong[:zero].sum())
            s.open_expected = s.open_wrong = 0.0
            s.since = s.row + zero
        if len(over):
            row = s.row + int(over[0])
            errors = s.open_wrong + float(wrong[zero : over[0] + 1].sum())
            found.append(Crossed(row, s.since, errors / (row + 1 - s.since)))
        s.open_expected += float(chances[zero:].sum())
        s.open_wrong += float(wrong[zero:].sum())
        s.total, s.row = (0.0 if s.standing else float(sums[-1])), s.row + len(wrong)
        return found

    def _told(self, chances: Floats, s: State) -> Ratios:
        """By what is expected now."""
        share = s.wrong / s.expected
        error = float(np.sqrt(max(s.wrong, 1.0) * (1 - min(self.rate, LARGEST)))) / s.expected
        now, upper = (np.clip(chances * x, LEAST, LARGEST) for x in (share, share + self.upper * error))
        return ratios(now, self.loss, min(self.rate * share, 1 - self.loss - LEAST), upper)

    def _ending(self, wrong: NDArray[np.bool_], chances: Floats, sums: Floats) -> None:
        """Whether a rise that stands ends with these rows, which say nothing of what is to be expected."""
        s = self.state
        s.open_expected, s.open_wrong = s.open_expected + float(chances.sum()), s.open_wrong + float(wrong.sum())
        s.total, s.row = float(sums[-1]), s.row + len(wrong)
        if (sums > self.limit + _SURER).any():
            s.total, s.since, s.standing = 0.0, s.row, False
            s.open_expected = s.open_wrong = 0.0


def together(pages: Sequence[Page], wrong: NDArray[np.bool_], chances: Floats, beyond: Sequence[Floats | None]) -> list[list[Crossed]]:
    """Count answers in, in several tests of the same rows. The last is the hardest to convince, and what it has learnt is what all expect: one that
    suspects a rise too soon would learn no more.

    Args:
        wrong, chances: as `Page.update` takes them. beyond: of each test.

    Returns:
        What each found.
    """
    found: list[list[Crossed]] = [[] for _ in pages]
    at = 0
    while at < len(wrong):
        end = min(at + BLOCK - pages[-1].state.row % BLOCK, len(wrong))
        learnt = dataclasses.replace(pages[-1].state)
        for page, more, seen in zip(pages, beyond, found, strict=True):
            seen += page.block(wrong[at:end], chances[at:end], 0.0 if more is None else float(more[at]), learnt)
        at = end
    return found
