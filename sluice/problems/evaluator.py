"""A model's whole result on held-out rows, as plain JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sluice.problems import curves, metrics
from sluice.problems.answers import Answers
from sluice.problems.counts import class_counts, class_scores, confusion
from sluice.problems.decision import Rule
from sluice.problems.metrics import Metric
from sluice.problems.problem import Problem, of_labels
from sluice.problems.reliability import reliability
from sluice.problems.slices import judge_slices
from sluice.problems.units import Units

if TYPE_CHECKING:
    from sluice.gates.config import EvaluateConfig

#: Of more than two labels, one with fewer held-out rows than this may be missed by chance.
_FEW_ROWS = 5
#: More labels than this are told without intervals.
_MOST_LABELS = 50
_RESIDUAL_BINS = 20


def evaluate(
    outputs: np.ndarray,
    targets: np.ndarray,
    labels: Sequence[str],
    config: EvaluateConfig,
    slices: Mapping[str, Sequence[str] | np.ndarray] | None = None,
    *,
    rule: Rule | None = None,
    positive: str | None = None,
    asked: Problem | None = None,
    units: Units | None = None,
) -> dict[str, Any]:
    """Judge a model's answers.

    Args:
        outputs: probabilities [N, labels], or values [N] for regression.
        targets: indices into `labels`, -1 for a label not among them; or values.
        labels: class names; empty for regression.
        config: the project's ``evaluate``.
        slices: column -> its value for each row; expression -> whether it is true of each row, bool [N].
        rule: how probabilities become a label; None: the most probable.
        positive: the positive label; `config.positive`, or of two labels the rarer one of these rows, unless told.
        asked: the problem; None: the built-in one of such labels.
        units: which rows belong together: intervals are of so many units; None: each row stands alone.

    Returns:
        ``metric``, ``direction``, ``value``, ``low``, ``high``, ``minimum``, ``confidence``, ``rows``, where rows belong together ``unit``
        (what one is called) and ``units`` (how many), ``metrics`` {name: {value, low, high}} and ``slices``; for classification ``positive`` (null for none, ``positive_because`` says whence), ``decision``
        (the rule; null for none), ``confusion`` {labels, matrix}, ``per_label`` [{label, precision, recall, f1, roc_auc, average_precision, support,
        intervals {precision, recall, f1}}], ``never_predicted`` [{label, rows}],
        ``calibration`` {bins, ece, low, high}, ``roc`` and ``precision_recall`` (see `curves`) and ``unknown_labels`` (rows whose label the model does not
        know); for regression ``residuals`` {edges, counts, quantiles}. Values that are undefined are null, with a ``why``.

    Raises:
        DataError: no rows, or shapes that do not match.
        ProjectError: the metric is of another objective or of a positive label that is none, or a slice column has too many values.
        SluiceError: the outputs are not finite.
    """
    asked = asked or of_labels(labels)
    every = asked.metrics()
    metric = every[metrics.metric_of(config.metric, asked.name)]
    a = asked.answers(outputs, targets, labels, rule=rule, positive=positive or config.positive, units=units)
    metrics.need_positive(metric, a.positive, len(labels))
    told = [m for m in every.values() if (a.positive is not None or not m.of_positive) and (m is metric or m.asked(a))]
    found = {m.name: measured(m, a, config) for m in told}
    result: dict[str, Any] = {
        "metric": metric.name,
        "direction": metric.better,
        **{k: found[metric.name][k] for k in ("value", "low", "high")},
        "minimum": config.minimum,
        "confidence": config.confidence,
        "rows": len(a.targets),
        **_of_what(asked, a),
        "metrics": found,
        "slices": judge_slices(metric, a, slices or {}, config),
    }
    # Who draws its own part of the report is found by this name.
    drawn = {"problem": asked.name} if type(asked).section is not Problem.section else {}
    return result | drawn | asked.details(a, labels, rule, config)


def _of_what(asked: Problem, a: Answers) -> dict[str, Any]:
    """What a row is called, and a unit, where they are not rows that stand alone."""
    return ({"counted": asked.counted} if asked.counted != Problem.counted else {}) | (a.units.told_as() if a.units else {})


def values(
    outputs: np.ndarray,
    targets: np.ndarray,
    labels: Sequence[str],
    *,
    rule: Rule | None = None,
    positive: str | None = None,
    asked: Problem | None = None,
) -> dict[str, float | None]:
    """Every metric's value, null where it is undefined; arguments and errors as `evaluate`."""
    asked = asked or of_labels(labels)
    a = asked.answers(outputs, targets, labels, rule=rule, positive=positive)
    found = {m.name: m.value(a) for m in asked.metrics().values() if a.positive is not None or not m.of_positive}
    return {name: float(value) if np.isfinite(value) else None for name, value in found.items()}


