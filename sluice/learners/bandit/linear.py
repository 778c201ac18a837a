"""Ridge regression as an estimator: slopes and one number, in closed form."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from sluice.core import files
from sluice.learners.estimators.base import Estimator, Fitted, Rows, Tell
from sluice.learners.estimators.config import EstimatorModel

if TYPE_CHECKING:
    import onnx

_FILE = "model.safetensors"


class Ridge(Estimator):
    """Least squares with a penalty on the slopes (Hoerl, Kennard 1970)."""

    Model: ClassVar[type[EstimatorModel]] = EstimatorModel
    libraries: ClassVar[tuple[str, ...]] = ()
    classifies: ClassVar[bool] = False
    scaled: ClassVar[bool] = True

    def fit(self, train: Rows, validation: Rows | None, tell: Tell) -> Fitted:
        """See `Estimator.fit`; in float64."""
        x = np.concatenate([train.matrix.astype(np.float64), np.ones((len(train.matrix), 1))], axis=1)
        penalty = max(self.settings.l2, 1e-9) * np.eye(x.shape[1])
        penalty[-1, -1] = 0.0
        slopes = np.linalg.solve(x.T @ x + penalty, x.T @ train.targets)
        return Fitted({"slopes": slopes[:-1].astype(np.float32), "base": slopes[-1:].astype(np.float32)})

    def predict(self, model: Any, matrix: np.ndarray) -> np.ndarray:
        """Values [rows]."""
        return np.asarray(matrix @ model["slopes"] + model["base"][0])

    def graph(self, model: Any, features: int, opset: int) -> onnx.ModelProto:
        """One product."""
        from onnx import TensorProto, helper

        from sluice.learners.tables.nodes import Nodes

        g = Nodes()
        g.add("Gemm", "x", g.constant(model["slopes"][:, None]), g.constant(model["base"]), name="y")
        inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", features])]
        return g.model(inputs, [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", 1])], opset)

    def write(self, model: Any, root: Path) -> None:
        """As safetensors."""
        from safetensors.numpy import save

        files.write_bytes(root / _FILE, save(model))

    def read(self, root: Path) -> Any:
        """See `Estimator.read`."""
        from safetensors import SafetensorError
        from safetensors.numpy import load

        try:
            return load((root / _FILE).read_bytes())
        except SafetensorError as e:
            raise ValueError(f"{_FILE}: {e}") from e
