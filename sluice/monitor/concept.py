"""Concept drift: the features are what they were, and the answers are wrong more often. Found on the stream of errors as labels arrive.

Two streams are watched, by Page's test (Biometrika 41, 1954; `sluice.monitor.page`) or by river's ADWIN (Bifet, Gavalda, SDM 2007):

* ``errors``: whether an answer is wrong, against the rate on the held-out rows;
* ``surprise``: whether it is wrong where the model was sure. A loss that has nothing to do with where the model doubts (labels that changed
  their meaning, a slice that turned over) tells more there than among all errors.

Each row counts by its log likelihood ratio between the model as it was and one that is worse by ``loss``: no test of rows that alarms as rarely
finds that loss sooner (Moustakides, Annals of Statistics 14, 1986). It is asked twice: whether a rise is *suspected*, once by chance in `apart` rows,
and whether it is *sure*, far more seldom. The limits follow from how many labelled rows there may be between two
false alarms: exactly where all answers err alike, else by simulation of streams in which nothing changed; with two streams they share it. What
cannot be had is worked out by `power`: of an error rate of 20 % and nothing that says where errors are to be expected, 5 points more are found
within 500 rows in 85 of 100 cases where false alarms are 4,000 rows apart, and by no test in more than 93.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sluice.core.errors import MissingExtra
from sluice.monitor.page import LARGEST, LEAST, Crossed, Page, Ratios, State, ratios, together

Floats = NDArray[np.float64]
Detector = Literal["page_hinkley", "adwin"]

#: Of simulated streams: how many, and the seed.
_STREAMS, _SEED = 240, 17
#: Of the false alarms, what is left to all errors where surprise is watched too.
_ERRORS = 2 / 3
#: Standard errors by which a rate may have been told too low, where a rise is suspected and where it is to be sure.
_UPPER = (0.5, 2.0)
#: Rows apart up to which the limit is worked out. Beyond, false alarms become rarer by the exponential of what is added.
_WORKED_OUT = 4000


@dataclasses.dataclass(frozen=True)
class Alarm:
    """What was found.

    Attributes:
        stream: ``errors`` or ``surprise``. row: of the stream, from 0, at which it was found. since: the row at which it began, as far as that
            can be told (where the sum was at its least).
        before, after: the error rate expected and seen from `since` on. sure: whether it is beyond doubt; else it is suspected.
    """

    stream: str
    row: int
    since: int
    before: float
    after: float
    sure: bool = False

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON."""
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True)
class Baseline:
    """How the model errs as long as nothing changed.

    Attributes:
        rate: the share of answers that are wrong. rows: that say so.
        chances: what single answers' chances to be wrong look like, float64 [any]; None where the model does not tell.
    """

    rate: float
    rows: int = 1000
    chances: Floats | None = None


class ErrorStream:
    """Watches errors as they are told. Labels are given in the order in which they were told, in batches of any size.

    Args:
        baseline: as it was. loss: of the rate, that is to be found: 0.05 is five points. apart: labelled rows between two times that a rise is
            suspected where there is none. detector: ``page_hinkley`` or ``adwin``.

    Attributes:
        alarms: so far. rows: so far.

    Raises:
        MissingExtra: ADWIN is asked for and river is not installed.
    """

    def __init__(self, baseline: Baseline, *, loss: float = 0.05, apart: float = 4000, detector: Detector = "page_hinkley"):
        self.baseline, self.apart = baseline, apart
        self.alarms: list[Alarm] = []
        self.rows = 0
        # As if one row more had been wrong and one right: no rate is 0, and few rows are not believed word for word.
        rate = min((baseline.rate * baseline.rows + 1) / (baseline.rows + 2), 1 - loss - LEAST)
        informed = baseline.chances is not None and float(np.std(baseline.chances)) > 0.01
        self._rate = rate
        share = _ERRORS if informed else 1.0
        make = functools.partial(_of[detector], rate, baseline.rows, loss)
        self._watches: dict[str, tuple[Page | _Adwin, Page | None]] = {"errors": make(ratios(np.full(1, rate), loss, rate), apart / share)}
        if informed:
            assert baseline.chances is not None
            self._watches["surprise"] = make(ratios(self._clipped(baseline.chances), loss, rate), apart / (1 - share))

    def update(self, wrong: NDArray[np.bool_], chances: Floats | None = None, rare: Floats | None = None) -> list[Alarm]:
        """Count answers in.

        Args:
            wrong: of each answer, bool [rows]. chances: to be wrong, as they were expected [rows]; None: not told.
            rare: labelled rows between two times that a rise is sure where there is none, float64 [rows]; None: as many as it is suspected by chance.

        Returns:
            The alarms that these rows raise.
        """
        found = []
        beyond = None if rare is None else np.log(np.maximum(rare / self.apart, 1.0))
        for name, (maybe, sure) in self._watches.items():
            if name == "surprise" and chances is None:
                continue
            expected = np.full(len(wrong), self._rate) if name == "errors" or chances is None else self._clipped(chances)
            if sure is None or not isinstance(maybe, Page):
                told = [maybe.update(wrong, expected)]
            else:
                told = together([maybe, sure], wrong, expected, [None, beyond])
            for is_sure, crossed in enumerate(told if beyond is not None else told[:1]):
                found += [Alarm(name, c.row, c.since, self._rate, c.rate, bool(is_sure)) for c in crossed]
        self.rows += len(wrong)
        found.sort(key=lambda a: (a.row, a.sure))
        self.alarms += found
        return found

    @property
    def standing(self) -> int | None:
        """The row since which answers are wrong more often, for sure; None: they are not. (ADWIN knows no more than that they may be.)"""
        return min((w.state.since for m, s in self._watches.values() if (w := s or m).state.standing), default=None)

    @property
    def suspected(self) -> int | None:
        """The row since which answers may be wrong more often; None: nothing says so."""
        return min((m.state.since for m, _ in self._watches.values() if m.state.standing), default=None)

    def kept(self) -> dict[str, Any]:
        """What `take` goes on from: plain JSON. Of Page's test alone."""
        told = {name: [w.state.to_dict() for w in two if w is not None] for name, two in self._watches.items()}
        return told | {"rows": self.rows}

    def take(self, kept: dict[str, Any]) -> None:
        """Go on from where another stopped."""
        for name, two in self._watches.items():
            for watch, state in zip(two, kept.get(name, ()), strict=False):
                if watch is not None:
                    watch.state = State.of(state)
        self.rows = int(kept["rows"])

    def _clipped(self, chances: Floats) -> Floats:
        """Chances whose mean is the rate that was seen."""
        reference = self.baseline.chances
        mean = float(np.mean(reference)) if reference is not None and len(reference) else self._rate
        return np.clip(np.asarray(chances, dtype=np.float64) * (self._rate / max(mean, 1e-9)), LEAST, LARGEST)


