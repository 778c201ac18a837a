"""What an estimator left, ready to answer: the library's model between the package's tensors and its output."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sluice.core import files
from sluice.core.errors import DataError
from sluice.learners.base import HISTORY, Trained
from sluice.learners.estimators.base import Estimator
from sluice.learners.estimators.matrix import TableMatrix

if TYPE_CHECKING:
    import onnx

    from sluice.learners.state import State

#: Of a state's `extra`: how rows become a matrix, which estimator it was made for, which of the labels it saw.
MATRIX, ESTIMATOR, SEEN = "matrix", "estimator", "seen"


@dataclasses.dataclass(frozen=True)
class Answering:
    """A library's model between the package's tensors and its output."""

    estimator: Estimator
    model: Any
    state: State
    matrix: TableMatrix

    def of(self, matrix: np.ndarray) -> np.ndarray:
        """Probabilities [rows, labels] or values [rows], FP32; a label that no training row has gets 0."""
        return self.told(np.asarray(self.estimator.predict(self.model, matrix)))

    def told(self, found: np.ndarray) -> np.ndarray:
        """An estimator's answers, of labels that have training rows, as the model's."""
        if not self.state.labels:
            return found.reshape(len(found)).astype(np.float32)
        out = np.zeros((len(found), len(self.state.labels)), dtype=np.float32)
        out[:, self.state.extra[SEEN]] = found
        return out


class EstimatorTrained(Trained):
    """What the library wrote, ``state.json`` with the processor's files, ``training.json``."""

    def __init__(self, state: State, record: dict[str, Any], answers: Answering, name: str):
        self.state, self.record, self._answers, self._name = state, record, answers, name

    @functools.cached_property
    def text(self) -> str:  # type: ignore[override]
        """Which estimator, and which of its rounds is used."""
        rounds = len(self.record["history"])
        if "said" in self.record:
            return f"{self._name}: {self.record['said']}"
        if rounds == 1:
            return f"{self._name} fitted"
        early = ", stopped early" if self.record["stopped_early"] else ""
        return f"{self._name}: round {self.record['best_epoch']} of {rounds} kept, by validation loss{early}"

    def run(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """The library's own prediction; see `Trained.run`."""
        return self._answers.of(self._answers.matrix.of(inputs))

    def shap(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray] | None:
        """The library's, the features of an input added up; see `Trained.shap`."""
        a = self._answers
        found = a.estimator.shap(a.model, a.matrix.of(inputs))
        if found is None:
            return None
        owners = np.array(a.matrix.owners())
        return {name: found[:, :, owners == name].sum(axis=2) for name in dict.fromkeys(owners.tolist())}

    def graph(self, opset: int) -> onnx.ModelProto:
        """The matrix and the converted model in one graph; see `Trained.graph`."""
        from sluice.learners.estimators.graph import table_graph

        a = self._answers
        inner = a.estimator.graph(a.model, a.matrix.features, opset)
        return table_graph(self.state, a.matrix, inner, self.state.extra[SEEN], opset)

    def save(self, root: Path) -> None:
        """Write the library's file, the state and the history."""
        self._answers.estimator.write(self._answers.model, root)
        self.state.save(root)
        files.write_json(root / HISTORY, self.record)

    @classmethod
    def opened(cls, root: Path, state: State, estimator: Estimator, name: str) -> EstimatorTrained:
        """What `save` wrote. Raises `DataError`: it cannot be read."""
        try:
            record: dict[str, Any] = files.read_json(root / HISTORY)
            model = estimator.read(root)
        except (OSError, ValueError) as e:
            raise DataError(f"cannot be read as a {name}: {e}", field=str(root), fix="train again") from e
        found = cls(state, record, Answering(estimator, model, state, TableMatrix.load(state.extra[MATRIX])), name)
        found.root = root
        return found
