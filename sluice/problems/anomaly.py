"""Anomaly detection: how unusual a row is, between 0 and 1, and whether that is past a threshold."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
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


class AnomalyDetection(Classification):
    """Each row is normal or an anomaly; the graph gives a score for either, which add up to 1.

    The score of `ANOMALY` rises with how unusual a row is among those that were learnt from, and is 1/2 at the threshold. It is no probability
    that the row is one: average precision (the area under the precision-recall curve), which looks at the order alone, decides.
    """

    name: ClassVar[str] = "anomaly_detection"
    lopsided: ClassVar[bool] = True

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
        return {k: v for k, v in found.items() if k != "calibration"} | because


@functools.cache
def _metrics() -> dict[str, Metric]:
    from sluice.problems.metrics import TABLE

    return {name: TABLE[name] for name in _METRICS}