def adwin() -> Callable[..., Any]:
    """river's. Raises `MissingExtra`."""
    try:
        from river.drift import ADWIN
    except ImportError as e:
        raise MissingExtra(
            "the detector adwin needs river", field="monitor.quality.detector", fix="pip install 'sluice-ml[monitor]', or set page_hinkley"
        ) from e
    found: Callable[..., Any] = ADWIN
    return found


class _Adwin:
    """river's ADWIN, which a stream of errors, or what of them surprises, is told to. What it finds stands until less is wrong."""

    def __init__(self, rate: float, rows: float, loss: float, reference: Ratios, apart: float):
        # Its bound is loose: at this delta one false alarm came in 10,000 rows where 4,000 were asked for.
        self._new: Callable[[], Any] = functools.partial(adwin(), delta=min(0.9, 2000 / apart), clock=8)
        self._limit, self.state = rate + loss / 2, State()
        self._detector = self._new()

    def update(self, wrong: NDArray[np.bool_], chances: Floats) -> list[Crossed]:
        """As `Page.update`."""
        s, found = self.state, []
        fed = wrong.astype(np.float64) if np.ptp(chances) == 0 else (wrong - chances) / 2 + 0.5
        for x in fed.tolist():
            before = self._detector.estimation
            self._detector.update(x)
            s.row += 1
            if self._detector.drift_detected and self._detector.estimation > before:
                since = min(max(s.row - int(self._detector.width), 0), s.row - 1)
                after = float(wrong[-min(s.row - since, len(wrong)) :].mean())
                s.since, s.standing = since, after > self._limit
                found.append(Crossed(s.row - 1, since, after))
                self._detector = self._new()
            elif s.standing and self._detector.width >= 200 and self._detector.estimation < self._limit:
                s.standing = False
        return found


def _two(rate: float, rows: float, loss: float, reference: Ratios, apart: float) -> tuple[Page, Page]:
    limit = threshold(reference, apart)
    maybe, sure = (Page(rate, rows, loss, limit, upper) for upper in _UPPER)
    return maybe, sure


def _one(*args: Any) -> tuple[_Adwin, None]:
    return _Adwin(*args), None


_of: dict[str, Callable[..., Any]] = {"page_hinkley": _two, "adwin": _one}


#: Steps of the grid that the smaller of the two ratios takes, most steps of the sum, and rows that are followed one by one.
_GRID, _STEPS, _ROWS = 16, 3000, 4000


def _grid(chance: float, wrong: float, right: float) -> tuple[float, int, int]:
    """The width of a step, and how many the sum goes up by with an error and down by with a right answer."""
    up = max(round(wrong / -right * _GRID), _GRID) if wrong > -right else _GRID
    step = wrong / up
    return step, up, max(round(-right / step), 1)


