"""A model's whole result on held-out rows, as plain JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sluice.evaluation import metrics
from sluice.evaluation.config import EvaluateConfig
from sluice.evaluation.curves import roc
from sluice.evaluation.intervals import interval
from sluice.evaluation.slices import judge_slices

_BINS = 10
_RESIDUAL_BINS = 20


def evaluate(outputs: np.ndarray, targets: np.ndarray, labels: Sequence[str], config: EvaluateConfig,
             slices: Mapping[str, Sequence[str]] | None = None) -> dict[str, Any]:  # fmt: skip
    """Judge a model's answers.

    Args:
        outputs: probabilities [N, labels], or values [N] for regression.
        targets: indices into `labels`, -1 for a label not among them; or values.
        labels: class names; empty for regression.
        config: the project's ``evaluate``.
        slices: column -> its value for each row.

    Returns:
        ``metric``, ``direction``, ``value``, ``low``, ``high``, ``minimum``, ``confidence``, ``rows``,
        ``metrics`` {name: {value, low, high}} and ``slices``; for classification ``confusion``
        {labels, matrix}, ``per_label`` [{label, precision, recall, f1, support}], ``calibration``
        {bins, ece}, ``roc`` (see `curves.roc`) and ``unknown_labels`` (rows whose label the model does not
        know); for regression ``residuals`` {edges, counts, quantiles}. Values that are undefined are null.

    Raises:
        DataError: no rows, or shapes that do not match.
        ProjectError: the metric is of another objective, or a slice column has too many values.
        SluiceError: the outputs are not finite.
    """
    objective = "classification" if labels else "regression"
    metric = metrics.metric_of(config.metric, objective)
    outputs, targets = metrics.checked(outputs, targets, labels)
    found = {}
    for name, value in values(outputs, targets, labels).items():
        limits = interval(name, outputs, targets, config.confidence, config.resamples)
        found[name] = {"value": value, "low": limits[0] if limits else None, "high": limits[1] if limits else None}
    result: dict[str, Any] = {
        "metric": metric, "direction": "lower" if metrics.sign(metric) < 0 else "higher", **found[metric], "minimum": config.minimum,
        "confidence": config.confidence, "rows": len(targets), "metrics": found,
        "slices": judge_slices(metric, outputs, targets, slices or {}, config),
    }  # fmt: skip
    return result | (_classification(outputs, targets, labels) if labels else {"residuals": _residuals(outputs - targets)})


def values(outputs: np.ndarray, targets: np.ndarray, labels: Sequence[str]) -> dict[str, float | None]:
    """Every metric's value, null where it is undefined; arguments and errors as `evaluate`."""
    outputs, targets = metrics.checked(outputs, targets, labels)
    found = {name: metrics.value_of(name, outputs, targets) for name in (metrics.CLASSIFICATION if labels else metrics.REGRESSION)}
    return {name: float(value) if np.isfinite(value) else None for name, value in found.items()}


def _classification(probabilities: np.ndarray, targets: np.ndarray, labels: Sequence[str]) -> dict[str, Any]:
    predicted = probabilities.argmax(axis=1)
    true, named, hit = metrics.class_counts(targets, predicted, len(labels))
    scores = metrics.class_scores(true, named, hit)
    return {
        "roc": roc(probabilities, targets, labels),
        "confusion": {"labels": list(labels), "matrix": metrics.confusion(targets, predicted, len(labels)).tolist()},
        "per_label": [{"label": label, "precision": float(p), "recall": float(r), "f1": float(f), "support": int(n)}
                      for label, p, r, f, n in zip(labels, *scores, true, strict=True)],
        "calibration": _calibration(probabilities.max(axis=1), targets == predicted),
        "unknown_labels": int((targets < 0).sum()),
    }  # fmt: skip


def _calibration(confidence: np.ndarray, right: np.ndarray) -> dict[str, Any]:
    """Top-label reliability over ten equal bins of confidence, and the expected calibration error (Naeini et al., AAAI 2015)."""
    at = np.clip((confidence * _BINS).astype(np.int64), 0, _BINS - 1)
    rows = np.bincount(at, minlength=_BINS)
    sums, hits = np.bincount(at, confidence, _BINS), np.bincount(at, right, _BINS)
    bins = [{"confidence": float(sums[i] / rows[i]), "accuracy": float(hits[i] / rows[i]), "rows": int(rows[i])} for i in range(_BINS) if rows[i]]
    return {"bins": bins, "ece": float(np.abs(sums - hits).sum() / len(right))}


def _residuals(residuals: np.ndarray) -> dict[str, Any]:
    """Prediction minus target: a histogram between its extremes, and quantiles."""
    low, high = float(residuals.min()), float(residuals.max())
    widen = max(0.0, 1e-6 * max(abs(low), abs(high), 1e-300) - (high - low))  # residuals all but equal still need bins of some width
    rows, edges = np.histogram(residuals, bins=_RESIDUAL_BINS, range=(low - widen, high + widen))
    at = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
    return {"edges": edges.tolist(), "counts": rows.tolist(),
            "quantiles": {str(q): float(v) for q, v in zip(at, np.quantile(residuals, at), strict=True)}}  # fmt: skip
