"""Whether answers are wrong more often than they were: one judgement of labelled rows in the order in which their labels were told.

`sluice diagnose` asks it of all of a log at once, `sluice monitor` and the controller of what has come by each look (`sluice.monitor.told`): the
same rows give the same answer. What it needs of a row are three numbers: a watch keeps those of the first rows and of the last ones, and the
handful of numbers that the detector had come to before these.
"""

from __future__ import annotations

import base64
import dataclasses
import functools
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from sluice.core.errors import MissingExtra
from sluice.monitor import cbpe
from sluice.monitor.concept import Alarm, Baseline, ErrorStream
from sluice.monitor.config import Quality
from sluice.monitor.page import BLOCK
from sluice.monitor.quality import Judge

Floats = NDArray[np.float64]
#: Of the first rows, which say how the model errs as long as nothing changed: at the least, at the most. Rows behind them, below which nothing is asked.
REFERENCE, _BEHIND = (200, 1000), 50
#: Rows, a quarter of which become the first ones, unless a rise is suspected behind them: what came with a loss does not say how it was.
_GROWS = (1200, 2000, 3000, 4000)
#: Rows that a watch keeps behind the first ones; what came before them is kept as the detector's state.
KEPT = 2000
_DAY = 86400e6


@dataclasses.dataclass(frozen=True)
class Concept:
    """What a stream of errors says.

    Attributes:
        alarms: of the detector among the rows that are kept, plain JSON; `row` and `since` count from the end of the first rows.
        standing: whether errors have risen: false once in as many days as `false_alarms` says.
        since: the time of the first prediction of the rise that stands, or is suspected, microseconds since 1970; 0 where none is.
        before, after: shares of right answers, of the rows before, and since (without a rise: of the last ones).
        rows: behind the first ones. first: how many these are.
        suspected: whether they may have risen: by chance once in `apart` rows.
    """

    alarms: list[dict[str, Any]]
    standing: bool
    since: int
    before: float
    after: float
    rows: int
    first: int
    suspected: bool = False


@dataclasses.dataclass(frozen=True)
class Errors:
    """Labelled rows in the order in which their labels were told.

    Attributes:
        error: 1 for a wrong label, 0 for a right one; a value's distance from what is true. doubt: the model's own chance to be wrong, NaN where it
            tells none. Both float64 [rows]. times: of the predictions, microseconds since 1970, int64 [rows].
        gone: rows that came between the first ones and the others, and are kept no more. first: how many are the first ones, once that is settled.
        state: of the detector behind the rows that are gone. newest: of their times, and the rows' before.
    """

    error: Floats
    doubt: Floats
    times: NDArray[np.int64]
    gone: int = 0
    first: int = 0
    state: dict[str, Any] | None = None
    newest: int = 0

    @classmethod
    def of(cls, judge: Judge, outputs: Floats, targets: NDArray[Any], times: NDArray[np.int64]) -> Self:
        """Of answers and what is true, as `Judge` gives them."""
        if not len(times):
            return cls(np.empty(0), np.empty(0), np.empty(0, np.int64))
        a = judge.answers(outputs, targets)
        if not judge.problem.classes:
            return cls(_rounded(np.abs(np.asarray(a.outputs, np.float64) - a.targets)), np.full(len(times), np.nan), times)
        return cls(judge.wrong(a).astype(np.float64), _rounded(1 - np.asarray(outputs)[np.arange(len(times)), a.predicted]), times)

    def __len__(self) -> int:
        return len(self.times) + self.gone

    def then(self, more: Errors) -> Errors:
        """With those that came behind them."""
        error, doubt, times = (np.concatenate([getattr(self, f), getattr(more, f)]) for f in ("error", "doubt", "times"))
        return dataclasses.replace(self, error=error, doubt=doubt, times=times)

    def bounded(self, config: Quality, classes: bool) -> Errors:
        """With its first rows settled, once there are enough to settle them, and of many others the last ones, and the detector's state before them."""
        found = self.settled(config, classes)
        over = (len(found.times) - found.first - KEPT) // BLOCK * BLOCK
        if not found.first or over <= 0 or config.detector != "page_hinkley":
            return found
        stream = _Stream.of(found, config, classes)
        stream.update(over)
        kept = np.r_[: found.first, found.first + over : len(found.times)]
        error, doubt, times = found.error[kept], found.doubt[kept], found.times[kept]
        return dataclasses.replace(
            found, error=error, doubt=doubt, times=times, gone=found.gone + over, state=stream.watch.kept(), newest=stream.newest
        )

    def settled(self, config: Quality, classes: bool) -> Errors:
        """With its first rows settled, where there are enough to settle them."""
        if self.first or len(self) < _GROWS[-1]:
            return self
        return dataclasses.replace(self, first=reference(self, config, classes))

    def packed(self) -> dict[str, Any]:
        """Plain JSON, 16 bytes a row."""
        whole = {"error": self.error.astype("<f4"), "doubt": self.doubt.astype("<f4"), "times": self.times.astype("<i8")}
        rest = {"gone": self.gone, "first": self.first, "state": self.state, "newest": self.newest}
        return {k: base64.b64encode(v.tobytes()).decode() for k, v in whole.items()} | rest

    @classmethod
    def unpacked(cls, kept: dict[str, Any] | None) -> Self:
        """What `packed` gave; None: no rows."""
        if not kept:
            return cls(np.empty(0), np.empty(0), np.empty(0, np.int64))
        error, doubt = (np.frombuffer(base64.b64decode(kept[k]), "<f4").astype(np.float64) for k in ("error", "doubt"))
        times = np.frombuffer(base64.b64decode(kept["times"]), "<i8").astype(np.int64)
        # What an older version kept has no state: its last rows are watched by its first ones.
        return cls(error, doubt, times, int(kept["gone"]), int(kept["first"]), kept.get("state"), int(kept.get("newest") or 0))


