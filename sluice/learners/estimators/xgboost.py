"""XGBoost: gradient-boosted trees over histograms (Chen, Guestrin, KDD 2016)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from sluice.core.errors import MissingExtra
from sluice.learners.estimators.base import Estimator, Fitted, Rows, Tell
from sluice.learners.estimators.config import EstimatorModel, MonotoneModel

if TYPE_CHECKING:
    import numpy as np
    import onnx

_FILE = "xgboost.json"


class XGBoostModel(MonotoneModel):
    """XGBoost's parameters, by its own names; n_estimators is the most rounds there are."""

    n_estimators: int = Field(1000, ge=1, le=100_000, description="most rounds; early stopping ends them")
    early_stopping_rounds: int | None = Field(50, ge=1, description="rounds without a smaller validation loss; null: all n_estimators")
    learning_rate: float = Field(0.05, gt=0, le=1)
    max_depth: int = Field(6, ge=1, le=20)
    min_child_weight: float = Field(1.0, ge=0)
    subsample: float = Field(0.8, gt=0, le=1, description="share of rows a tree is grown on")
    colsample_bytree: float = Field(0.8, gt=0, le=1, description="share of columns a tree is grown on")
    gamma: float = Field(0.0, ge=0, description="least gain of a split")
    reg_lambda: float = Field(1.0, ge=0)
    reg_alpha: float = Field(0.0, ge=0)
    max_bin: int = Field(256, ge=2, le=4096)


#: Sections' fields that are no parameters of the library's.
_OURS = {"estimator", "objective", "n_estimators", "early_stopping_rounds", "monotone"}


class XGBoost(Estimator):
    """A missing number is XGBoost's own missing; a category's columns are dense, since it would take a sparse 0 for missing."""

    Model: ClassVar[type[EstimatorModel]] = XGBoostModel
    libraries = ("xgboost", "xgboost-cpu", "onnxmltools")
    reads_missing = True
    ranks = True

    @property
    def loss(self) -> str:
        """XGBoost's name of what rounds are judged by."""
        return {0: "rmse", 2: "logloss"}.get(self.classes, "mlogloss")

    def parameters(self, train: Rows) -> dict[str, Any]:
        """As the library takes them."""
        return {
            **self.settings.model_dump(exclude=_OURS),
            "objective": {0: "reg:squarederror", 2: "binary:logistic"}.get(self.classes, "multi:softprob"),
            "eval_metric": self.loss,
            "tree_method": "hist",
            "seed": self.seed,
            "nthread": self.threads,
            **({"monotone_constraints": tuple(train.monotone)} if train.monotone else {}),
            **({"num_class": self.classes} if self.classes > 2 else {}),
        }

    def fit(self, train: Rows, validation: Rows | None, tell: Tell) -> Fitted:
        """See `Estimator.fit`."""
        xgb, most, patience = library(), self.settings.n_estimators, self.settings.early_stopping_rounds
        name = self.loss

        class Told(xgb.callback.TrainingCallback):  # type: ignore[misc,name-defined]
            """Hands each round's losses on."""

            def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
                losses = [log[name][-1] for log in evals_log.values()]
                tell(epoch + 1, most, *(v**2 if name == "rmse" else v for v in losses))
                return False

        sets = [(xgb.DMatrix(r.matrix, r.targets, weight=r.weights), s) for r, s in ((train, "train"), (validation, "validation")) if r]
        stop = [xgb.callback.EarlyStopping(rounds=patience)] if validation and patience else []
        booster = xgb.train(self.parameters(train), sets[0][0], most, evals=sets, callbacks=[Told(), *stop], verbose_eval=False)
        rounds = booster.num_boosted_rounds()
        best = booster.best_iteration + 1 if stop else rounds
        return Fitted(booster[:best], best, stopped=bool(stop) and rounds < most)

    def predict(self, model: Any, matrix: np.ndarray) -> np.ndarray:
        """See `Estimator.predict`."""
        import numpy as np

        found: np.ndarray = model.predict(library().DMatrix(matrix))
        return np.stack([1 - found, found], axis=1) if self.classes == 2 else found

    def shap(self, model: Any, matrix: np.ndarray) -> np.ndarray:
        """TreeSHAP (Lundberg et al., Nature Machine Intelligence 2, 2020), by XGBoost; the last column, the base, left out."""
        found: np.ndarray = model.predict(library().DMatrix(matrix), pred_contribs=True)
        return found.reshape(len(matrix), -1, matrix.shape[1] + 1)[:, :, :-1]

    def graph(self, model: Any, features: int, opset: int) -> onnx.ModelProto:
        """See `Estimator.graph`."""
        from onnxmltools.convert import convert_xgboost
        from onnxmltools.convert.common.data_types import FloatTensorType

        found: onnx.ModelProto = convert_xgboost(model, initial_types=[("x", FloatTensorType([None, features]))], target_opset=15)
        return found

    def write(self, model: Any, root: Path) -> None:
        """XGBoost's own JSON."""
        model.save_model(root / _FILE)

    def read(self, root: Path) -> Any:
        """See `Estimator.read`."""
        return self.opened(root / _FILE)

    def opened(self, path: Path) -> Any:
        """A booster's file. Raises `OSError`, `ValueError`: it is not there, or none."""
        if not path.is_file():
            raise FileNotFoundError(f"{path.name} is not there")
        booster = library().Booster({"nthread": self.threads})
        booster.load_model(path)
        return booster


def library() -> Any:
    """XGBoost itself. Raises `MissingExtra`."""
    try:
        import xgboost
    except ImportError as e:
        raise MissingExtra("needs xgboost", field="model.estimator", value="xgboost", fix="pip install 'sluice-ml[train]'") from e
    return xgboost
