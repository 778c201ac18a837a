"""Metrics of answers that are sets: each label there or not, by a probability of its own."""

from __future__ import annotations

import dataclasses
import math
from typing import ClassVar

import numpy as np

from sluice.problems.answers import Answers
from sluice.problems.of_means import OfMeans

#: A label is answered from this probability on.
ANSWERED = 0.5
_EPSILON = float(np.finfo(np.float64).eps)


def answered(outputs: np.ndarray) -> np.ndarray:
    """Which labels are answered, bool [rows, labels]."""
    found: np.ndarray = outputs >= ANSWERED
    return found


@dataclasses.dataclass(frozen=True)
class OfSets(OfMeans):
    """A function of means over rows of how far the answered set and the true one meet."""

    by_label: ClassVar[bool] = True

    def alike(self, ours: Answers, theirs: Answers) -> bool:
        return np.array_equal(answered(ours.outputs), answered(theirs.outputs))

    def met(self, a: Answers) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Labels that are true and answered, answered, and true: float64 [rows] each."""
        said, true = answered(a.outputs), a.targets > 0.5
        return (said & true).sum(axis=1).astype(np.float64), said.sum(axis=1).astype(np.float64), true.sum(axis=1).astype(np.float64)


class MicroF1(OfSets):
    """micro_f1: twice the labels met, of all that were answered and all that are true; 1 where there are neither."""

    by_rows = "row_f1"

    def moments(self, a: Answers) -> np.ndarray:
        hit, said, true = self.met(a)
        return np.stack([hit, said + true], axis=1)

    def combine(self, means: np.ndarray) -> np.ndarray:
        whole = means[..., 1]
        return np.where(whole > 0, 2 * means[..., 0] / np.where(whole > 0, whole, 1), 1.0)


class RowF1(OfSets):
    """row_f1: the F1 of each row's set, averaged; 1 for a row with no label of which none is answered."""

    per_row = True

    def moments(self, a: Answers) -> np.ndarray:
        hit, said, true = self.met(a)
        whole = said + true
        return np.where(whole > 0, 2 * hit / np.where(whole > 0, whole, 1), 1.0)[:, None]


class WholeSet(OfSets):
    """exact_match: the share of rows whose set is answered as it is."""

    per_row = True

    def moments(self, a: Answers) -> np.ndarray:
        return (answered(a.outputs) == (a.targets > 0.5)).all(axis=1).astype(np.float64)[:, None]


@dataclasses.dataclass(frozen=True)
class SetLoss(OfMeans):
    """mean_log_loss: -log of what each label's probability gave to the truth, in nats, the mean over labels; clipped at machine epsilon."""

    most: float = math.inf
    per_row = True

    def moments(self, a: Answers) -> np.ndarray:
        given = np.clip(np.where(a.targets > 0.5, a.outputs, 1 - a.outputs), _EPSILON, 1.0)
        return np.asarray(-np.log(given).mean(axis=1))[:, None]
