"""Whether answers are wrong more often than they were: one judgement of labelled rows in the order in which their labels were told.

`sluice diagnose` asks it of all of a log at once, `sluice monitor` and the controller of what has come by each look (`sluice.monitor.told`): the
same rows give the same answer. What it needs of a row are three numbers, so that a watch keeps its rows and asks anew, and no detector's
insides have to be stored.
"""

from __future__ import annotations

import base64
import dataclasses
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from sluice.core.errors import MissingExtra
from sluice.monitor import cbpe
from sluice.monitor.concept import Alarm, Baseline, ErrorStream
from sluice.monitor.config import Quality
from sluice.monitor.quality import Judge

Floats = NDArray[np.float64]
#: Of the first rows, which say how the model errs as long as nothing changed: at the least, at the most. Rows behind them, below which nothing is asked.
REFERENCE, _BEHIND = (200, 1000), 50
#: Rows, a quarter of which become the first ones, unless an alarm stands among them: what came with a loss does not say how it was.
_GROWS = (1200, 2000, 3000, 4000)
#: Rows that a watch keeps behind the first ones.
KEPT = 20_000
#: Rows of a loss by which it is known at the least.
_LASTS = 50


@dataclasses.dataclass(frozen=True)
class Concept:
    """What a stream of errors says.

    Attributes:
        alarms: of the detector, plain JSON; `row` and `since` count from the end of the first rows.
        standing: whether one of them lasts: told again and again, or the rows since are worse all together. One that was false stands alone.
        since: the time of the first prediction of the one that lasts, microseconds since 1970; 0 where none does.
        before, after: shares of right answers, of the first rows, and since (without an alarm: of the last ones).
        rows: behind the first ones. first: how many these are.
    """

    alarms: list[dict[str, Any]]
    standing: bool
    since: int
    before: float
    after: float
    rows: int
    first: int


@dataclasses.dataclass(frozen=True)
class Errors:
    """Labelled rows in the order in which their labels were told.

    Attributes:
        error: 1 for a wrong label, 0 for a right one; a value's distance from what is true. doubt: the model's own chance to be wrong, NaN where it
            tells none. Both float64 [rows]. times: of the predictions, microseconds since 1970, int64 [rows].
        gone: rows that came between the first ones and the others, and are kept no more. first: how many are the first ones, once that is settled.
    """

    error: Floats
    doubt: Floats
    times: NDArray[np.int64]
    gone: int = 0
    first: int = 0

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
        """With those that came behind them. Of many, once the first ones are settled, these and the last are kept."""
        error, doubt, times = (np.concatenate([getattr(self, f), getattr(more, f)]) for f in ("error", "doubt", "times"))
        over = max(len(times) - REFERENCE[1] - KEPT, 0) if self.first else 0
        kept = np.r_[: REFERENCE[1], REFERENCE[1] + over : len(times)] if over else slice(None)
        return Errors(error[kept], doubt[kept], times[kept], self.gone + over, self.first)

    def settled(self, config: Quality, classes: bool) -> Errors:
        """With its first rows settled, where there are enough to settle them."""
        if self.first or len(self) < _GROWS[-1]:
            return self
        return dataclasses.replace(self, first=reference(self, config, classes))

    def packed(self) -> dict[str, Any]:
        """Plain JSON, 16 bytes a row."""
        whole = {"error": self.error.astype("<f4"), "doubt": self.doubt.astype("<f4"), "times": self.times.astype("<i8")}
        return {k: base64.b64encode(v.tobytes()).decode() for k, v in whole.items()} | {"gone": self.gone, "first": self.first}

    @classmethod
    def unpacked(cls, kept: dict[str, Any] | None) -> Self:
        """What `packed` gave; None: no rows."""
        if not kept:
            return cls(np.empty(0), np.empty(0), np.empty(0, np.int64))
        error, doubt = (np.frombuffer(base64.b64decode(kept[k]), "<f4").astype(np.float64) for k in ("error", "doubt"))
        times = np.frombuffer(base64.b64decode(kept["times"]), "<i8").astype(np.int64)
        return cls(error, doubt, times, int(kept["gone"]), int(kept["first"]))


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
        if _judged(head, config, classes, n).standing:
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
    wrong = errors.error > (0.5 if classes else float(np.quantile(errors.error[:n], 0.8)))
    chances = _chances(errors.doubt, wrong, n) if classes and np.isfinite(errors.doubt).all() else None
    before, later = float(wrong[:n].mean()), wrong[n:]
    baseline = Baseline(before, n, None if chances is None else chances[:n])
    stream = ErrorStream(baseline, loss=config.loss, apart=config.apart, detector=config.detector)
    alarms = stream.update(later, None if chances is None else chances[n:])
    now = later[-max(200, len(later) // 5) :]
    real = [a for i, a in enumerate(alarms) if _lasts(i, alarms, later, before, n, config)]
    return Concept(
        [a.to_dict() for a in alarms[:50]],
        bool(real),
        int(errors.times[n:][real[0].since :].min()) if real else 0,
        1 - before,
        1 - float(later[real[0].since :].mean()) if real else 1 - float(now.mean()),
        len(errors) - n,
        n,
    )


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
    return np.asarray(cbpe.Calibration.fit(told[:n], wrong[:n].astype(np.int64))(told)[:, 1])


def _lasts(i: int, alarms: list[Alarm], wrong: NDArray[np.bool_], before: float, first: int, config: Quality) -> bool:
    """Whether an alarm is of a loss that lasts: what came since is worse, and so are the rows up to the next alarm. One that was false has ended by then."""
    one = alarms[i]
    until = max(one.since + _LASTS, alarms[i + 1].since) if i + 1 < len(alarms) else len(wrong)
    if float(wrong[one.since : until].mean()) <= before + config.loss / 2:
        return False
    return _again(len(alarms) - i - 1, len(wrong) - one.row, config.apart) or _worse(wrong[one.since :], before, first)


def _again(alarms: int, rows: int, apart: float) -> bool:
    """Whether so many alarms more are beyond false ones: by chance once in a thousand (Poisson)."""
    expected, term, below = rows / apart, 1.0, 0.0
    for k in range(alarms):
        below += term
        term *= expected / (k + 1)
    return alarms >= 2 and 1 - below * float(np.exp(-expected)) < 0.001


def _worse(wrong: NDArray[np.bool_], rate: float, rows: int) -> bool:
    """Whether the error rate is above what it was, beyond three standard errors."""
    if len(wrong) < 20:
        return False
    p = (float(wrong.sum()) + rate * rows) / (len(wrong) + rows)
    error = float(np.sqrt(max(p * (1 - p), 1e-6) * (1 / len(wrong) + 1 / rows)))
    return float(wrong.mean()) - rate > 3 * error
