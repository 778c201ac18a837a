"""Estimators of scikit-learn: one that has a `make` answers, is written down as JSON and tensors, and converts by skl2onnx."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from sluice.learners.estimators.base import Estimator, Fitted, Rows, Tell

if TYPE_CHECKING:
    import numpy as np
    import onnx

#: Newest operator set skl2onnx writes, and that of ai.onnx.ml it is asked for.
_MOST, _ML = 21, 3


class ScikitEstimator(Estimator):
    """The base of an estimator that scikit-learn has: `make` alone is to be written."""

    libraries: ClassVar[tuple[str, ...]] = ("scikit-learn", "skl2onnx")

    @abstractmethod
    def make(self) -> Any:
        """The unfitted scikit-learn estimator, a classifier where `classes` is not 0; its ``random_state`` is `seed`."""

    def fit(self, train: Rows, validation: Rows | None, tell: Tell) -> Fitted:
        """See `Estimator.fit`; thresholds of trees are then rounded down to numbers of 32 bits, which changes no answer to such numbers."""
        from sluice.learners.estimators.scikit_state import dump, load

        model = self.make()
        model.fit(train.matrix, train.targets, **({} if train.weights is None else {"sample_weight": train.weights}))
        return Fitted(load(*dump(model)))

    def predict(self, model: Any, matrix: np.ndarray) -> np.ndarray:
        """See `Estimator.predict`."""
        found: np.ndarray = model.predict_proba(matrix) if self.classes else model.predict(matrix)
        return found

    def graph(self, model: Any, features: int, opset: int) -> onnx.ModelProto:
        """See `Estimator.graph`."""
        from skl2onnx import convert_sklearn
        from skl2onnx.common.data_types import FloatTensorType

        found: onnx.ModelProto = convert_sklearn(
            model,
            initial_types=[("x", FloatTensorType([None, features]))],
            target_opset={"": min(opset, _MOST), "ai.onnx.ml": _ML},
            options={id(model): {"zipmap": False}} if self.classes else None,
        )
        return found

    def write(self, model: Any, root: Path) -> None:
        """``model.json`` and ``model.safetensors``: the fitted attributes."""
        from sluice.learners.estimators.scikit_state import dump, write

        write(*dump(model), root)

    def read(self, root: Path) -> Any:
        """See `Estimator.read`."""
        from sluice.learners.estimators.scikit_state import load, read

        return load(*read(root))
