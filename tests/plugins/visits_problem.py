"""A problem of one's own: visits of patients, of whom each is told right or wrong as a whole.

What is independent is the patient. Named in sluice.yaml as ``model: {objective: "visits_problem:Visits"}``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from sluice.problems import clustered
from sluice.problems.answers import Answers
from sluice.problems.classification import Classification
from sluice.problems.intervals import Interval
from sluice.problems.metric import Metric
from sluice.problems.units import Units


class PatientsRight(Metric):
    """The share of patients of whom more than half of the visits are told right."""

    by_label = True

    def right(self, a: Answers) -> np.ndarray:
        """Each patient, bool [units]; each visit where it is known of none which belong together."""
        hits = a.predicted == a.targets
        return hits if a.units is None else a.units.sums(hits) > a.units.sizes() / 2

    def value(self, a: Answers) -> float:
        """Their share."""
        return float(self.right(a).mean())

    def interval(self, a: Answers, confidence: float, resamples: int) -> Interval | None:
        """Patients are independent: Wilson's."""
        return clustered.proportion(self.right(a), None, confidence)

    def difference(self, ours: Answers, theirs: Answers, confidence: float, resamples: int) -> Interval | None:
        """Newcombe's, on the same patients."""
        return clustered.paired_proportions(self.right(ours), self.right(theirs), None, confidence)

    def alike(self, ours: Answers, theirs: Answers) -> bool:
        """Nothing but the label that is answered counts."""
        return np.array_equal(ours.predicted, theirs.predicted)

    def method(self, units: Units | None = None) -> str:
        """Newcombe's."""
        return "newcombe, of patients"


class Visits(Classification):
    """A classification that is judged by patients, and split so that none lies on both sides."""

    name: ClassVar[str] = "visits_problem:Visits"
    splits: ClassVar[tuple[str, ...]] = ("group",)

    def metrics(self) -> Mapping[str, Metric]:
        """Its own first: a model is judged by that."""
        return {"patients_right": PatientsRight("patients_right", self.name, "higher"), **super().metrics()}
