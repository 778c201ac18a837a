"""The ROC curve: how many of the right answers are found at how many false alarms, over every threshold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def roc(probabilities: np.ndarray, targets: np.ndarray, labels: Sequence[str], points: int = 100) -> dict[str, Any] | None:
    """The ROC curve of a classifier (Fawcett, Pattern Recognition Letters 2006).

    Of two labels it is the curve of the second; of more, the micro-average over one-against-the-rest
    decisions, each row counting once for every label. A row whose label is unknown counts against all.

    Args:
        probabilities: [N, labels].
        targets: indices into `labels`, -1 for a label not among them [N].
        labels: class names.
        points: how many points of the curve are kept, at equal steps along it; the area is of all of them.

    Returns:
        ``{of, fpr, tpr, threshold, auc}``: the first point is (0, 0) at threshold 1, the last (1, 1).
        Null where nothing is right, or nothing is wrong.
    """
    if len(labels) == 2:
        scores, truth, of = probabilities[:, 1], targets == 1, labels[1]
    else:
        scores, truth, of = probabilities.ravel(), (targets[:, None] == np.arange(len(labels))).ravel(), "every label, micro-averaged"
    order = np.argsort(-scores, kind="stable")
    scores, truth = scores[order], truth[order]
    right, wrong = int(truth.sum()), int((~truth).sum())
    if not right or not wrong:
        return None
    last = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)
    tpr = np.concatenate([[0.0], np.cumsum(truth)[last] / right])
    fpr = np.concatenate([[0.0], np.cumsum(~truth)[last] / wrong])
    threshold = np.concatenate([[1.0], np.clip(scores[last], 0.0, 1.0)])
    area = float(np.trapezoid(tpr, fpr))
    if len(tpr) > points:
        keep = np.unique(np.searchsorted(fpr + tpr, np.linspace(0.0, 2.0, points), side="left").clip(0, len(tpr) - 1))
        tpr, fpr, threshold = tpr[keep], fpr[keep], threshold[keep]
    return {"of": of, "auc": round(area, 6), **{k: [round(float(x), 6) for x in v] for k, v in (("fpr", fpr), ("tpr", tpr), ("threshold", threshold))}}
