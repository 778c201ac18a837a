"""Anomaly detection: how unusual a row is, between 0 and 1, and whether that is past a threshold."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from sluice.core.errors import DataError
from sluice.problems.classification import Classification

if TYPE_CHECKING:
    import pyarrow as pa

    from sluice.problems.answers import Answers
    from sluice.problems.decision import Rule
    from sluice.problems.metrics import Metric
    from sluice.problems.units import Units

NORMAL, ANOMALY = "normal", "anomaly"
#: In the order of the graph's output.
LABELS = (ANOMALY, NORMAL)
#: What a score is judged by, the first unless a project names another; none that reads it as a probability.
_METRICS = ("average_precision", "roc_auc", "precision", "recall", "f1", "mcc", "balanced_accuracy", "accuracy")

#: Bars of a picture of scores.
_BINS = 20
#: Most features whose covariance the simple model has, and what is added to their variances, as a share of the mean one.
_MOST_JOINT, _SHRINKAGE = 400, 0.05


class AnomalyDetection(Classification):
    """Each row is normal or an anomaly; the graph gives a score for either, which add up to 1.

    The score of `ANOMALY` rises with how unusual a row is among those that were learnt from, and is 1/2 at the threshold. It is no probability
    that the row is one: average precision (the area under the precision-recall curve), which looks at the order alone, decides.
    """

    name: ClassVar[str] = "anomaly_detection"
    lopsided: ClassVar[bool] = True
    graded: ClassVar[str] = "score"
    linear: ClassVar[str] = "distance from the mean"

    def labels(self, column: pa.ChunkedArray) -> list[str]:
        """Both, whichever occur. Raises `DataError`: another one does."""
        other = sorted({*column.drop_null().unique().to_pylist()} - {*LABELS})
        if other:
            raise DataError(
                f"is neither {NORMAL!r} nor {ANOMALY!r}",
                field="label",
                value=other[0],
                fix="task: anomaly reads other labels (model.anomalous)",
            )
        return list(LABELS)

    def check_labels(self, labels: Sequence[str]) -> None:
        if list(labels) != list(LABELS):
            raise ValueError(f"are {', '.join(LABELS)} where anomalies are detected")

    def metrics(self) -> Mapping[str, Metric]:
        return _metrics()

    def positive(self, targets: np.ndarray, labels: Sequence[str]) -> str | None:
        """An anomaly, however many there are."""
        return ANOMALY if ANOMALY in labels else None

    def answers(
        self,
        outputs: np.ndarray,
        targets: np.ndarray,
        labels: Sequence[str],
        *,
        rule: Rule | None = None,
        positive: str | None = None,
        units: Units | None = None,
    ) -> Answers:
        return super().answers(outputs, targets, labels, rule=rule, positive=positive or self.positive(targets, labels), units=units)

    def details(self, a: Answers, labels: Sequence[str], rule: Rule | None, config: Any) -> dict[str, Any]:
        """As of labels, but for what reads a score as a probability."""
        found = super().details(a, labels, rule, config)
        because = {} if config.positive is not None else {"positive_because": "what is looked for"}
        scores = {"edges": np.linspace(0, 1, _BINS + 1).tolist()}
        for k, label in enumerate(labels):
            scores[label] = np.histogram(a.outputs[a.targets == k, labels.index(ANOMALY)], scores["edges"])[0].tolist()
        return {k: v for k, v in found.items() if k != "calibration"} | because | {"scores": scores}

    def section(self, found: Mapping[str, Any]) -> str:
        """Where the scores of normal rows and of anomalies lie."""
        from sluice.report import svg

        scores, rows = found["scores"], found["confusion"]["matrix"]
        of = dict(zip(found["confusion"]["labels"], rows, strict=True))
        pictures = "".join(
            f"<figure><figcaption>{label}: {sum(scores[label]):,} held-out rows</figcaption>"
            f"{svg.histogram(scores['edges'], scores[label], 'score')}</figure>"
            for label in (NORMAL, ANOMALY)
        )
        at = found["confusion"]["labels"].index(ANOMALY)
        alarms, hits = of[NORMAL][at], of[ANOMALY][at]
        told = (
            f"At the threshold {hits:,} of {sum(of[ANOMALY]):,} anomalies are found, and {alarms:,} of {sum(of[NORMAL]):,} normal rows taken for one. "
            "A score is no probability: it says how unusual a row is among those that were learnt from; without evaluate.decision 1/2 is the threshold "
            "that model.contamination sets."
        )
        return f'<h3>Scores</h3>{pictures}<p class="note">{told}</p>'

    def simple(self, x: Any, y: np.ndarray, others: Sequence[Callable[[], Any]], labels: Sequence[str]) -> list[np.ndarray]:
        """The distance from the mean of the normal rows: by their covariance, shrunk (Mahalanobis, 1936), and of many features by their deviations."""
        usual = np.asarray(_dense(x)[y == labels.index(NORMAL)], dtype=np.float64)
        mean, distance = usual.mean(axis=0), _distance(usual)
        half = float(np.quantile(distance(usual - mean), 0.95)) or 1.0
        found = []
        for other in others:
            far = distance(np.asarray(_dense(other()), dtype=np.float64) - mean)
            score = far / (far + half)
            pair = {ANOMALY: score, NORMAL: 1 - score}
            found.append(np.stack([pair[label] for label in labels], axis=1))
        return found

    def notable(self, outputs: np.ndarray) -> np.ndarray:
        """The logarithm of the odds of an anomaly."""
        odds = np.clip(outputs.astype(np.float64), 1e-12, None)
        found: np.ndarray = np.log(odds[:, LABELS.index(ANOMALY)]) - np.log(odds[:, LABELS.index(NORMAL)])
        return found


def _dense(x: Any) -> np.ndarray:
    return np.asarray(x.toarray() if hasattr(x, "toarray") else x)


def _distance(usual: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """The squared distance of rows less the mean, [rows]."""
    variance = usual.var(axis=0)
    shrunk = _SHRINKAGE * max(float(variance.mean()), 1e-12)
    if usual.shape[1] > _MOST_JOINT:
        return lambda x: np.asarray((x**2 / (variance + shrunk)).sum(axis=1))
    inverse = np.linalg.inv(np.cov(usual.T).reshape(len(variance), -1) + shrunk * np.eye(len(variance)))
    return lambda x: np.einsum("ij,jk,ik->i", x, inverse, x)


@functools.cache
def _metrics() -> dict[str, Metric]:
    from sluice.problems.metrics import TABLE

    return {name: TABLE[name] for name in _METRICS}
