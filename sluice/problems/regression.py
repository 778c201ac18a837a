"""Regression: an answer is a value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from sluice.problems.problem import Problem

if TYPE_CHECKING:
    import pyarrow as pa

    from sluice.problems.answers import Answers
    from sluice.problems.decision import Rule


class Regression(Problem):
    """A quantity."""

    name: ClassVar[str] = "regression"
    served: ClassVar[str] = "regression"
    label: ClassVar[str] = "numeric"
    classes: ClassVar[bool] = False
    scalar: ClassVar[bool] = True
    output: ClassVar[str] = "value"
    linear: ClassVar[str] = "ridge regression"
    #: Of the targets' deviation.
    answer_change: ClassVar[float] = 0.1

    def labels(self, column: pa.ChunkedArray) -> list[str]:
        return []

    def check_labels(self, labels: Sequence[str]) -> None:
        if labels:
            raise ValueError("are for classification, and the label is a quantity")

    def described(self, labels: Sequence[str]) -> str:
        return "the label is a quantity"

    def targets(self, column: pa.ChunkedArray, labels: Sequence[str]) -> np.ndarray:
        return np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.float64)

    def width(self, labels: Sequence[str]) -> tuple[int, ...]:
        return ()

    def pair(
        self, ours: Answers, labels: Sequence[str], outputs: np.ndarray, their_labels: Sequence[str], rule: Rule | None
    ) -> tuple[Answers, Answers, np.ndarray]:
        self.check_labels(their_labels)
        theirs = self.answers(outputs, ours.targets, their_labels, units=ours.units)
        return ours, theirs, np.ones(len(ours.targets), dtype=bool)

    def told_apart(self, ours: Answers, theirs: Answers) -> dict[str, float]:
        return {"n_discordant": int((ours.outputs != theirs.outputs).sum())}

    def constant(self, targets: np.ndarray, labels: Sequence[str], metric: str, positive: str | None) -> tuple[str, np.ndarray]:
        """The mean; the median where absolute errors are judged."""
        what, value = ("median", np.median(targets)) if metric == "mae" else ("mean", targets.mean())
        return f"the {what} of the training rows, {value:.4g}", np.asarray(float(value))

    def missed(self, answer: np.ndarray, targets: np.ndarray) -> np.ndarray:
        return np.ones(len(targets), dtype=bool)

    def change(self, outputs: np.ndarray, base: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """In the targets' deviation."""
        return np.abs(outputs.astype(np.float64) - base) / self.scale(targets)

    def details(self, a: Answers, labels: Sequence[str], rule: Rule | None, config: Any) -> dict[str, Any]:
        from sluice.problems.evaluator import residuals

        return {"residuals": residuals(a.outputs - a.targets)}

    def columns(self, outputs: np.ndarray, labels: Sequence[str], rule: Rule | None) -> dict[str, pa.Array]:
        """``value``."""
        import pyarrow as pa

        return {"value": pa.array(outputs, pa.float32())}

    def heard(self, answer: Any, labels: Sequence[str], reference: Mapping[str, Any]) -> str:
        """A finite number, no thousand times beyond the training rows."""
        from sluice.problems.told import quantity

        return quantity(answer, reference)

    def read_back(self, texts: Sequence[str]) -> Sequence[Any]:
        return [float(t) for t in texts]
