"""Boosted trees and a linear model, mixed by how well each answers rows it has not seen: good on thirty rows and on many."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from sluice.learners.estimators.base import Estimator, Fitted, Rows, Tell
from sluice.learners.estimators.config import EstimatorModel, MonotoneModel
from sluice.learners.estimators.xgboost import XGBoost, XGBoostModel

if TYPE_CHECKING:
    import numpy as np
    import onnx

    from sluice.learners.estimators.mixture import Mixture

#: How deep trees are: what is tried, the first where rows are many.
DEPTHS = (6, 3)


class AutoModel(MonotoneModel):
    """Settings of the two models and of their mixture; the defaults are for tables of any size."""

    folds: int = Field(5, ge=2, le=20, description="parts of the training rows: trees are grown without each, and judged on it")
    bagged_rows: int = Field(20_000, ge=0, description="up to so many training rows trees are grown once a fold and averaged; beyond, once")
    n_estimators: int = Field(1000, ge=1, le=100_000, description="most rounds; early stopping ends them")
    early_stopping_rounds: int = Field(30, ge=1, description="rounds without a smaller loss on held-out rows")
    learning_rate: float = Field(0.1, gt=0, le=1)
    max_depth: int | None = Field(None, ge=1, le=20, description=f"of trees; null: the better of {DEPTHS[0]} and {DEPTHS[1]}")


class Auto(Estimator):
    """XGBoost, one model a fold (bagging; Breiman 1996), and logistic or ridge regression; their answers are added with the weights that suit
    rows neither was fitted to (stacking; Wolpert 1992): those of the folds, or of validation where folds would mix what lies apart in time.
    """

    Model: ClassVar[type[EstimatorModel]] = AutoModel
    libraries = ("xgboost", "xgboost-cpu", "onnxmltools", "scikit-learn")
    reads_missing = True
    ranks = True
    about = "boosted trees and a linear model"

    def fit(self, train: Rows, validation: Rows | None, tell: Tell) -> Fitted:
        """See `Estimator.fit`."""
        from sluice.learners.estimators.mixing import mixed

        return mixed(self, train, validation)

    def booster(self, depth: int) -> XGBoost:
        """The trees' own estimator."""
        s = self.settings
        settings = XGBoostModel(
            estimator="xgboost",
            n_estimators=s.n_estimators,
            early_stopping_rounds=s.early_stopping_rounds,
            learning_rate=s.learning_rate,
            max_depth=depth,
        )
        return XGBoost(settings, self.classes, self.seed, self.threads)

    def predict(self, model: Mixture, matrix: np.ndarray) -> np.ndarray:
        """See `Estimator.predict`."""
        return model.answers(self.booster(1), matrix)

    def shap(self, model: Mixture, matrix: np.ndarray) -> np.ndarray | None:
        """The trees' part alone: XGBoost's own, the mean over the boosters."""
        import numpy as np

        one = self.booster(1)
        return np.mean([one.shap(b, matrix) for b in model.boosters], axis=0) if model.boosters else None

    def graph(self, model: Mixture, features: int, opset: int) -> onnx.ModelProto:
        """See `Estimator.graph`."""
        return model.graph(self.booster(1), features, self.classes, opset)

    def write(self, model: Mixture, root: Path) -> None:
        """XGBoost's own JSON of each booster, and the rest as JSON."""
        model.write(root)

    def read(self, root: Path) -> Mixture:
        """See `Estimator.read`."""
        from sluice.learners.estimators.mixture import Mixture

        return Mixture.read(root, self.booster(1))
