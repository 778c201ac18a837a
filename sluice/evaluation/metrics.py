"""Metrics of classification and regression, by their standard definitions.

Classification works on codes: `targets` int64 [N], indices into the labels, -1 for a label the
model does not know (it is wrong there by definition); `predicted` int64 [N].
Averages over classes run over the classes that occur in the targets.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sluice.errors import DataError, ProjectError, SluiceError

CLASSIFICATION = ("accuracy", "macro_f1", "balanced_accuracy", "log_loss")
REGRESSION = ("rmse", "mae", "r2")
SMALLER_IS_BETTER = frozenset({"log_loss", "rmse", "mae"})
#: In the target's own unit, so a margin on them is a fraction of the champion's (or fp32's) value.
RELATIVE = frozenset({"rmse", "mae"})

#: Differences of metrics are compared up to this: 0.93 - 0.95 is not -0.02 in binary.
ROUNDING = 1e-12

_EPSILON = float(np.finfo(np.float64).eps)


def metric_of(name: str | None, objective: str) -> str:
    """The metric a model is judged by: `name`, or accuracy and rmse. Raises `ProjectError` on one of the other objective."""
    known = CLASSIFICATION if objective == "classification" else REGRESSION
    if name is None:
        return known[0]
    if name not in known:
        raise ProjectError(f"is no metric of {objective}", field="evaluate.metric", value=name, fix=f"one of {', '.join(known)}")
    return name


def sign(metric: str) -> int:
    """-1 where smaller is better, so that `sign * value` is always better when larger."""
    return -1 if metric in SMALLER_IS_BETTER else 1


def allowance(metric: str, margin: float, reference: float) -> float:
    """`margin` in the metric's own unit: as it stands, or that fraction of `reference` for rmse and mae."""
    return margin * abs(reference) if metric in RELATIVE else margin


def checked(outputs: np.ndarray, targets: np.ndarray, labels: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Outputs as float64 ([N, labels] or [N]) and targets as int64 or float64 [N].

    Raises:
        DataError: no rows, or rows or labels that do not match.
        SluiceError: the model answered NaN or infinity.
    """
    outputs = np.asarray(outputs, dtype=np.float64)
    targets = np.asarray(targets, dtype=np.int64 if labels else np.float64)
    shape = (len(targets), len(labels)) if labels else (len(targets),)
    if not len(targets):
        raise DataError("has no rows to judge a model on", field="test split", fix="raise data.split.test, or name a data.test file")
    if outputs.shape != shape:
        raise DataError(f"have shape {list(outputs.shape)}, the held-out rows need {list(shape)}", field="the model's outputs")
    if labels and (targets.max() >= len(labels) or targets.min() < -1):
        raise DataError("is no index of a label", field="targets", value=int(targets[(targets >= len(labels)) | (targets < -1)][0]))
    bad = ~np.isfinite(outputs).reshape(len(outputs), -1).all(axis=1)
    if bad.any():
        raise SluiceError(f"are not finite on {int(bad.sum())} of {len(bad)} rows", field="the model's outputs",
                          value=outputs[int(np.argmax(bad))].tolist(), fix="train with a smaller learning_rate or a gradient_clip")  # fmt: skip
    if not labels and not np.isfinite(targets).all():
        raise DataError("are not finite", field="targets", value=float(targets[~np.isfinite(targets)][0]))
    return outputs, targets


def row_losses(probabilities: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """-log of the true label's probability in nats, float64 [N]; clipped at machine epsilon, as scikit-learn does."""
    own = np.where(targets < 0, 0.0, np.take_along_axis(probabilities, np.maximum(targets, 0)[:, None], axis=1)[:, 0])
    return np.asarray(-np.log(np.clip(own, _EPSILON, 1 - _EPSILON)))


def moments(metric: str, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """What a metric is a function of the mean of: float64 [N, k] for log_loss, rmse, mae and r2.

    For r2 the targets are centred first, so that the difference of squares keeps its digits.
    """
    if metric == "log_loss":
        return row_losses(outputs, targets)[:, None]
    error = outputs - targets
    if metric == "rmse":
        return np.asarray((error * error)[:, None])
    if metric == "mae":
        return np.asarray(np.abs(error)[:, None])
    centred = targets - targets.mean()
    return np.stack([error * error, centred, centred * centred], axis=1)


def from_means(metric: str, means: np.ndarray) -> np.ndarray:
    """The metric from mean moments [..., k]; NaN where r2 is undefined because the targets do not vary."""
    if metric == "rmse":
        return np.asarray(np.sqrt(means[..., 0]))
    if metric == "r2":
        variance = means[..., 2] - means[..., 1] ** 2
        floor = 1e-12 * np.maximum(means[..., 2], 1e-300)
        return np.where(variance > floor, 1 - means[..., 0] / np.where(variance > floor, variance, 1), np.nan)
    out: np.ndarray = means[..., 0]
    return out


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
    return (np.bincount(targets[known], weights[known], labels), np.bincount(predicted[predicted >= 0], weights[predicted >= 0], labels),
            np.bincount(targets[known & right], weights[known & right], labels))  # fmt: skip


def from_codes(metric: str, targets: np.ndarray, predicted: np.ndarray, labels: int, weights: np.ndarray | None = None) -> float:
    """accuracy, macro_f1 or balanced_accuracy of weighted rows. Rows of an unknown label are wrong (one class more for the averages)."""
    if metric == "accuracy":
        return float(np.average(targets == predicted, weights=weights))
    true, named, hit = class_counts(targets, predicted, labels, weights)
    _, recall, f1 = class_scores(true, named, hit)
    scores = (f1 if metric == "macro_f1" else recall)[true > 0]
    unknown = targets < 0
    classes = len(scores) + int(unknown.any() and (weights is None or weights[unknown].sum() > 0))
    return float(scores.sum() / classes)


def value_of(metric: str, outputs: np.ndarray, targets: np.ndarray) -> float:
    """A metric of probabilities [N, labels] or values [N]. NaN where it is undefined."""
    if metric in ("accuracy", "macro_f1", "balanced_accuracy"):
        return from_codes(metric, targets, outputs.argmax(axis=1), outputs.shape[1])
    return float(from_means(metric, moments(metric, outputs, targets).mean(axis=0)))
