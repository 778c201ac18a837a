"""Candidate and champion on the same held-out rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sluice.errors import DataError
from sluice.evaluation import intervals, metrics
from sluice.evaluation.config import EvaluateConfig


def compare(candidate: np.ndarray, champion: np.ndarray, targets: np.ndarray, labels: Sequence[str], champion_labels: Sequence[str],
            config: EvaluateConfig) -> dict[str, Any]:  # fmt: skip
    """The paired difference of the metric, and what it says.

    The difference is turned so that more is better, whatever the metric's direction. Its interval:
    Newcombe's for accuracy, a paired BCa bootstrap over rows elsewhere. Verdicts: ``better`` where the
    whole interval is above 0, ``no_worse`` where it is at or above -margin, ``worse`` where it is
    below -margin, ``inconclusive`` otherwise. Models that answer alike on every row are ``no_worse``:
    nothing in the rows tells them apart. The margin is absolute, for rmse and mae a fraction of the champion's value.

    Models may know different labels. Then only rows whose true label both know count, since on the others
    one of the two cannot be right; on the rows that count, naming a label the other lacks is an error like any other.

    Args:
        candidate, champion: probabilities [N, labels of each], or values [N].
        targets: indices into `labels` (the candidate's), -1 for others; or values.
        labels, champion_labels: both empty for regression.

    Returns:
        ``metric``, ``direction``, ``candidate`` and ``champion`` (the metric of each), ``difference``,
        ``low``, ``high``, ``margin``, ``confidence``, ``verdict``, ``rows``, ``rows_left_out``, ``n_discordant``,
        ``method``, ``labels_added``, ``labels_removed``, ``note``; for classification also
        ``candidate_only_right``, ``champion_only_right`` and ``p_value`` (exact McNemar). Numbers are null where no row is shared.

    Raises:
        DataError, ProjectError, SluiceError: as `evaluate`, for either model; DataError also where one model
            classifies and the other does not.
    """
    if bool(len(labels)) != bool(len(champion_labels)):
        raise DataError("solves another problem than the candidate", field="champion", fix="give the new model another name")
    metric = metrics.metric_of(config.metric, "classification" if labels else "regression")
    candidate, targets = metrics.checked(candidate, targets, labels)
    if labels:
        union = sorted({*labels, *champion_labels})
        champion, _ = metrics.checked(champion, np.zeros(len(targets), dtype=np.int64), champion_labels)
        candidate, champion = _spread(candidate, labels, union), _spread(champion, champion_labels, union)
        shared = np.isin(targets, [i for i, name in enumerate(labels) if name in set(champion_labels)])
        targets = np.array([union.index(name) for name in labels], dtype=np.int64)[targets[shared]]
        candidate, champion = candidate[shared], champion[shared]
    else:
        champion, _ = metrics.checked(champion, targets, labels)
        shared = np.ones(len(targets), dtype=bool)
    left_out = int((~shared).sum())
    added, removed = sorted(set(labels) - set(champion_labels)), sorted(set(champion_labels) - set(labels))
    head: dict[str, Any] = {
        "metric": metric, "direction": "lower" if metrics.sign(metric) < 0 else "higher", "confidence": config.confidence,
        "rows": int(shared.sum()), "rows_left_out": left_out, "labels_added": added, "labels_removed": removed,
        "note": _note(added, removed, left_out, len(shared)),
    }  # fmt: skip
    if not shared.any():
        return head | {"candidate": None, "champion": None, "difference": None, "low": None, "high": None, "margin": config.margin,
                       "verdict": "inconclusive", "n_discordant": 0, "method": "none"}  # fmt: skip
    return head | _measure(metric, candidate, champion, targets, config, classification=bool(labels))


def _measure(metric: str, candidate: np.ndarray, champion: np.ndarray, targets: np.ndarray, config: EvaluateConfig, *,
             classification: bool) -> dict[str, Any]:  # fmt: skip
    values = metrics.value_of(metric, candidate, targets), metrics.value_of(metric, champion, targets)
    out: dict[str, Any] = {"candidate": _finite(values[0]), "champion": _finite(values[1])}
    if classification:
        ours, theirs = candidate.argmax(axis=1), champion.argmax(axis=1)
        right, right_too = ours == targets, theirs == targets
        only, other = int((right & ~right_too).sum()), int((~right & right_too).sum())
        out |= {"n_discordant": int((ours != theirs).sum()), "candidate_only_right": only, "champion_only_right": other,
                "p_value": intervals.mcnemar_exact(only, other)}  # fmt: skip
    else:
        out["n_discordant"] = int((candidate != champion).sum())
    sign = metrics.sign(metric)
    margin = metrics.allowance(metric, config.margin, values[1])
    if metric == "accuracy":
        limits: intervals.Interval | None = intervals.newcombe_paired(
            int((right & right_too).sum()), only, other, int((~right & ~right_too).sum()), config.confidence)  # fmt: skip
        out["method"] = "newcombe"
    else:
        limits = intervals.bca(sign * (values[0] - values[1]), _resampled(metric, candidate, champion, targets, config.resamples), config.confidence)
        out["method"] = "paired bootstrap"
    difference = _finite(sign * (values[0] - values[1]))
    low, high = limits if limits else (None, None)
    same = out["n_discordant"] == 0 and (metric in ("accuracy", "macro_f1", "balanced_accuracy") or np.array_equal(candidate, champion))
    return out | {"difference": difference, "low": low, "high": high, "margin": margin, "verdict": _verdict(low, high, margin, same)}


def _verdict(low: float | None, high: float | None, margin: float, same: bool) -> str:
    if same:
        return "no_worse"
    if low is None or high is None:
        return "inconclusive"
    if low > 0:
        return "better"
    if low >= -margin - metrics.ROUNDING:
        return "no_worse"
    return "worse" if high < -margin - metrics.ROUNDING else "inconclusive"


def _resampled(metric: str, candidate: np.ndarray, champion: np.ndarray, targets: np.ndarray, resamples: int) -> intervals.Resampled:
    """The oriented difference on resampled rows, both models on the same ones."""
    sign = metrics.sign(metric)
    if metric in ("log_loss", *metrics.REGRESSION):
        ours, theirs = metrics.moments(metric, candidate, targets), metrics.moments(metric, champion, targets)
        k = ours.shape[1]

        def by_means(means: np.ndarray) -> np.ndarray:
            return np.asarray(sign * (metrics.from_means(metric, means[..., :k]) - metrics.from_means(metric, means[..., k:])))

        return intervals.resample_means(np.concatenate([ours, theirs], axis=1), by_means, resamples)
    labels = candidate.shape[1]

    def by_cells(cells: np.ndarray, weights: np.ndarray) -> float:
        return (metrics.from_codes(metric, cells[:, 0], cells[:, 1], labels, weights)
                - metrics.from_codes(metric, cells[:, 0], cells[:, 2], labels, weights))  # fmt: skip

    codes = np.stack([targets, candidate.argmax(axis=1), champion.argmax(axis=1)], axis=1)
    return intervals.resample_cells(codes, by_cells, resamples)


def _spread(probabilities: np.ndarray, labels: Sequence[str], union: Sequence[str]) -> np.ndarray:
    """Columns in the order of `union`; a label the model does not know gets -1, which is never the largest, and clips to no probability."""
    out = np.full((len(probabilities), len(union)), -1.0)
    out[:, [union.index(name) for name in labels]] = probabilities
    return out


def _note(added: list[str], removed: list[str], left_out: int, rows: int) -> str:
    if not (added or removed or left_out):
        return ""
    said = [f"{what} {', '.join(names[:5])}{' ...' if len(names) > 5 else ''}" for what, names in (("it adds", added), ("it lacks", removed)) if names]
    head = f"the candidate's labels are not the champion's: {'; '.join(said)}. " if said else ""
    return head + (f"{left_out} of {rows} rows, whose true label only one of the two knows, are left out" if left_out else "Every row's label is known to both")


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
