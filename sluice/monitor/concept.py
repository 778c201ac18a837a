"""Concept drift: the features are what they were, and the answers are wrong more often. Found on the stream of errors as labels arrive.

Two streams are watched, by Page-Hinkley's test (Page, Biometrika 41, 1954; as river has it, which a test holds, but needing no river: the
controller has none) or by river's ADWIN (Bifet, Gavalda, SDM 2007):

* ``errors``: whether an answer is wrong, against the rate on the held-out rows;
* ``surprise``: whether it is wrong where the model was sure. A loss that has nothing to do with where the model doubts (labels that changed
  their meaning, a slice that turned over) tells more there than among all errors.

Each row counts by its log likelihood ratio between the model as it was and one that is worse by ``loss``: Page-Hinkley's sum is then
CUSUM's, and no test that alarms as rarely finds that loss sooner (Moustakides, Annals of Statistics 14, 1986). The threshold follows from how
many labelled rows there may be between two false alarms: exactly where all answers err alike, else by simulation of streams in which nothing
changed; with two streams they share it. What cannot be had is worked out by `power`: of an error rate of 20 % and nothing that says where errors
are to be expected, 5 points more are found within 500 rows in 85 of 100 cases where false alarms are 4,000 rows apart, and by no test in more than 93.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sluice.core.errors import MissingExtra

Floats = NDArray[np.float64]
Detector = Literal["page_hinkley", "adwin"]

#: Of simulated streams: how many, and the seed.
_STREAMS, _SEED = 240, 17
#: Rows that the mean before the first label stands for: what the held-out rows say is neither taken for exact nor soon forgotten.
_FEWEST, _MOST = 2000, 20_000
#: Of the false alarms, what is left to all errors where surprise is watched too.
_ERRORS = 2 / 3
_LEAST, _LARGEST = 1e-3, 0.95


@dataclasses.dataclass(frozen=True)
class Alarm:
    """What was found.

    Attributes:
        stream: ``errors`` or ``surprise``. row: of the stream, from 0, at which it was found. since: the row at which it began, as far as that
            can be told (where the sum was at its least).
        before, after: the error rate expected and seen from `since` on.
    """

    stream: str
    row: int
    since: int
    before: float
    after: float

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
        baseline: as it was. loss: of the rate, that is to be found: 0.05 is five points. apart: labelled rows between two false alarms.
        detector: ``page_hinkley`` or ``adwin``.

    Attributes:
        alarms: so far. rows: so far.

    Raises:
        MissingExtra: ADWIN is asked for and river is not installed.
    """

    def __init__(self, baseline: Baseline, *, loss: float = 0.05, apart: float = 4000, detector: Detector = "page_hinkley"):
        self.baseline, self.loss = baseline, loss
        self.alarms: list[Alarm] = []
        self.rows = 0
        rate = min(max(baseline.rate, 1 / (baseline.rows + 2)), 1 - loss - _LEAST)
        informed = baseline.chances is not None and float(np.std(baseline.chances)) > 0.01
        primed = int(min(max(baseline.rows, _FEWEST), _MOST))
        self._rate = rate
        share = _ERRORS if informed else 1.0
        make = functools.partial(_Watch, detector=detector, primed=primed)
        self._watches = {"errors": make(ratios(np.full(1, rate), loss, rate), apart / share)}
        if informed:
            assert baseline.chances is not None
            self._watches["surprise"] = make(ratios(self._clipped(baseline.chances), loss, rate), apart / (1 - share))

    def update(self, wrong: NDArray[np.bool_], chances: Floats | None = None) -> list[Alarm]:
        """Count answers in.

        Args:
            wrong: of each answer, bool [rows]. chances: to be wrong, as they were expected [rows]; None: not told.

        Returns:
            The alarms that these rows raise.
        """
        found = []
        expected = np.full(len(wrong), self._rate)
        for name, watch in self._watches.items():
            if name == "surprise":
                if chances is None:
                    continue
                expected = self._clipped(chances)
            alarms = watch.update(wrong, ratios(expected, self.loss, self._rate))
            found += [Alarm(name, at, since, self._rate, after) for at, since, after in alarms]
        self.rows += len(wrong)
        self.alarms += sorted(found, key=lambda a: a.row)
        return sorted(found, key=lambda a: a.row)

    def _clipped(self, chances: Floats) -> Floats:
        """Chances whose mean is the rate that was seen."""
        reference = self.baseline.chances
        mean = float(np.mean(reference)) if reference is not None and len(reference) else self._rate
        return np.clip(np.asarray(chances, dtype=np.float64) * (self._rate / max(mean, 1e-9)), _LEAST, _LARGEST)


@dataclasses.dataclass(frozen=True)
class Ratios:
    """Log likelihood ratios: of an error and of a right answer, for each chance to err; and what is expected of them as long as nothing changed (negative)."""

    wrong: Floats
    right: Floats
    mean: Floats
    chances: Floats


def ratios(chances: Floats, loss: float, rate: float) -> Ratios:
    """Against a model whose error rate is `rate + loss`: some of what it answered right, wherever it stands, it answers wrong now."""
    more = loss / max(1.0 - rate, _LEAST)
    worse = np.minimum(chances + min(more, 0.99) * (1 - chances), 1 - 1e-6)
    wrong, right = np.log(worse / chances), np.log((1 - worse) / (1 - chances))
    return Ratios(wrong, right, chances * wrong + (1 - chances) * right, chances)


