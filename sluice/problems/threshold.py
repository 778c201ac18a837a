"""Choosing the probability from which the positive label is answered, on rows the model was not trained on."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sluice.problems.answers import Answers, positive_index
from sluice.problems.decision import Rule

if TYPE_CHECKING:
    from sluice.problems.config import DecisionConfig

#: Fewer rows of either label than this tell nothing of a threshold: a single row would move it.
FEWEST = 10


@dataclasses.dataclass(frozen=True)
class Choice:
    """What became of the search.

    Attributes:
        rule: None where the most probable label stays the answer.
        text: a sentence that says what was chosen, or why nothing was.
        evidence: plain JSON: ``label``, ``threshold`` (null for none), ``aim``, ``rows``, ``positives``, and on these rows ``recall`` and
            ``precision`` with the threshold and ``plain`` {recall, precision} without.
    """

    rule: Rule | None
    text: str
    evidence: dict[str, Any]


def choose(
    probabilities: np.ndarray,
    targets: np.ndarray,
    labels: Sequence[str],
    positive: str,
    config: DecisionConfig,
    graded: str = "probability",
) -> Choice:
    """The threshold that serves the aim best on these rows: halfway between two answers, in as few digits as keep it there.

    Of thresholds that serve it alike, the one nearest to 0.5 is taken. The rows that choose it flatter it: what it is worth is
    told by others, the held-out ones.

    Args:
        probabilities: [N, 2].
        targets: indices into `labels` [N]; rows with -1 are left out.
        labels: two class names.
        positive: the label that the threshold is for.
        config: the aim.
        graded: what the numbers are, in the sentence.

    Raises:
        ProjectError: `positive` is no label.
    """
    k = positive_index(positive, labels)
    assert k is not None
    known = targets >= 0
    scores, truth = np.asarray(probabilities, dtype=np.float64)[known, k], targets[known] == k
    p, n = int(truth.sum()), int((~truth).sum())
    evidence: dict[str, Any] = {
        "label": positive,
        "threshold": None,
        "aim": str(config),
        "rows": p + n,
        "positives": p,
        "plain": _rates(Answers.of(probabilities[known], targets[known]).predicted == k, truth),
    }
    if min(p, n) < FEWEST:
        which, rows = (positive, p) if p <= n else (labels[1 - k], n)
        return Choice(
            None,
            f"no threshold was chosen: {rows} validation rows are {which!r}, at least {FEWEST} are needed; the most probable label is answered "
            f"(raise data.split.validation, or bring more rows)",
            evidence,
        )
    thresholds, hits, alarms = _cuts(scores, truth)
    worth = _worth(config, hits, alarms, p, n)
    if not np.isfinite(worth).any():
        best = float((hits / np.maximum(hits + alarms, 1)).max())
        return Choice(
            None,
            f"no threshold was chosen: none reaches a precision of {config.precision:g} on {p + n} validation rows (the best is {best:.3g}); "
            "the most probable label is answered",
            evidence,
        )
    ties = np.flatnonzero(worth >= worth.max() - 1e-12)
    at = int(ties[np.argmin(np.abs(thresholds[ties] - 0.5))])
    rule = Rule(positive, float(thresholds[at]), str(config))
    named = scores >= rule.threshold
    evidence |= {"threshold": rule.threshold, **_rates(named, truth)}
    return Choice(
        rule,
        f"{positive!r} is answered from a {graded} of {rule.threshold:.4g} on: {rule.aim} on {p + n} validation rows, {p} of them {positive!r}",
        evidence,
    )


def _cuts(scores: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every threshold that makes a difference, with the right and the wrong rows it names; the first names none, where one can."""
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], np.cumsum(truth[order])
    last = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
    own = ranked[last]
    thresholds = [_between(low, high) for high, low in zip(own, [*own[1:], 0.0], strict=True)]
    hits, alarms = hits[last], last + 1 - hits[last]
    if own[0] < 1:
        thresholds, hits, alarms = [_between(own[0], 1.0), *thresholds], np.append(0, hits), np.append(0, alarms)
    return np.array(thresholds), hits.astype(np.float64), alarms.astype(np.float64)


def _between(low: float, high: float) -> float:
    """A number above `low` and not above `high`: their middle, in as few digits as keep it there."""
    if not low < high:
        return float(high)
    middle = low + (high - low) / 2
    for digits in range(1, 17):
        short = float(f"{middle:.{digits}g}")
        if low + (high - low) / 4 <= short <= high - (high - low) / 4:
            return short
    return float(high)


def _worth(config: DecisionConfig, hits: np.ndarray, alarms: np.ndarray, p: int, n: int) -> np.ndarray:
    """What each threshold is worth, the more the better; -inf where it misses the aim."""
    recall, named = hits / p, hits + alarms
    precision = np.divide(hits, named, out=np.zeros(len(hits)), where=named > 0)
    if config.aim == "f1":
        return 2 * hits / (named + p)
    if config.aim == "balanced_accuracy":
        return (recall + 1 - alarms / n) / 2
    if config.aim == "mcc":
        spread = np.sqrt(named * (p + n - named)) * np.sqrt(float(p) * n)
        return np.divide(hits * (n - alarms) - alarms * (p - hits), spread, out=np.zeros(len(hits)), where=spread > 0)
    if config.aim == "cost":
        assert config.costs is not None
        return np.asarray(-(config.costs.false_positive * alarms + config.costs.false_negative * (p - hits)) / (p + n))
    if config.aim == "precision":
        return np.where((precision >= (config.precision or 0) - 1e-12) & (named > 0), recall, -np.inf)
    return np.where(recall >= (config.recall or 0) - 1e-12, precision, -np.inf)


def _rates(named: np.ndarray, truth: np.ndarray) -> dict[str, float | None]:
    hits, of, rows = int((named & truth).sum()), int(truth.sum()), int(named.sum())
    return {"recall": hits / of if of else None, "precision": hits / rows if rows else None}