def measured(metric: Metric, a: Answers, config: EvaluateConfig) -> dict[str, Any]:
    """A metric's ``value``, ``low`` and ``high``; null where there is none, the value's reason then as ``why``; a ``note`` where the interval may be too narrow."""
    value = metric.value(a)
    if not np.isfinite(value):
        return {"value": None, "low": None, "high": None, "why": metric.why(a)}
    limits = metric.interval(a, config.confidence, config.resamples)
    said = metric.too_narrow(a) if limits else None
    return {"value": value, "low": limits[0] if limits else None, "high": limits[1] if limits else None, **({"note": said} if said else {})}


def classified(a: Answers, labels: Sequence[str], rule: Rule | None, config: EvaluateConfig) -> dict[str, Any]:
    """What an evaluation says of labels: confusion, curves, each label's scores, calibration (see `evaluate`)."""
    true, named, _ = class_counts(a.targets, a.predicted, len(labels))
    few = 1 if len(labels) == 2 else _FEW_ROWS
    return {
        "positive": None if a.positive is None else labels[a.positive],
        "positive_because": "set as evaluate.positive" if config.positive is not None else "the rarer label of the training rows",
        "decision": rule.to_dict() if rule else None,
        "roc": curves.roc(a, labels),
        "precision_recall": curves.precision_recall(a, labels),
        "confusion": {"labels": list(labels), "matrix": confusion(a.targets, a.predicted, len(labels)).tolist()},
        "per_label": _per_label(a, labels, config),
        "never_predicted": [
            {"label": labels[k], "rows": int(true[k])} for k in np.argsort(-true, kind="stable") if not named[k] and true[k] >= few
        ],
        "calibration": reliability(a, config.confidence),
        "unknown_labels": int((a.targets < 0).sum()),
    }


def _per_label(a: Answers, labels: Sequence[str], config: EvaluateConfig) -> list[dict[str, Any]]:
    """Each label's scores; 0 where there is nothing to divide by. An interval is null where its value is undefined."""
    true, named, hit = class_counts(a.targets, a.predicted, len(labels))
    scores = dict(zip(("precision", "recall", "f1"), class_scores(true, named, hit), strict=True))
    areas = {name: metric.areas(a) for name, metric in metrics.TABLE.items() if isinstance(metric, metrics.OfRanks)}
    out = []
    for k, label in enumerate(labels):
        of = dataclasses.replace(a, positive=k, memo={})
        limits = (
            {name: metrics.TABLE[name].interval(of, config.confidence, config.resamples) for name in scores}
            if len(labels) <= _MOST_LABELS
            else {}
        )
        out.append(
            {
                "label": label,
                **{name: float(v[k]) for name, v in scores.items()},
                "support": int(true[k]),
                **{name: v[k] for name, v in areas.items()},
                "intervals": {name: list(v) if v else None for name, v in limits.items()},
            }
        )
    return out


def residuals(errors: np.ndarray) -> dict[str, Any]:
    """Prediction minus target [N]: a histogram between its extremes, and quantiles."""
    low, high = float(errors.min()), float(errors.max())
    widen = max(0.0, 1e-6 * max(abs(low), abs(high), 1e-300) - (high - low))  # residuals all but equal still need bins of some width
    rows, edges = np.histogram(errors, bins=_RESIDUAL_BINS, range=(low - widen, high + widen))
    at = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
    return {
        "edges": edges.tolist(),
        "counts": rows.tolist(),
        "quantiles": {str(q): float(v) for q, v in zip(at, np.quantile(errors, at), strict=True)},
    }
