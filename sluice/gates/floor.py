"""The floor: is the model better than no model, and than a simple one?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

import numpy as np

from sluice.gates.baselines import Baseline
from sluice.gates.champion import compare
from sluice.gates.config import EvaluateConfig
from sluice.problems.decision import Rule
from sluice.problems.metrics import TABLE

#: Held-out rows that a constant answer gets wrong, from which on "it answers like the trivial model" is a finding: a model
#: that told half of such rows would answer like it on all five one time in 32.
ENOUGH = 5
#: Of the test that the stated number of rows is for.
POWER = 0.8
_NORMAL = NormalDist()


def judge(
    outputs: np.ndarray,
    targets: np.ndarray,
    labels: Sequence[str],
    evaluation: dict[str, Any],
    trivial: Baseline,
    simple: Baseline | str,
    config: EvaluateConfig,
    *,
    rule: Rule | None = None,
    positive: str | None = None,
) -> dict[str, Any]:
    """The candidate against the baselines, on the same rows.

    Args:
        outputs, targets, labels: as for `evaluate`, of the candidate.
        evaluation: what `evaluate` found of the candidate.
        trivial: on all rows.
        simple: on some or all of them, or why there is none.
        config: the project's ``evaluate``.
        rule, positive: of the candidate, as for `evaluate`; the baselines answer by their own.

    Returns:
        ``trivial`` and ``simple`` (what `compare` gives, with ``baseline`` for the champion's value, ``name``, ``facts``; `simple` is
        ``{"missing": why}`` where there is none), ``verdict`` and ``said``, a sentence. Verdicts: ``better`` than the trivial one beyond doubt;
        ``ranks`` where the metric does not show it but the area under the ROC curve is above 1/2 beyond doubt; ``no_better``: the whole
        interval is at or below 0 or does not reach past the margin, or it answers like a constant; ``inconclusive``, with ``rows_needed``. Where the metric is recall these are of the balanced accuracy. ``ahead`` is a sentence where
        the simple one is better beyond doubt, else null.
    """
    # Recall alone is had by answering the label throughout.
    by = config.model_copy(update={"metric": "balanced_accuracy"}) if config.metric == "recall" else config
    against = _against(outputs, targets, labels, trivial, by, rule, positive)
    found: dict[str, Any] = {"trivial": against, "rows_needed": None, "ahead": None}
    if isinstance(simple, str):
        found["simple"] = {"name": "ridge regression" if not labels else "logistic regression", "missing": simple}
    else:
        found["simple"] = other = _against(outputs[simple.rows], targets[simple.rows], labels, simple, config, rule, positive)
        if other["high"] is not None and other["high"] < 0:
            found["ahead"] = f"{simple.name} is better by {_gap(-other['difference'], -other['high'], -other['low'], other)}"
    wrong = len(targets) - (int((targets == trivial.outputs.argmax(axis=1)).sum()) if labels else 0)
    verdict, said = _verdict(outputs, wrong, against, evaluation, chosen=config.metric is not None and rule is None)
    if verdict == "inconclusive":
        alike = labels and against["n_discordant"] == 0
        needed = (math.ceil(ENOUGH * len(targets) / wrong) if wrong else None) if alike else rows_needed(against, config.confidence)
        found["rows_needed"] = needed
        said += (
            f": if things stay as they are, about {needed:,} would tell ({POWER:.0%} power)"
            if needed
            else ": they hold nothing to reckon from how many would tell"
        )
    return found | {"verdict": verdict, "said": said}


def rows_needed(against: dict[str, Any], confidence: float) -> int | None:
    """Held-out rows on which a difference of the size seen would be told from 0, with `POWER`; null where none was seen.

    The usual n = (z_confidence + z_power)^2 (s / d)^2 of a paired comparison; s, the deviation of a row's paired difference, is
    read from the interval's width, so it holds for every metric.
    """
    d, low, high, n = (against[k] for k in ("difference", "low", "high", "rows"))
    if not d or low is None or high <= low:
        return None
    z = _NORMAL.inv_cdf(0.5 + confidence / 2)
    s = math.sqrt(n) * (high - low) / (2 * z)
    return max(n + 1, rounded_up(((z + _NORMAL.inv_cdf(POWER)) * s / abs(d)) ** 2))


def rounded_up(rows: float) -> int:
    """A number of rows to two digits: an estimate from few rows has no more."""
    digits = 10 ** max(0, len(str(int(rows))) - 2)
    return int(math.ceil(rows / digits) * digits)


def _against(
    outputs: np.ndarray,
    targets: np.ndarray,
    labels: Sequence[str],
    baseline: Baseline,
    config: EvaluateConfig,
    rule: Rule | None,
    positive: str | None,
) -> dict[str, Any]:
    c = compare(outputs, baseline.outputs, targets, labels, labels, config, rule=rule, champion_rule=baseline.rule, positive=positive)
    kept = ("metric", "direction", "confidence", "rows", "candidate", "difference", "low", "high", "margin", "n_discordant", "method")
    return {k: c[k] for k in kept} | {"baseline": c["champion"], "name": baseline.name, "facts": baseline.facts}


def _verdict(outputs: np.ndarray, wrong: int, c: dict[str, Any], evaluation: dict[str, Any], *, chosen: bool) -> tuple[str, str]:
    """The verdict and its sentence. `wrong`: rows the trivial one gets wrong; `chosen`: the project named the metric, and no threshold."""
    metric, name = TABLE[c["metric"]], c["name"]
    numbers = f"{metric.name} {_number(c['candidate'])} against {_number(c['baseline'])}"
    if c["low"] is not None and c["low"] > 0:
        return "better", f"better than {name}: {numbers}"
    constant = bool(np.all(np.ptp(outputs, axis=0) <= 1e-6 * np.maximum(np.abs(outputs).max(axis=0), 1e-300)))
    alike = constant or (metric.by_label and c["n_discordant"] == 0)
    nothing = c["candidate"] is None and c["baseline"] is not None  # a precision of rows that are never named
    worse = not alike and (nothing or (c["high"] is not None and c["high"] <= 0 and c["difference"] < 0))
    close = not alike and not worse and c["high"] is not None and c["high"] <= c["margin"]
    area = evaluation["metrics"].get("roc_auc") or {"low": None}
    ranks = not constant and area["low"] is not None and area["low"] > 0.5
    if alike:
        what = f"it gives every row the same answer, as {name} does" if constant else f"on every held-out row it answers as {name} does"
    elif nothing:
        what = f"its {metric.name} is undefined where {name} has {_number(c['baseline'])}"
    elif worse:
        what = f"it is worse than {name}: {numbers}, by {_gap(-c['difference'], -c['high'], -c['low'], c)}"
    elif close:
        what = f"{numbers}: not better than {name} by more than evaluate.margin ({c['margin']:.3g}; difference {_gap(c['difference'], c['low'], c['high'], c)})"
    elif c["difference"] is None:
        what = f"{numbers} cannot be compared with {name}"
    else:
        what = f"{numbers} does not tell it from {name} (difference {_gap(c['difference'], c['low'], c['high'], c)})"
    two = evaluation.get("positive") is not None
    advice = f"evaluate.metric ({'average_precision, balanced_accuracy or f1' if two else 'balanced_accuracy, macro_f1 or log_loss'})"
    threshold = ", or choose its threshold with evaluate.decision" if two and not evaluation.get("decision") else ""
    if ranks and not (worse and chosen):
        return "ranks", f"{what}, but its probabilities rank the rows ({_area(area)}): judge it by another {advice}{threshold}"
    if worse or close or (alike and wrong >= ENOUGH):
        rank = (
            f"; its probabilities rank the rows, though ({_area(area)}): another {advice} may be the right one{threshold}"
            if ranks
            else f", and its probabilities do not rank the rows beyond doubt ({_area(area)})"
            if area["low"] is not None and not constant
            else ""
        )
        return "no_better", what + rank
    return "inconclusive", what + f" on {c['rows']} held-out rows"


def _area(area: dict[str, Any]) -> str:
    return f"ROC AUC {area['value']:.3f}, {area['low']:.3f} to {area['high']:.3f}"


def _gap(difference: float | None, low: float | None, high: float | None, c: dict[str, Any]) -> str:
    if difference is None:
        return "undefined"
    return f"{difference:.3g}" + (f", {c['confidence']:.0%} interval {low:.3g} to {high:.3g}" if low is not None else "")


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4g}"