def _rounded(x: Any) -> Floats:
    """As it is kept: rows that were kept are judged as those that were just read."""
    return np.asarray(x, np.float64).astype(np.float32).astype(np.float64)


def reference(errors: Errors, config: Quality, classes: bool) -> int:
    """How many of the first rows say how it was."""
    n = REFERENCE[0]
    for rows in _GROWS:
        if len(errors.times) < rows:
            break
        head = Errors(errors.error[:rows], errors.doubt[:rows], errors.times[:rows])
        found = _judged(head, config, classes, n)
        if found.standing or found.suspected:
            break
        n = rows // 4
    return n


def few(rows: int) -> str:
    """Why nothing is said of so many rows; "" where something can be."""
    least = REFERENCE[0] + _BEHIND
    return "" if rows >= least else f"{rows} labelled rows are too few to watch a stream of errors: {least} and more are"


def concept(errors: Errors, config: Quality, classes: bool) -> Concept | None:
    """Whether answers are wrong more often. None: the rows are too few.

    Args:
        config: the loss that is looked for, the detector, and how rarely it may cry wolf. classes: whether answers are labels.

    Raises:
        MissingExtra: its detector is not installed.
    """
    if few(len(errors)):
        return None
    return _judged(errors, config, classes, errors.first or reference(errors, config, classes))


def _judged(errors: Errors, config: Quality, classes: bool, n: int) -> Concept:
    stream = _Stream.of(dataclasses.replace(errors, first=n), config, classes)
    alarms, later = stream.update(), stream.wrong[n:]
    watch, behind = stream.watch, len(errors) - n
    since = watch.standing if watch.standing is not None else watch.suspected
    now = later[-max(200, len(later) // 5) :] if since is None else later[max(since - errors.gone, 0) :]
    before = later[: max(since - errors.gone, 0)] if since is not None else later[:0]
    begun = 0 if since is None or not len(now) else int(errors.times[n:][max(since - errors.gone, 0) :].min())
    known = np.concatenate([stream.wrong[:n], before])
    standing = watch.standing is not None
    told = [a.to_dict() for a in alarms[:50]]
    return Concept(told, standing, begun, 1 - float(known.mean()), 1 - float(now.mean()), behind, n, watch.suspected is not None)


@dataclasses.dataclass
class _Stream:
    """Rows on their way through a detector.

    Attributes:
        wrong: of the first rows and the others, bool [rows]. chances: to be wrong; None: not told. newest: the newest time before the others.
    """

    errors: Errors
    watch: ErrorStream
    wrong: NDArray[np.bool_]
    chances: Floats | None
    rate: float
    newest: int

    @classmethod
    def of(cls, errors: Errors, config: Quality, classes: bool) -> Self:
        """Before the rows behind the first ones, or where they were let go."""
        n = errors.first
        wrong = errors.error > (0.5 if classes else float(np.quantile(errors.error[:n], 0.8)))
        chances = _chances(errors.doubt, wrong, n) if classes and np.isfinite(errors.doubt).all() else None
        baseline = Baseline(float(wrong[:n].mean()), n, None if chances is None else chances[:n])
        watch = ErrorStream(baseline, loss=config.loss, apart=config.apart, detector=config.detector)
        if errors.state is not None and config.detector == "page_hinkley":
            watch.take(errors.state)
        return cls(errors, watch, wrong, chances, config.false_alarms, errors.newest or int(errors.times[:n].max()))

    def update(self, most: int | None = None) -> list[Alarm]:
        """Take on so many rows."""
        n, e = self.errors.first, self.errors
        inside = slice(n, None if most is None else n + most)
        newest = np.maximum.accumulate(np.maximum(e.times[inside], self.newest))
        count = n + e.gone + 1 + np.arange(len(newest))
        days = np.maximum((newest - int(e.times[:n].min())) / _DAY, 1.0)
        self.newest = int(newest[-1]) if len(newest) else self.newest
        return self.watch.update(self.wrong[inside], None if self.chances is None else self.chances[inside], count / days / self.rate)


def asked(errors: Errors, config: Quality, classes: bool) -> tuple[Concept | None, str]:
    """`concept`, and why nothing is said where it says nothing."""
    try:
        found = concept(errors, config, classes)
    except MissingExtra as e:
        return None, f"the stream of errors was not watched: {e.message}; {e.fix}"
    return found, "" if found is not None else few(len(errors))


def _chances(doubt: Floats, wrong: NDArray[np.bool_], n: int) -> Floats:
    """Calibrated on the first rows: of an answer, right or wrong (top-label calibration; Gupta, Ramdas, ICLR 2022)."""
    told = np.stack([1 - doubt, doubt], axis=1)
    return np.asarray(_calibrated(doubt[:n].tobytes(), wrong[:n].tobytes())(told)[:, 1])


@functools.lru_cache(128)
def _calibrated(doubt: bytes, wrong: bytes) -> cbpe.Calibration:
    """The same first rows are asked at every look."""
    chance = np.frombuffer(doubt, np.float64)
    return cbpe.Calibration.fit(np.stack([1 - chance, chance], axis=1), np.frombuffer(wrong, np.bool_).astype(np.int64))
