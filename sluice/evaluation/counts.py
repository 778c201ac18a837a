"""Counts of answers by class, and what follows from them alone.

All work on codes: `targets` int64 [N], indices into the labels, -1 for a label the model does not know (it is wrong
there by definition); `predicted` int64 [N]. Averages over classes run over the classes that occur in the targets.
"""

from __future__ import annotations

import math

import numpy as np


def confusion(targets: np.ndarray, predicted: np.ndarray, labels: int, weights: np.ndarray | None = None) -> np.ndarray:
    """[labels, labels]: rows of true label i predicted as j. Rows of an unknown label are left out."""
    known = targets >= 0
    cells = targets[known] * labels + predicted[known]
    return np.bincount(cells, None if weights is None else weights[known], minlength=labels * labels).reshape(labels, labels)


def class_scores(true: np.ndarray, named: np.ndarray, hit: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Precision, recall and F1 a class from rows of it, rows named so, and both; 0 where there is nothing to divide by."""
    precision = np.divide(hit, named, out=np.zeros(hit.shape), where=named > 0)
    recall = np.divide(hit, true, out=np.zeros(hit.shape), where=true > 0)
    f1 = np.divide(2.0 * hit, true + named, out=np.zeros(hit.shape), where=true + named > 0)
    return precision, recall, f1


def class_counts(targets: np.ndarray, predicted: np.ndarray, labels: int, weights: np.ndarray | None = None) -> tuple[np.ndarray, ...]:
    """Rows of a class, rows named so, and both: float64 [labels] each. Code -1 counts for no class."""
    weights = np.ones(len(targets)) if weights is None else weights
    known, right = targets >= 0, targets == predicted
    return (np.bincount(targets[known], weights[known], labels), np.bincount(predicted[predicted >= 0], weights[predicted >= 0], labels),
            np.bincount(targets[known & right], weights[known & right], labels))  # fmt: skip


def from_codes(metric: str, targets: np.ndarray, predicted: np.ndarray, labels: int, weights: np.ndarray | None = None, of: int = 0) -> float:
    """A metric of what was answered: accuracy, macro_f1, balanced_accuracy, mcc; precision, recall and f1 of the class `of`.

    Args:
        metric: its name.
        targets, predicted: [N].
        labels: how many.
        weights: rows each entry stands for [N].
        of: a class's index.

    Returns:
        The value; NaN where it is not defined. Rows of an unknown label are wrong (one class more for the averages).
    """
    if metric == "accuracy":
        return float(np.average(targets == predicted, weights=weights))
    true, named, hit = class_counts(targets, predicted, labels, weights)
    if metric in ("precision", "recall", "f1"):
        above, below = {"precision": (hit, named), "recall": (hit, true), "f1": (2 * hit, true + named)}[metric]
        return float(above[of] / below[of]) if below[of] > 0 else math.nan
    if metric == "mcc":
        return _matthews(true, named, hit, float(len(targets) if weights is None else weights.sum()))
    _, recall, f1 = class_scores(true, named, hit)
    scores = (f1 if metric == "macro_f1" else recall)[true > 0]
    unknown = targets < 0
    classes = len(scores) + int(unknown.any() and (weights is None or weights[unknown].sum() > 0))
    return float(scores.sum() / classes)


def _matthews(true: np.ndarray, named: np.ndarray, hit: np.ndarray, rows: float) -> float:
    """Matthews' correlation of truth and answer (Gorodkin, Comp. Biol. Chem. 28, 2004, for more than two classes).

    0 where one class is always answered, which tells nothing; NaN where one class is all there is to tell.
    """
    unknown = rows - float(true.sum())
    covariance = float(hit.sum()) * rows - float(true @ named)
    truth, answer = rows * rows - float(true @ true) - unknown * unknown, rows * rows - float(named @ named)
    if truth <= 0:
        return math.nan
    return covariance / math.sqrt(truth * answer) if answer > 0 else 0.0
