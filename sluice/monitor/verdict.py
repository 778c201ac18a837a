"""What a window of predictions says: a score for each part of each feature, and which alarms begin, stand and end."""

from __future__ import annotations

import dataclasses
import datetime
import math
from collections.abc import Sequence
from typing import Any


@dataclasses.dataclass(frozen=True)
class Score:
    """One part of one feature in one window.

    Attributes:
        feature, part: its name; ``value`` of a number or a category, ``characters`` of a text, ...
        method: of `score`: ``psi``, ``js``, ``wasserstein`` (in the reference's deviations) or ``ks``.
        score: the distance from the reference; None: the window has nothing to compare.
        shift: `score` without what chance alone adds on average; 0 at the least.
        threshold: the shift that is to be caught.
        noise: what chance alone seldom exceeds at so many rows, as seldom as false alarms were put up with.
        limit: what `score` had to exceed: `noise`, or less than `threshold` by what so many rows leave open, whichever is more.
        moved: it did, or one of `moves`.
        moves: which of ``distance``, ``nulls``, ``unseen``, ``outside``.
        watched: it may raise an alarm.
        together: of the rows of this window and those before it, as many as persistence says, the distance, where all of them are beyond chance; else None.
        nulls, unseen, outside: shares of rows without a value, with one the training rows did not have, outside their range; None: not asked of such a part.
        ks, ks_p, wasserstein: beside `score` where bins have an order.
        mean, std: of numbers.
        new, gone: values that the training rows did not have, and how often; such that they had and that are missing though at least ten were due.
        shares: of the bins, for a picture.
    """

    feature: str
    part: str
    method: str
    score: float | None
    shift: float | None
    threshold: float
    noise: float | None
    limit: float | None
    moved: bool
    moves: tuple[str, ...] = ()
    watched: bool = True
    nulls: float | None = None
    unseen: float | None = None
    outside: float | None = None
    ks: float | None = None
    ks_p: float | None = None
    wasserstein: float | None = None
    mean: float | None = None
    std: float | None = None
    new: dict[str, int] = dataclasses.field(default_factory=dict)
    gone: tuple[str, ...] = ()
    shares: tuple[float, ...] = ()
    together: float | None = None

    @property
    def name(self) -> str:
        """What a person calls it."""
        return self.feature if self.part in ("value", "") else f"{self.feature} ({self.part})"


@dataclasses.dataclass(frozen=True)
class Alarm:
    """A feature that has moved for as many windows in a row as it takes.

    Attributes:
        feature, part, what: as in `Score.moves`.
        window: number of the window in which it was raised, from 0.
        since: when the first of the windows in a row began (ISO 8601); "" where rows tell no time.
        text: what a person is told.
    """

    feature: str
    part: str
    what: str
    window: int
    since: str
    text: str

    @property
    def key(self) -> str:
        """What it is the same alarm by."""
        return f"{self.feature}\x1f{self.part}\x1f{self.what}"


@dataclasses.dataclass(frozen=True)
class Verdict:
    """A window, judged.

    Attributes:
        window: its number, from 0.
        rows: it has.
        begun, ended: first and last row's time, ISO 8601; "" where rows tell no time.
        scores: the farthest over its limit first.
        raised, ended_alarms: alarms that begin and end with this window.
        standing: those that stand behind it.
    """

    window: int
    rows: int
    begun: str
    ended: str
    scores: Sequence[Score]
    raised: tuple[Alarm, ...] = ()
    ended_alarms: tuple[Alarm, ...] = ()
    standing: tuple[Alarm, ...] = ()

    @property
    def score(self) -> float | None:
        """The largest shift of a watched feature, chance taken away; None where nothing could be compared."""
        most = getattr(self.scores, "most", ...)
        if most is not ...:
            return None if most is None else float(most)
        found = [s.shift for s in self.scores if s.watched and s.shift is not None]
        return max(found, default=None)

    @property
    def moved(self) -> tuple[Score, ...]:
        """Watched parts that moved."""
        return tuple(s for s in self.scores if s.moved and s.watched)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON; numbers to six digits."""
        found: dict[str, Any] = _plain(dataclasses.asdict(dataclasses.replace(self, scores=tuple(self.scores))))
        return {**found, "score": _plain(self.score)}


def iso(micros: int | None) -> str:
    """Microseconds since 1970 as ISO 8601 in UTC; "" of None."""
    if micros is None:
        return ""
    at = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC) + datetime.timedelta(microseconds=micros)
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value
