"""Classification: an answer is one of a set of labels, each with a probability."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from sluice.problems.decision import codes
from sluice.problems.problem import Problem

if TYPE_CHECKING:
    import pyarrow as pa

    from sluice.problems.answers import Answers
    from sluice.problems.decision import Rule


class Classification(Problem):
    """One of a set of labels; the graph gives a probability for each."""

    name: ClassVar[str] = "classification"
    served: ClassVar[str] = "classification"
    label: ClassVar[str] = "categorical"
    classes: ClassVar[bool] = True
    output: ClassVar[str] = "probabilities"
    linear: ClassVar[str] = "logistic regression"
    #: A label turned over.
    answer_change: ClassVar[float] = 0.5

    def labels(self, column: pa.ChunkedArray) -> list[str]:
        return sorted(column.drop_null().unique().to_pylist())

    def unknown(self, column: pa.ChunkedArray, labels: Sequence[str]) -> Any:
        return next(iter(sorted(set(column.unique().to_pylist()) - set(labels))), None)

    def check_labels(self, labels: Sequence[str]) -> None:
        if not labels:
            raise ValueError("are for classification, and needed there")
        if len(set(labels)) != len(labels):
            raise ValueError("name a class twice")

    def described(self, labels: Sequence[str]) -> str:
        return f"there are {len(labels)} labels"

    def targets(self, column: pa.ChunkedArray, labels: Sequence[str]) -> np.ndarray:
        index = {label: i for i, label in enumerate(labels)}
        return np.array([index.get(v, -1) for v in column.to_pylist()], dtype=np.int64)

    def width(self, labels: Sequence[str]) -> tuple[int, ...]:
        return (len(labels),)

    def pair(
        self, ours: Answers, labels: Sequence[str], outputs: np.ndarray, their_labels: Sequence[str], rule: Rule | None
    ) -> tuple[Answers, Answers, np.ndarray]:
        from sluice.problems import pairing

        self.check_labels(their_labels)
        theirs = self.answers(outputs, np.zeros(len(ours.targets), dtype=np.int64), their_labels, rule=rule)
        return pairing.pair(ours, labels, theirs, their_labels)

    def told_apart(self, ours: Answers, theirs: Answers) -> dict[str, float]:
        from sluice.problems import pairing

        return pairing.told_apart(ours, theirs)

    def constant(self, targets: np.ndarray, labels: Sequence[str], metric: str, positive: str | None) -> tuple[str, np.ndarray]:
        """The class shares; of a metric of the positive label that label throughout: at random one would reach less (Lipton, Elkan,
        Naryanaswamy, ECML PKDD 2014)."""
        if metric in ("precision", "f1") and positive is not None:
            return f"answering {positive!r} throughout", np.eye(len(labels))[list(labels).index(positive)]
        counts = np.bincount(targets[targets >= 0], minlength=len(labels))
        return f"the majority class {labels[int(counts.argmax())]!r}", counts / counts.sum()

    def missed(self, answer: np.ndarray, targets: np.ndarray) -> np.ndarray:
        return np.asarray(targets != answer.argmax())

    def scale(self, reference: np.ndarray) -> float:
        return 1.0

    def change(self, outputs: np.ndarray, base: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """The largest difference of a probability."""
        found: np.ndarray = np.abs(outputs.astype(np.float64) - base).max(axis=1)
        return found

    def agreement(self, outputs: np.ndarray, others: np.ndarray, labels: Sequence[str], rule: Rule | None, reference: np.ndarray) -> float:
        return float((codes(outputs, labels, rule) == codes(others, labels, rule)).mean())

    def details(self, a: Answers, labels: Sequence[str], rule: Rule | None, config: Any) -> dict[str, Any]:
        from sluice.problems.evaluator import classified

        return classified(a, labels, rule, config)

    def columns(self, outputs: np.ndarray, labels: Sequence[str], rule: Rule | None) -> dict[str, pa.Array]:
        """``prediction``: the label, by the rule; and its ``probability``."""
        import pyarrow as pa

        best = codes(outputs, labels, rule)
        return {
            "prediction": pa.array(labels, pa.string()).take(pa.array(best)),
            "probability": pa.array(outputs[np.arange(len(best)), best], pa.float32()),
        }
