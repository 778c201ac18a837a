"""Counts of answers by class, and what follows from them alone.

All work on codes: `targets` int64 [N], indices into the labels, -1 for a label the model does not know (it is wrong
there by definition); `predicted` int64 [N]. Averages over classes run over the classes that occur in the targets.
"""

from __future__ import annotations

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
    return (
        np.bincount(targets[known], weights[known], labels),
        np.bincount(predicted[predicted >= 0], weights[predicted >= 0], labels),
        np.bincount(targets[known & right], weights[known & right], labels),
    )


def totals(targets: np.ndarray, predicted: np.ndarray, labels: int, weights: np.ndarray | None = None) -> np.ndarray:
    """What every metric of answers follows from, float64 [3 labels + 1]: `class_counts` one after the other, and all rows.

    They add up: the totals of some rows and of the others are those of all.
    """
    rows = float(len(targets) if weights is None else weights.sum())
    return np.concatenate([*class_counts(targets, predicted, labels, weights), [rows]])


def from_totals(metric: str, found: np.ndarray, of: int = 0) -> np.ndarray:
    """A metric of what was answered: accuracy, macro_f1, balanced_accuracy, mcc; precision, recall and f1 of the class `of`.

    Args:
        metric: its name.
        found: `totals` [..., 3 labels + 1].
        of: a class's index.

    Returns:
        Values [...]; NaN where one is not defined. Rows of an unknown label are wrong (one class more for the averages).
    """
    true, named, hit = np.split(found[..., :-1], 3, axis=-1)
    rows = found[..., -1]
    if metric == "accuracy":
        return _over(hit.sum(axis=-1), rows)
    if metric in ("precision", "recall", "f1"):
        above, below = {"precision": (hit, named), "recall": (hit, true), "f1": (2 * hit, true + named)}[metric]
        return _over(above[..., of], below[..., of])
    unknown = np.maximum(rows - true.sum(axis=-1), 0.0)
    if metric == "mcc":
        return _matthews(true, named, hit, rows, unknown)
    _, recall, f1 = class_scores(true, named, hit)
    scores = np.where(true > 0, f1 if metric == "macro_f1" else recall, 0.0).sum(axis=-1)
    return _over(scores, (true > 0).sum(axis=-1) + (unknown > 0.5))


def from_codes(
    metric: str, targets: np.ndarray, predicted: np.ndarray, labels: int, weights: np.ndarray | None = None, of: int = 0
) -> float:
    """`from_totals` of rows, each of which stands for `weights` [N]."""
    return float(from_totals(metric, totals(targets, predicted, labels, weights), of))


def _over(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    return np.divide(above, below, out=np.full(np.shape(above), np.nan), where=np.asarray(below) > 0)


def _matthews(true: np.ndarray, named: np.ndarray, hit: np.ndarray, rows: np.ndarray, unknown: np.ndarray) -> np.ndarray:
    """Matthews' correlation of truth and answer (Gorodkin, Comp. Biol. Chem. 28, 2004, for more than two classes).

    0 where one class is always answered, which tells nothing; NaN where one class is all there is to tell.
    """
    covariance = hit.sum(axis=-1) * rows - (true * named).sum(axis=-1)
    truth = rows * rows - np.square(true).sum(axis=-1) - unknown * unknown
    answer = rows * rows - np.square(named).sum(axis=-1)
    known = (truth > 0) & (answer > 0)
    found = np.divide(
        covariance, np.sqrt(np.where(known, truth, 1)) * np.sqrt(np.where(known, answer, 1)), out=np.zeros(np.shape(rows)), where=known
    )
    return np.where(truth > 0, found, np.nan)
