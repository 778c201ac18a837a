"""What is unusual among rows, by an isolation forest or by the distance from the mean, whichever labelled rows show to be the better."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from sluice.core import files
from sluice.core.errors import DataError
from sluice.learners.estimators.base import Estimator, Fitted, Rows, Tell
from sluice.learners.estimators.config import EstimatorModel
from sluice.learners.estimators.isolation_forest import Isolation, IsolationForest, IsolationForestModel
from sluice.learners.unusual import learnt_from

if TYPE_CHECKING:
    import numpy as np
    import onnx

    from sluice.learners.tables.score_curve import ScoreCurve

FOREST, DISTANCE = "forest", "distance"
#: Anomalies without which nothing tells which of the two is better.
_FEWEST = 10
#: Most features whose covariance is taken, and what is added to their variances, as a share of the mean one.
_MOST_JOINT, _SHRINKAGE = 400, 0.05
_METHOD, _CURVE, _TENSORS = "method.json", "distance.json", "distance.safetensors"


class DetectorModel(IsolationForestModel):
    """Settings of the forest, and which of the two it is."""

    method: Literal["auto", "forest", "distance"] = Field(
        "auto",
        description="auto: what ranks labelled anomalies better, of training rows that are not learnt from and of validation; the forest where these are too few",
    )


@dataclasses.dataclass(frozen=True)
class Distance:
    """The squared distance from the mean by the covariance, shrunk (Mahalanobis, 1936).

    Attributes:
        mean: FP64 [features].
        weights: what makes a difference from the mean of length 1 where it is usual: FP64 [features, features], or of very many features [features].
        curve: what its logarithm becomes.
    """

    mean: np.ndarray
    weights: np.ndarray
    curve: ScoreCurve


class Detector(Estimator):
    """A forest sees what is extreme in a column, the distance what columns do not have together; which of these anomalies are, labels tell."""

    Model: ClassVar[type[EstimatorModel]] = DetectorModel
    libraries: ClassVar[tuple[str, ...]] = ("scikit-learn",)
    detects = True
    ranks = True
    scaled = True
    one_hot = False
    about = "an isolation forest or the distance from the mean"

    def fit(self, train: Rows, validation: Rows | None, tell: Tell) -> Fitted:
        """See `Estimator.fit`. Raises as `IsolationForest.fit`."""
        wanted = self.settings.method
        if wanted == FOREST:
            return self._forest.fit(train, validation, tell)
        if wanted == DISTANCE:
            return Fitted(self._distance(train))
        found = {FOREST: self._forest.fit(train, validation, tell).model, DISTANCE: self._distance(train)}
        judged = _judged(train, validation, self.settings.rows)
        if judged is None:
            return Fitted(found[FOREST], text="the forest: too few labelled anomalies tell whether the distance from the mean is better")
        worth = {name: _precision(self.predict(model, judged.matrix)[:, 0], judged.targets) for name, model in found.items()}
        best = max(worth, key=lambda name: worth[name])
        told = " and ".join(f"{name} {value:.3f}" for name, value in worth.items())
        return Fitted(found[best], text=f"{best}, by average precision on {len(judged.targets):,} rows that were not learnt from: {told}")

    @property
    def _forest(self) -> IsolationForest:
        return IsolationForest(self.settings, self.classes, self.seed, self.threads)

    def _distance(self, train: Rows) -> Distance:
        import numpy as np

        from sluice.learners.tables.score_curve import ScoreCurve

        x = train.matrix[learnt_from(train.targets, self.settings.rows)].astype(np.float64)
        mean, variance = x.mean(axis=0), x.var(axis=0)
        shrunk = _SHRINKAGE * max(float(variance.mean()), 1e-12)
        if len(mean) > _MOST_JOINT:
            weights = 1 / np.sqrt(variance + shrunk)
        else:
            inverse = np.linalg.inv(np.cov(x.T).reshape(len(mean), -1) + shrunk * np.eye(len(mean)))
            weights = np.linalg.cholesky((inverse + inverse.T) / 2)
        try:
            return Distance(mean, weights, ScoreCurve.fitted(_far(x, mean, weights), self.settings.contamination))
        except ValueError as e:
            raise DataError(f"cannot be told apart: {e}", field="training rows", fix="give columns that vary") from e

    def predict(self, model: Isolation | Distance, matrix: np.ndarray) -> np.ndarray:
        """Scores [rows, 2]; see `Estimator.predict`."""
        if isinstance(model, Isolation):
            return self._forest.predict(model, matrix)
        return model.curve.of(_far(matrix.astype("float64"), model.mean, model.weights))

    def graph(self, model: Isolation | Distance, features: int, opset: int) -> onnx.ModelProto:
        """The forest's, or the distance by two products of matrices; see `Estimator.graph`."""
        if isinstance(model, Isolation):
            return self._forest.graph(model, features, opset)
        import numpy as np
        from onnx import TensorProto, helper

        from sluice.learners.tables.nodes import Nodes

        g = Nodes()
        away = g.add("Sub", "x", g.constant(model.mean.astype(np.float32)[None]))
        joint = model.weights.ndim == 2
        away = g.add("MatMul" if joint else "Mul", away, g.constant(model.weights.astype(np.float32)[... if joint else None]))
        squared = g.add("MatMul", g.add("Mul", away, away), g.constant(np.ones((features, 1), np.float32)))
        answer = model.curve.nodes(g, g.add("Log", g.add("Add", squared, g.number(1.0))))
        ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", size]) for n, size in (("x", features), (answer, 2))]
        return g.model(ends[:1], ends[1:], opset)

    def write(self, model: Isolation | Distance, root: Path) -> None:
        """Which of the two, and it: attributes of the forest, or mean and weights, as JSON and tensors."""
        files.write_json(root / _METHOD, {"method": FOREST if isinstance(model, Isolation) else DISTANCE})
        if isinstance(model, Isolation):
            self._forest.write(model, root)
            return
        from safetensors.numpy import save_file

        save_file({"mean": model.mean, "weights": model.weights}, root / _TENSORS)
        files.write_json(root / _CURVE, model.curve.dump())

    def read(self, root: Path) -> Isolation | Distance:
        """See `Estimator.read`."""
        if files.read_json(root / _METHOD)["method"] == FOREST:
            return self._forest.read(root)
        from safetensors.numpy import load_file

        from sluice.learners.tables.score_curve import ScoreCurve

        tensors: dict[str, Any] = load_file(root / _TENSORS)
        return Distance(tensors["mean"], tensors["weights"], ScoreCurve.load(files.read_json(root / _CURVE)))


def _far(x: np.ndarray, mean: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The logarithm of 1 and the squared distance, FP64 [rows]."""
    import numpy as np

    away = (x - mean) @ weights if weights.ndim == 2 else (x - mean) * weights
    found: np.ndarray = np.log1p((away**2).sum(axis=1))
    return found


def _judged(train: Rows, validation: Rows | None, rows: str) -> Rows | None:
    """Labelled rows that no model learnt from: anomalies of training, and validation; None: too few anomalies, or nothing beside them."""
    import numpy as np

    from sluice.problems.anomaly import ANOMALY, LABELS

    if validation is None:
        return None
    odd = np.asarray(train.targets) == LABELS.index(ANOMALY)
    found = validation.and_(train.only(odd)) if rows != "all" else validation
    n = int((np.asarray(found.targets) == LABELS.index(ANOMALY)).sum())
    return found if _FEWEST <= n < len(found.targets) else None


def _precision(scores: np.ndarray, targets: np.ndarray) -> float:
    """Average precision of the scores of an anomaly."""
    from sklearn.metrics import average_precision_score

    from sluice.problems.anomaly import ANOMALY, LABELS

    return float(average_precision_score(targets == LABELS.index(ANOMALY), scores))
