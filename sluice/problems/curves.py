"""The curves of a classifier over every threshold: ROC (found against false alarms) and precision against recall."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sluice.problems.answers import Answers

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
    of, hits, alarms, threshold = _pooled(a, labels)
    if not hits[-1] or not alarms[-1]:
        return None
    fpr, tpr, threshold = np.append(0.0, alarms / alarms[-1]), np.append(0.0, hits / hits[-1]), np.append(1.0, threshold)
    area = float(np.trapezoid(tpr, fpr))
    kept = _thinned(fpr + tpr, 2.0, points)
    return {"of": of, "auc": round(area, 6), **_rounded(fpr=fpr[kept], tpr=tpr[kept], threshold=threshold[kept]), "macro": _means(a)[0]}


def precision_recall(a: Answers, labels: Sequence[str], points: int = 100) -> dict[str, Any] | None:
    """Precision against recall, of the same decisions as `roc`; the area is the average precision, which interpolates nothing.

    Returns:
        ``{of, recall, precision, threshold, area, share, point, macro}``: from the fewest rows named to all; ``share`` is the precision of
        naming every row; ``point`` {recall, precision} where the labels answered lie, null where nothing is named; ``macro`` as in `roc`.
    """
    of, hits, alarms, threshold = _pooled(a, labels)
    right, rows = int(hits[-1]), int(hits[-1] + alarms[-1])
    if not right or right == rows:
        return None
    recall, precision = hits / right, hits / (hits + alarms)
    kept = _thinned(np.arange(len(recall)) / max(len(recall) - 1, 1) + recall, 2.0, points)
    named = len(a.predicted) if a.labels != 2 else int((a.predicted == a.positive).sum())
    found = int((a.predicted == a.targets).sum() if a.labels != 2 else ((a.predicted == a.positive) & (a.targets == a.positive)).sum())
    point = {"recall": round(found / right, 6), "precision": round(found / named, 6)} if named else None
    area = float(np.sum(np.diff(recall, prepend=0.0) * precision))
    return {
        "of": of,
        "area": round(area, 6),
        "share": round(right / rows, 6),
        "point": point,
        **_rounded(recall=recall[kept], precision=precision[kept], threshold=threshold[kept]),
        "macro": _means(a)[1],
    }


def _pooled(a: Answers, labels: Sequence[str]) -> tuple[str, np.ndarray, np.ndarray, np.ndarray]:
    """Whose curve it is, and `_counted` of it."""
    if a.labels == 2:
        k = a.positive if a.positive is not None else 1
        return labels[k], *_counted(a.outputs[:, k], a.targets == k)
    if "pooled" not in a.memo:
        a.memo["pooled"] = _counted(a.outputs.ravel(), (a.targets[:, None] == np.arange(a.labels)).ravel())
    return _MICRO, *a.memo["pooled"]


def _counted(scores: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Right ones and wrong ones named from each distinct score on, the highest first, and the scores."""
    order = np.argsort(-scores, kind="stable")
    scores, truth = scores[order], truth[order]
    last = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)
    hits = np.cumsum(truth)[last]
    return hits, last + 1 - hits, np.clip(scores[last], 0.0, 1.0)


def _means(a: Answers) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """The mean of the labels' ROC curves, and of their curves of precision against recall: over the labels that occur, each against the rest."""
    if a.labels == 2:
        return None, None
    if "means" not in a.memo:
        heights: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
        areas: tuple[list[float], list[float]] = ([], [])
        for k in range(a.labels):
            truth = a.targets == k
            if not truth.any() or truth.all():
                continue
            hits, alarms, _ = _counted(a.outputs[:, k], truth)
            fpr, recall, precision = np.append(0.0, alarms / alarms[-1]), hits / hits[-1], hits / (hits + alarms)
            tpr = np.append(0.0, recall)
            heights[0].append(np.interp(_GRID, fpr, tpr))
            areas[0].append(float(np.trapezoid(tpr, fpr)))
            heights[1].append(precision[np.searchsorted(recall, _GRID, "left").clip(0, len(recall) - 1)])
            areas[1].append(float(np.sum(np.diff(recall, prepend=0.0) * precision)))
        a.memo["means"] = tuple(
            {**_rounded(x=_GRID, y=np.mean(h, axis=0)), "area": round(float(np.mean(s)), 6)} if h else None
            for h, s in zip(heights, areas, strict=True)
        )
    return a.memo["means"]  # type: ignore[no-any-return]


def _thinned(along: np.ndarray, end: float, points: int) -> np.ndarray:
    """Indices of points at equal steps of `along`, which rises to `end`."""
    if len(along) <= points:
        return np.arange(len(along))
    return np.unique(np.searchsorted(along, np.linspace(0.0, end, points), side="left").clip(0, len(along) - 1))


def _rounded(**series: np.ndarray) -> dict[str, list[float]]:
    return {name: [round(float(x), 6) for x in values] for name, values in series.items()}
