"""The curves of a classifier over every threshold: ROC (found against false alarms) and precision against recall."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sluice.evaluation.answers import Answers

#: Steps of the x axis at which the labels' curves are averaged.
_GRID = np.linspace(0.0, 1.0, 51)
_MICRO = "every label, micro-averaged"


def roc(a: Answers, labels: Sequence[str], points: int = 100) -> dict[str, Any] | None:
    """The ROC curve of a classifier (Fawcett, Pattern Recognition Letters 2006).

    Of two labels it is the curve of the positive one; of more, the micro-average over one-against-the-rest
    decisions, each row counting once for every label. A row whose label is unknown counts against all.

    Args:
        a: the answers.
        labels: class names.
        points: how many points of the curve are kept, at equal steps along it; the area is of all of them.

    Returns:
        ``{of, fpr, tpr, threshold, auc, macro}``: the first point is (0, 0) at threshold 1, the last (1, 1). ``macro`` is, for more
        than two labels, the mean of their curves: {x, y, area}, else null. Null where nothing is right, or nothing is wrong.
    """
    scores, truth, of = _pooled(a, labels)
    found = _roc(scores, truth)
    if found is None:
        return None
    fpr, tpr, threshold = found
    area = float(np.trapezoid(tpr, fpr))
    kept = _thinned(fpr + tpr, 2.0, points)
    return {"of": of, "auc": round(area, 6), **_rounded(fpr=fpr[kept], tpr=tpr[kept], threshold=threshold[kept]), "macro": _macro_roc(a)}


def precision_recall(a: Answers, labels: Sequence[str], points: int = 100) -> dict[str, Any] | None:
    """Precision against recall, of the same decisions as `roc`; the area is the average precision, which interpolates nothing.

    Returns:
        ``{of, recall, precision, threshold, area, share, point, macro}``: from the fewest rows named to all; ``share`` is the precision of
        naming every row; ``point`` {recall, precision} where the labels answered lie, null where nothing is named; ``macro`` as in `roc`.
    """
    scores, truth, of = _pooled(a, labels)
    right = int(truth.sum())
    if not right or right == len(truth):
        return None
    recall, precision, threshold = _precision_recall(scores, truth)
    kept = _thinned(np.arange(len(recall)) / max(len(recall) - 1, 1) + recall, 2.0, points)
    answered = (a.predicted == a.positive) if a.labels == 2 else (a.predicted[:, None] == np.arange(a.labels)).ravel()
    point = {"recall": round(float(truth[answered].sum() / right), 6), "precision": round(float(truth[answered].mean()), 6)} if answered.any() else None
    area = float(np.sum(np.diff(recall, prepend=0.0) * precision))
    return {"of": of, "area": round(area, 6), "share": round(right / len(truth), 6), "point": point,
            **_rounded(recall=recall[kept], precision=precision[kept], threshold=threshold[kept]), "macro": _macro_precision_recall(a)}  # fmt: skip


def _pooled(a: Answers, labels: Sequence[str]) -> tuple[np.ndarray, np.ndarray, str]:
    """Scores, truth, and whose they are."""
    if a.labels == 2:
        k = a.positive if a.positive is not None else 1
        return a.outputs[:, k], a.targets == k, labels[k]
    return a.outputs.ravel(), (a.targets[:, None] == np.arange(a.labels)).ravel(), _MICRO


def _counted(scores: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Right ones and wrong ones named from each distinct score on, the highest first, and the scores."""
    order = np.argsort(-scores, kind="stable")
    scores, truth = scores[order], truth[order]
    last = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)
    return np.cumsum(truth)[last], np.cumsum(~truth)[last], np.clip(scores[last], 0.0, 1.0)


def _roc(scores: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    hits, alarms, threshold = _counted(scores, truth)
    if not hits[-1] or not alarms[-1]:
        return None
    return np.append(0.0, alarms / alarms[-1]), np.append(0.0, hits / hits[-1]), np.append(1.0, threshold)


def _precision_recall(scores: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    hits, alarms, threshold = _counted(scores, truth)
    return hits / hits[-1], hits / (hits + alarms), threshold


def _macro_roc(a: Answers) -> dict[str, Any] | None:
    if a.labels == 2:
        return None
    found = [c for k in range(a.labels) if (c := _roc(a.outputs[:, k], a.targets == k)) is not None]
    if not found:
        return None
    height = np.mean([np.interp(_GRID, fpr, tpr) for fpr, tpr, _ in found], axis=0)
    return {**_rounded(x=_GRID, y=height), "area": round(float(np.mean([np.trapezoid(tpr, fpr) for fpr, tpr, _ in found])), 6)}


def _macro_precision_recall(a: Answers) -> dict[str, Any] | None:
    if a.labels == 2:
        return None
    heights, areas = [], []
    for k in range(a.labels):
        truth = a.targets == k
        if truth.any() and not truth.all():
            recall, precision, _ = _precision_recall(a.outputs[:, k], truth)
            heights.append(precision[np.searchsorted(recall, _GRID, "left").clip(0, len(recall) - 1)])
            areas.append(float(np.sum(np.diff(recall, prepend=0.0) * precision)))
    return {**_rounded(x=_GRID, y=np.mean(heights, axis=0)), "area": round(float(np.mean(areas)), 6)} if heights else None


def _thinned(along: np.ndarray, end: float, points: int) -> np.ndarray:
    """Indices of points at equal steps of `along`, which rises to `end`."""
    if len(along) <= points:
        return np.arange(len(along))
    return np.unique(np.searchsorted(along, np.linspace(0.0, end, points), side="left").clip(0, len(along) - 1))


def _rounded(**series: np.ndarray) -> dict[str, list[float]]:
    return {name: [round(float(x), 6) for x in values] for name, values in series.items()}
