"""Answers of a language model that is tuned: each is judged by how surprising it is, its loss in nats a token."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from sluice.problems.answers import Answers
from sluice.problems.metric import Metric
from sluice.problems.of_means import OfMeans
from sluice.problems.regression import Regression

if TYPE_CHECKING:
    import pyarrow as pa

    from sluice.problems.decision import Rule


@dataclasses.dataclass(frozen=True)
class AnswerLoss(OfMeans):
    """The mean over rows of an answer's loss, in nats a token."""

    most: float = math.inf
    per_row: ClassVar[bool] = True

    def moments(self, a: Answers) -> np.ndarray:
        """[rows, 1]."""
        return a.outputs[:, None]


class Likelihood(Regression):
    """A row's output is the loss of its own answer under the model: the true answer is an input, and nothing is left to compare with."""

    name: ClassVar[str] = "likelihood"
    label: ClassVar[str] = "text"
    linear: ClassVar[str] = ""
    counted: ClassVar[str] = "items"

    def described(self, labels: Sequence[str]) -> str:
        return "the label is the answer to learn"

    def targets(self, column: pa.ChunkedArray, labels: Sequence[str]) -> np.ndarray:
        """0 for each row: the loss of an answer that is certain."""
        return np.zeros(len(column), dtype=np.float64)

    @functools.cached_property
    def _metrics(self) -> dict[str, Metric]:
        return {"answer_loss": AnswerLoss("answer_loss", self.name, "lower")}

    def metrics(self) -> Mapping[str, Metric]:
        """The mean loss."""
        return self._metrics

    def constant(self, targets: np.ndarray, labels: Sequence[str], metric: str, positive: str | None) -> tuple[str, np.ndarray]:
        """A byte at random: a token has one at least."""
        return "a random byte in place of each token", np.asarray(math.log(256.0))

    def details(self, a: Answers, labels: Sequence[str], rule: Rule | None, config: Any) -> dict[str, Any]:
        """The answers' losses: nothing is predicted that a truth could be taken from."""
        found = super().details(a, labels, rule, config)
        return {**found, "residuals": {**found["residuals"], "title": "Losses of the answers", "axis": "nats a token"}}

    def heard(self, answer: Any, labels: Sequence[str], reference: Mapping[str, Any]) -> str:
        """A text."""
        from sluice.problems.told import plain

        return plain(answer)

    def read_back(self, texts: Sequence[str]) -> Sequence[Any]:
        return texts
