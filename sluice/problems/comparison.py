"""Candidate and champion on the same held-out rows.

The difference is turned so that more is better, whatever the metric's direction. Its interval is the metric's own
(`metrics.Metric.difference`): Newcombe's for accuracy and recall, the rows' influence for areas under curves, the rows' differences
for means of losses, a paired BCa bootstrap over rows elsewhere; over units, where rows belong together, see `clustered`. Each model answers
by its own decision rule. Verdicts, with the one-sided error level e = (1 - confidence) / 2:

- ``worse``: it is worse beyond doubt, its whole interval below 0, and by more than the margin as far as the rows can tell. Of
  candidates that are as good as the champion a share e at most is found worse.
- ``better``: the whole interval is above 0; ``no_worse``: it is at or above -margin. These claims pay for what went before on the same
  rows: their interval is wider, ``claims`` tells it and its level. Refusals do not, or a bad model would pass the sooner the more were tried.
- ``inconclusive``: anything else.

After candidates refused in a row (`Before.refused`), or in decline (`Before.decline`), the level of ``worse`` is larger and there is no margin; above 1/2 a candidate has to
look better. Models that answer alike on every
row are ``no_worse``: nothing in the rows tells them apart. The margin is absolute, for rmse and mae a fraction of the champion's value.

Models may know different labels. Then only rows whose true label both know count, since on the others
one of the two cannot be right; on the rows that count, naming a label the other lacks is an error like any other.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from sluice.core.errors import DataError
from sluice.problems import metrics
from sluice.problems.answers import Answers
from sluice.problems.config import MetricConfig
from sluice.problems.decision import Rule
from sluice.problems.problem import Problem, of_labels
from sluice.problems.units import Units
from sluice.stats.spending import claim_level, raised, stretch


@dataclasses.dataclass(frozen=True)
class Before:
    """What went before a comparison, for which it pays (`sluice.stats.spending`).

    Attributes:
        on_rows: comparisons on the same rows; each counts for the share of these rows it saw.
        refused: candidates refused in a row against the same other model, whatever the rows.
        decline: what all candidates since show together (`sluice.stats.spending.decline`).
        share: of the error level that a candidate with nothing before it is refused at.
    """

    on_rows: float = 0.0
    refused: int = 0
    decline: float = 0.0
    share: float = 1.0


def compare(
    candidate: np.ndarray,
    champion: np.ndarray,
    targets: np.ndarray,
    labels: Sequence[str],
    champion_labels: Sequence[str],
    config: MetricConfig,
    *,
    rule: Rule | None = None,
    champion_rule: Rule | None = None,
    positive: str | None = None,
    asked: Problem | None = None,
    units: Units | None = None,
    before: Before = Before(),
) -> dict[str, Any]:
    """The paired difference of the metric, and what it says.

    Args:
        candidate, champion: probabilities [N, labels of each], or values [N].
        targets: indices into `labels` (the candidate's), -1 for others; or values.
        labels, champion_labels: both empty for regression.
        rule, champion_rule: how each one's probabilities become a label; None: the most probable.
        positive: the positive label; `config.positive`, or of two labels the rarer one of these rows, unless told.
        asked: the problem; None: the built-in one of such labels.
        units: which rows belong together; None: each stands alone.
        before: what went before, for which this comparison pays.

    Returns:
        ``metric``, ``direction``, ``positive``, ``candidate`` and ``champion`` (the metric of each), ``difference``,
        ``low``, ``high``, ``margin``, ``confidence``, ``verdict``, ``level`` (at which it is found worse), ``claims`` {level, low, high},
        ``margin_needs`` (rows, or units, whose interval reaches no further than the margin; null where there is none), ``rows``, ``unit`` and ``units`` (where rows belong together), ``rows_left_out``, ``n_discordant``,
        ``method``, ``labels_added``, ``labels_removed``, ``note``; for classification also
        ``candidate_only_right``, ``champion_only_right`` and ``p_value`` (exact McNemar). Numbers are null where no row is shared
        or the metric is not defined on the rows, which ``note`` says.

    Raises:
        DataError, ProjectError, SluiceError: as `evaluate`, for either model; DataError also where one model
            classifies and the other does not.
    """
    asked = asked or of_labels(labels)
    metric = asked.metrics()[metrics.metric_of(config.metric, asked.name)]
    ours = asked.answers(candidate, targets, labels, rule=rule, positive=positive or config.positive, units=units)
    metrics.need_positive(metric, ours.positive, len(labels))
    of = None if ours.positive is None else labels[ours.positive]
    try:
        ours, theirs, shared = asked.pair(ours, labels, champion, champion_labels, champion_rule)
    except ValueError as e:
        raise DataError("solves another problem than the candidate", field="champion", fix="give the new model another name") from e
    head: dict[str, Any] = {"metric": metric.name, "direction": metric.better, "positive": of, "confidence": config.confidence}
    head |= _counted(ours, shared, labels, champion_labels)
    return head | (_measure(asked, metric, ours, theirs, config, head["note"], before) if shared.any() else _nothing(config))


def _counted(ours: Answers, shared: np.ndarray, labels: Sequence[str], champion_labels: Sequence[str]) -> dict[str, Any]:
    """Which rows count, and which labels one of the two lacks."""
    left_out = int((~shared).sum())
    added, removed = sorted(set(labels) - set(champion_labels)), sorted(set(champion_labels) - set(labels))
    return {
        "rows": int(shared.sum()),
        **(ours.units.told_as() if ours.units else {}),
        "rows_left_out": left_out,
        "labels_added": added,
        "labels_removed": removed,
        "note": _note(added, removed, left_out, len(shared)),
    }


def _nothing(config: MetricConfig) -> dict[str, Any]:
    """Of two models that share no row."""
    unknown = dict.fromkeys(("candidate", "champion", "difference", "low", "high"))
    return unknown | {
        "margin": config.margin,
        "verdict": "inconclusive",
        "level": (1 - config.confidence) / 2,
        "claims": None,
        "margin_needs": None,
        "n_discordant": 0,
        "method": "none",
    }


def _measure(
    asked: Problem, metric: metrics.Metric, ours: Answers, theirs: Answers, config: MetricConfig, note: str, before: Before
) -> dict[str, Any]:
    values = metric.value(ours), metric.value(theirs)
    difference = _finite(metric.sign * (values[0] - values[1]))
    out: dict[str, Any] = {
        "candidate": _finite(values[0]),
        "champion": _finite(values[1]),
        "method": metric.method(ours.units),
        **asked.told_apart(ours, theirs),
    }
    margin = config.margin if difference is None else metrics.allowance(metric, config.margin, values[1])
    limits = None if difference is None else metric.difference(ours, theirs, config.confidence, config.resamples)
    low, high = limits if limits else (None, None)
    same = difference is not None and metric.alike(ours, theirs)
    if difference is None:
        undefined = [
            f"the {who}'s {metric.name} is not defined: {metric.why(a)}"
            for who, a, v in zip(("candidate", "champion"), (ours, theirs), values, strict=True)
            if not np.isfinite(v)
        ]
        out["note"] = ". ".join([*([note] if note else []), *undefined])
    few = metric.difference_too_narrow(ours) if low is not None and not same else None
    if few:
        out["note"] = ". ".join([*([note] if note else []), few])
    count = ours.units.count if ours.units else len(ours.targets)
    df = (ours.units.effective if ours.units else count) - 1
    return (
        out
        | {"difference": difference, "low": low, "high": high, "margin": margin}
        | _judged(difference, low, high, margin, same, config, before, df, metric.refusing)
        | {"margin_needs": _margin_needs(low, high, margin, count)}
    )


def _judged(
    difference: float | None,
    low: float | None,
    high: float | None,
    margin: float,
    same: bool,
    config: MetricConfig,
    before: Before,
    df: float,
    times: float,
) -> dict[str, Any]:
    """The verdict, the level at which it is found worse (`times` the metric's), and what is claimed at which level."""
    first = (1 - config.confidence) / 2
    claimed, refusing = claim_level(first, before.on_rows), raised(first, before.refused, before.decline, before.share * times)
    told: dict[str, Any] = {"level": refusing, "claims": None}
    if difference is None or low is None or high is None:
        return told | {"verdict": "no_worse" if same else "inconclusive"}
    wide = stretch(claimed, first, df)
    claims = (difference - wide * (difference - low), difference + wide * (high - difference))
    told["claims"] = {"level": claimed, "low": claims[0], "high": claims[1]}
    far = stretch(refusing, first, df)
    reach = difference + far * (high - difference if far > 0 else difference - low)
    allowed = math.inf if refusing > 0.5 else -margin if refusing <= first * times else 0.0
    if same:
        verdict = "no_worse"
    elif claims[0] > 0:
        verdict = "better"
    elif reach < -metrics.ROUNDING and difference < allowed - metrics.ROUNDING:
        verdict = "worse"
    else:
        verdict = "no_worse" if claims[0] >= -margin - metrics.ROUNDING else "inconclusive"
    return told | {"verdict": verdict}


def _margin_needs(low: float | None, high: float | None, margin: float, count: int) -> int | None:
    """How many rows (units) would show a difference as small as the margin: an interval's half-width falls with their root."""
    if low is None or high is None or not high > low or not margin > 0:
        return None
    return max(1, math.ceil(count * ((high - low) / (2 * margin)) ** 2))


def _note(added: list[str], removed: list[str], left_out: int, rows: int) -> str:
    if not (added or removed or left_out):
        return ""
    said = [
        f"{what} {', '.join(names[:5])}{' ...' if len(names) > 5 else ''}"
        for what, names in (("it adds", added), ("it lacks", removed))
        if names
    ]
    head = f"the candidate's labels are not the champion's: {'; '.join(said)}. " if said else ""
    return head + (
        f"{left_out} of {rows} rows, whose true label only one of the two knows, are left out"
        if left_out
        else "Every row's label is known to both"
    )


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