class PageHinkley:
    """Page-Hinkley's test for values that grow.

    Args:
        delta: what of a value is put up with. limit: of the sum. primed: values of 0 that the mean begins with.
    """

    def __init__(self, delta: float, limit: float, primed: int):
        self._delta, self._limit, self._seen = delta, limit, primed
        self._mean = self._sum = self._least = 0.0
        self.drift_detected = False

    def update(self, x: float) -> None:
        """Count a value in."""
        self._seen += 1
        self._mean += (x - self._mean) / self._seen
        self._sum += x - self._mean - self._delta
        self._least = min(self._least, self._sum)
        self.drift_detected = self._sum - self._least > self._limit


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


class _Watch:
    """One stream under a detector."""

    def __init__(self, reference: Ratios, apart: float, *, detector: Detector, primed: int):
        self._delta = -float(reference.mean.mean())
        self._adwin = detector == "adwin"
        self._new: Callable[[], Any] = (
            # Its bound is loose: at this delta one false alarm came in 10,000 rows where 4,000 were asked for.
            functools.partial(adwin(), delta=min(0.9, 2000 / apart), clock=8)
            if self._adwin
            else functools.partial(PageHinkley, self._delta, threshold(reference, apart), primed)
        )
        self._row = 0
        self._begin()

    def _begin(self) -> None:
        """Anew, with the mean of the rows that were held out; a loss that lasts is told again."""
        self._detector = self._new()
        self._sum = self._least = 0.0
        self._since, self._rows, self._wrong = self._row, 0, 0

    def update(self, wrong: NDArray[np.bool_], told: Ratios) -> list[tuple[int, int, float]]:
        """(row of an alarm, row at which it began, the error rate since) of each."""
        values = np.where(wrong, told.wrong, told.right) - told.mean
        fed = (wrong.astype(np.float64) if np.ptp(told.chances) == 0 else (wrong - told.chances) / 2 + 0.5) if self._adwin else values
        found = []
        for x, value, error in zip(fed.tolist(), values.tolist(), wrong.tolist(), strict=True):
            self._sum, self._row = self._sum + value - self._delta, self._row + 1
            self._rows, self._wrong = self._rows + 1, self._wrong + error
            if self._sum < self._least:
                self._least, self._since, self._rows, self._wrong = self._sum, self._row, 0, 0
            before = self._detector.estimation if self._adwin else 0.0
            self._detector.update(x)
            if self._detector.drift_detected and not (self._adwin and self._detector.estimation <= before):
                rate = self._wrong / self._rows if self._rows else float("nan")
                found.append((self._row - 1, min(self._since, self._row - 1), rate))
                self._begin()
        return found


#: Steps of the grid that the smaller of the two ratios takes, and most steps of the sum.
_GRID, _STEPS = 16, 3000


def _grid(chance: float, wrong: float, right: float) -> tuple[float, int, int]:
    """The width of a step, and how many the sum goes up by with an error and down by with a right answer."""
    up = max(round(wrong / -right * _GRID), _GRID) if wrong > -right else _GRID
    step = wrong / up
    return step, up, max(round(-right / step), 1)


def _between(chance: float, up: int, down: int, limit: int) -> float:
    """Rows until the sum first exceeds `limit` steps, on the average: a Markov chain (Brook, Evans, Biometrika 59, 1972)."""
    at = np.arange(limit + 1)
    left = np.eye(limit + 1)
    left[at, np.maximum(at - down, 0)] -= 1 - chance
    inside = at[at + up <= limit]
    left[inside, inside + up] -= chance
    return float(np.linalg.solve(left, np.ones(limit + 1))[0])


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
    reference = np.frombuffer(key, dtype=np.float64).reshape(4, count)
    chances, wrong, right, mean = reference
    rng = np.random.default_rng(_SEED)
    delta = -float(mean.mean())
    rows = int(min(max(apart / 4, 250), 10_000))
    total, least, most = np.zeros(_STREAMS), np.zeros(_STREAMS), np.zeros(_STREAMS)
    for at in range(0, rows, 500):
        n = min(500, rows - at)
        i = rng.integers(0, count, (_STREAMS, n)) if count > 1 else np.zeros((_STREAMS, n), np.int64)
        steps = np.where(rng.random((_STREAMS, n)) < chances[i], wrong[i], right[i]) - mean[i] - delta
        sums = total[:, None] + np.cumsum(steps, axis=1)
        lows = np.minimum(np.minimum.accumulate(sums, axis=1), least[:, None])
        most = np.maximum(most, (sums - lows).max(axis=1))
        total, least = sums[:, -1], lows[:, -1]
    # The time to an alarm is all but exponential: of streams so long, this share has had one.
    return float(np.quantile(most, np.exp(-rows / apart))) + 1e-9


def threshold(reference: Ratios, apart: float) -> float:
    """What the sum exceeds once in `apart` rows, where nothing changed: exact where all answers err alike, else by simulation."""
    chances = reference.chances
    if len(chances) == 1:
        return _exact(float(chances[0]), float(reference.wrong[0]), float(reference.right[0]), float(apart))
    if len(chances) > 512:  # as good as all of them
        at = np.linspace(0, len(chances) - 1, 512).astype(np.int64)
        order = np.argsort(chances, kind="stable")[at]
        reference = Ratios(reference.wrong[order], reference.right[order], reference.mean[order], chances[order])
    table = np.stack([reference.chances, reference.wrong, reference.right, reference.mean])
    return _simulated(np.ascontiguousarray(table).tobytes(), table.shape[1], float(apart))