def _between(chance: float, up: int, down: int, limit: int) -> float:
    """Rows until the sum first exceeds `limit` steps, on the average: its Markov chain (Brook, Evans, Biometrika 59, 1972) from row to row.

    Far from the beginning the share that goes over the limit is the same from row to row, so that what is left follows from it.
    """
    state, rows, left, gone = np.eye(1, limit + 1)[0], 0.0, 1.0, 1.0
    for row in range(_ROWS):
        rows += left
        after = np.zeros(limit + 1)
        after[: max(limit + 1 - down, 0)] = state[down:] * (1 - chance)
        after[0] += state[:down].sum() * (1 - chance)
        after[up:] += state[: max(limit + 1 - up, 0)] * chance
        state, before = after, left
        left = float(state.sum())
        if row % 100 == 99:
            share = 1 - left / before
            if abs(share - gone) < 1e-4 * share:
                break
            gone = share
    return rows + left / max(1 - left / before, 1e-12)


@functools.lru_cache(64)
def _exact(chance: float, wrong: float, right: float, apart: float) -> float:
    """Where all answers err alike: the least threshold whose false alarms are as far apart."""
    step, up, down = _grid(chance, wrong, right)
    low, high = 0, up
    while high < _STEPS and _between(chance, up, down, high) < apart:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _between(chance, up, down, middle) < apart else (low, middle)
    return high * step + 1e-9


def power(rate: float, loss: float, apart: float, rows: int = 500, quiet: int = 500) -> tuple[float, float]:
    """How often a loss is found within so many labelled rows, where all answers err alike.

    Args:
        rate: of errors before. loss: of it. apart: rows between false alarms. rows: within which. quiet: without a change before it.

    Returns:
        What the sum finds, by its Markov chain; and what no test can exceed that cries wolf as rarely: the most powerful test of these very rows
        (Neyman, Pearson, 1933), told where the loss begins, at the false alarms that so many rows may hold.
    """
    told = ratios(np.full(1, rate), loss, rate)
    step, up, down = _grid(rate, float(told.wrong[0]), float(told.right[0]))
    limit = int(_exact(rate, float(told.wrong[0]), float(told.right[0]), apart) / step)
    at = np.arange(limit + 1)
    state = np.eye(1, limit + 1)[0]
    for chance, n in ((rate, quiet), (rate + loss, rows)):
        for _ in range(n):
            after = np.bincount(np.maximum(at - down, 0), state * (1 - chance), limit + 1)
            after[up:] += state[: max(limit + 1 - up, 0)] * chance
            state = after
        state = state / state.sum() if chance == rate else state
    return float(1 - state.sum()), _most(rate, rate + loss, rows, 1 - float(np.exp(-rows / apart)))


def _most(before: float, after: float, rows: int, alarms: float) -> float:
    """The power of the most powerful test of `rows` answers."""
    k = np.arange(rows + 1)
    ways = np.concatenate([[0.0], np.cumsum(np.log(np.arange(rows, 0, -1)) - np.log(np.arange(1, rows + 1)))])
    null, other = (np.exp(ways + k * np.log(p) + (rows - k) * np.log(1 - p))[::-1].cumsum()[::-1] for p in (before, after))
    i = int(np.argmax(null <= alarms))
    share = (alarms - null[i]) / max(null[i - 1] - null[i], 1e-300)
    return float(other[i] + share * (other[i - 1] - other[i]))


@functools.lru_cache(64)
def _simulated(key: bytes, count: int, apart: float) -> float:
    reference = np.frombuffer(key, dtype=np.float64).reshape(3, count)
    chances, wrong, right = reference
    rng = np.random.default_rng(_SEED)
    rows = int(min(max(apart / 4, 250), 10_000))
    total, least, most = np.zeros(_STREAMS), np.zeros(_STREAMS), np.zeros(_STREAMS)
    for at in range(0, rows, 500):
        n = min(500, rows - at)
        i = rng.integers(0, count, (_STREAMS, n)) if count > 1 else np.zeros((_STREAMS, n), np.int64)
        steps = np.where(rng.random((_STREAMS, n)) < chances[i], wrong[i], right[i])
        sums = total[:, None] + np.cumsum(steps, axis=1)
        lows = np.minimum(np.minimum.accumulate(sums, axis=1), least[:, None])
        most = np.maximum(most, (sums - lows).max(axis=1))
        total, least = sums[:, -1], lows[:, -1]
    # The time to an alarm is all but exponential: of streams so long, this share has had one.
    return float(np.quantile(most, np.exp(-rows / apart))) + 1e-9


def threshold(reference: Ratios, apart: float) -> float:
    """What the sum exceeds once in `apart` rows, where nothing changed: exact where all answers err alike, else by simulation."""
    chances, further = reference.chances, float(np.log(max(apart / _WORKED_OUT, 1.0)))
    apart = min(float(apart), _WORKED_OUT)
    if len(chances) == 1:
        return _exact(float(chances[0]), float(reference.wrong[0]), float(reference.right[0]), apart) + further
    if len(chances) > 512:  # as good as all of them
        at = np.linspace(0, len(chances) - 1, 512).astype(np.int64)
        order = np.argsort(chances, kind="stable")[at]
        reference = Ratios(reference.wrong[order], reference.right[order], reference.mean[order], chances[order])
    table = np.stack([reference.chances, reference.wrong, reference.right])
    return _simulated(np.ascontiguousarray(table).tobytes(), table.shape[1], apart) + further
