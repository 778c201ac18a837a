"""A part's scores in many windows at once, as arrays; a `Score` is made of one window where it is asked for."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, overload

import numpy as np

from sluice.monitor.parts import Part
from sluice.monitor.verdict import Score
from sluice.stats import distances

#: What whole rows are called as a part.
WHOLE = "whole"
#: Rows a value was due in that is told to be gone.
_DUE = 10


@dataclasses.dataclass(frozen=True, eq=False)
class Sheet:
    """One part. Arrays are [windows], `fine` and `coarse` [windows, bins]; NaN where a window has none.

    Attributes:
        start: the first window's place. moves: what is asked of it -> whether it moved. shares: by name.
        new: names of new values by window, or None. weak: whether a window says so by itself, if not loudly. joint: the distance of the windows in
            a row together, where that is beyond chance; set by `Judge.together`.
    """

    part: Part
    start: int
    fine: Any
    coarse: Any
    rows: Any
    scores: Any
    shift: Any
    noise: Any
    limit: Any
    moves: dict[str, Any]
    shares: Mapping[str, Any]
    means: Any
    stds: Any
    new: Any
    weak: Any
    joint: Any

    @property
    def name(self) -> tuple[str, str]:
        """Feature and part."""
        return self.part.feature, self.part.part

    @property
    def watched(self) -> bool:
        """Whether it may raise an alarm."""
        return self.part.watched

    @property
    def asked(self) -> tuple[str, ...]:
        """What may raise one."""
        return self.part.tests

    @functools.cached_property
    def _beside(self) -> dict[str, Any]:
        return {m: self.part.distance(self.fine, m, self.means) for m in ("ks", "wasserstein")} if self.part.ends is not None else {}

    def score(self, window: int) -> Score:
        """Of the window at a place."""
        i, part = window - self.start, self.part
        rows, ks = int(self.rows[i]), _number(self._beside["ks"][i]) if self._beside else None
        moves = tuple(what for what, moved in self.moves.items() if moved[i])
        valid = rows - (int(self.coarse[i, -1]) if part.missing else 0)
        return Score(
            feature=part.feature,
            part=part.part,
            method=part.method,
            score=_number(self.scores[i]),
            shift=_number(self.shift[i]),
            threshold=part.threshold,
            noise=_number(self.noise[i]),
            limit=_number(self.limit[i]),
            moved=bool(moves),
            moves=moves,
            watched=part.watched,
            **{what: _number(share[i]) for what, share in self.shares.items()},
            ks=ks,
            ks_p=None if ks is None else distances.ks_p(ks, valid, int(part.fine[:-1].sum())),
            wasserstein=_number(self._beside["wasserstein"][i]) if self._beside else None,
            mean=None if self.means is None else _number(self.means[i]),
            std=None if self.stds is None else _number(self.stds[i]),
            new=dict(self.new[i]) if self.new is not None else {},
            gone=self._gone(i, rows),
            together=_number(self.joint[i]),
            shares=tuple((self.coarse[i] / max(rows, 1)).tolist()) if self.coarse.shape[1] <= 64 else (),
        )

    def _gone(self, i: int, rows: int) -> tuple[str, ...]:
        values = self.part.bins.get("values")
        if not values:
            return ()
        due = self.part.counts[: len(values)] / max(int(self.part.counts.sum()), 1) * rows
        return tuple(str(values[j]) for j in np.flatnonzero((due >= _DUE) & (self.coarse[i, : len(values)] == 0)).tolist())


class Ready:
    """Scores that are made already, a window each."""

    start = 0
    asked = ("distance",)

    def __init__(self, found: Sequence[Score]):
        self.found = found
        self.name = (found[0].feature, found[0].part)
        self.watched = found[0].watched
        self.shift = np.array([np.nan if s.shift is None else s.shift for s in found])
        self.moves = {"distance": np.array([s.moved for s in found])}

    def score(self, window: int) -> Score:
        """Of the window at a place."""
        return self.found[window]


class Scores(Sequence[Score]):
    """Of one window, the farthest over its limit first; made when they are first asked for.

    Args:
        sheets: those that the window is in. window: its place. most: the largest shift of a watched feature, or None.
    """

    def __init__(self, sheets: Sequence[Sheet | Ready], window: int, most: float | None):
        self._sheets, self._window, self.most = sheets, window, most

    @functools.cached_property
    def _made(self) -> tuple[Score, ...]:
        return tuple(sorted((s.score(self._window) for s in self._sheets), key=lambda s: -(s.score or 0.0) / s.limit if s.limit else 0.0))

    def __len__(self) -> int:
        return len(self._sheets)

    @overload
    def __getitem__(self, at: int) -> Score: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Score]: ...
    def __getitem__(self, at: int | slice) -> Score | Sequence[Score]:
        return self._made[at]

    def __iter__(self) -> Iterator[Score]:
        return iter(self._made)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and self._made == tuple(other)

    def __hash__(self) -> int:
        return hash(self._made)


def _number(value: float) -> float | None:
    return float(value) if value == value else None
