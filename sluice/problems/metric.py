"""What a metric is: its value, its interval, and the interval of the paired difference of two models on the same rows."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np

from sluice.problems.answers import Answers
from sluice.problems.intervals import Interval
from sluice.problems.units import Units

#: Differences of metrics are compared up to this: 0.93 - 0.95 is not -0.02 in binary.
ROUNDING = 1e-12


@dataclasses.dataclass(frozen=True)
class Metric:
    """One metric.

    Attributes:
        name: in project files and reports.
        objective: ``classification`` or ``regression``.
        better: ``higher`` or ``lower``.
        least, most: where its values lie.
        relative: it has the target's own unit, so a margin on it is a fraction of a value.
        of_positive: it is of the positive label, so there has to be one.
    """

    name: str
    objective: str
    better: str
    least: float = 0.0
    most: float = 1.0
    relative: bool = False
    of_positive: bool = False
    #: It looks at the label that is answered alone, not at probabilities.
    by_label: ClassVar[bool] = False
    #: How many times the error level that `confidence` says is taken where a candidate is refused as worse than the champion.
    refusing: ClassVar[float] = 1.0
    #: The metric of the same problem that goes row by row in its place; "": itself, or none.
    by_rows: ClassVar[str] = ""

    @property
    def sign(self) -> int:
        """-1 where smaller is better, so that `sign * value` is always better when larger."""
        return 1 if self.better == "higher" else -1

    def asked(self, a: Answers) -> bool:
        """Whether anybody asked for it: else it is not told at all. Default: it is."""
        return True

    def value(self, a: Answers) -> float:
        """The value on these rows; NaN where it is not defined."""
        raise NotImplementedError

    def interval(self, a: Answers, confidence: float, resamples: int) -> Interval | None:
        """The value's interval; None where there is none."""
        raise NotImplementedError

    def difference(self, ours: Answers, theirs: Answers, confidence: float, resamples: int) -> Interval | None:
        """The interval of the difference on the same rows, turned so that more is better for ours."""
        raise NotImplementedError

    def losses(self, a: Answers) -> np.ndarray | None:
        """What each row adds to it, float64 [rows], larger where it is worse; None where that is not told."""
        return None

    def alike(self, ours: Answers, theirs: Answers) -> bool:
        """Whether nothing that the metric looks at differs on any row."""
        return np.array_equal(ours.outputs, theirs.outputs)

    def method(self, units: Units | None = None) -> str:
        """How `difference` finds its interval, of rows or over units."""
        raise NotImplementedError

    def too_narrow(self, a: Answers) -> str | None:
        """Why the interval may miss more often than it says; null where nothing on these rows tells so."""
        return None

    def difference_too_narrow(self, a: Answers) -> str | None:
        """The same of a difference's interval on such rows."""
        return None

    def why(self, a: Answers) -> str:
        """Why there is no value."""
        if self.objective == "regression":
            return "the targets do not vary"
        if self.name == "precision":
            return "the positive label is never predicted"
        if self.of_positive:
            return "no row has the positive label"
        return "all rows have one label"
