"""LightGBM: gradient-boosted trees grown leaf by leaf (Ke et al., NeurIPS 2017)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field

from sluice.core import files
from sluice.core.errors import MissingExtra
from sluice.learners.estimators.base import Estimator, Fitted, Rows, Tell
from sluice.learners.estimators.config import EstimatorModel, MonotoneModel
from sluice.learners.estimators.thresholds import down

if TYPE_CHECKING:
    import onnx

_FILE = "lightgbm.txt"
_OURS = {"estimator", "objective", "n_estimators", "early_stopping_rounds", "monotone"}


class LightGBMModel(MonotoneModel):
    """LightGBM's parameters, by its scikit-learn names; n_estimators is the most rounds there are."""

    n_estimators: int = Field(1000, ge=1, le=100_000, description="most rounds; early stopping ends them")
    early_stopping_rounds: int | None = Field(50, ge=1, description="rounds without a smaller validation loss; null: all n_estimators")
    learning_rate: float = Field(0.05, gt=0, le=1)
    num_leaves: int = Field(31, ge=2, le=131_072)
    max_depth: int = Field(-1, ge=-1, le=64, description="-1: num_leaves alone bounds a tree")
    min_child_samples: int = Field(20, ge=1)
    subsample: float = Field(0.8, gt=0, le=1, description="share of rows a tree is grown on")
    colsample_bytree: float = Field(0.8, gt=0, le=1, description="share of columns a tree is grown on")
    reg_lambda: float = Field(0.0, ge=0)
    reg_alpha: float = Field(0.0, ge=0)
    max_bin: int = Field(255, ge=2, le=65_535)


class LightGBM(Estimator):
    """A missing number is LightGBM's own missing; thresholds are rounded down to numbers of 32 bits, which changes no answer to such numbers."""

    Model: ClassVar[type[EstimatorModel]] = LightGBMModel
    libraries = ("lightgbm", "onnxmltools")
    reads_missing = True
    ranks = True

    def fit(self, train: Rows, validation: Rows | None, tell: Tell) -> Fitted:
        """See `Estimator.fit`."""
        lgb, most, patience = library(), self.settings.n_estimators, self.settings.early_stopping_rounds
        parameters = {
            **self.settings.model_dump(exclude=_OURS),
            **self.objective(),
            "subsample_freq": 1,
            "seed": self.seed,
            "num_threads": self.threads,
            "deterministic": True,
            "force_row_wise": True,
            "verbosity": -1,
            **({"monotone_constraints": list(train.monotone)} if train.monotone else {}),
            **({"num_class": self.classes} if self.classes > 2 else {}),
        }
        sets = [lgb.Dataset(train.matrix, train.targets, weight=train.weights, params={"verbosity": -1})]
        if validation is not None:
            sets.append(lgb.Dataset(validation.matrix, validation.targets, weight=validation.weights, reference=sets[0]))

        def told(round_: Any) -> None:
            tell(round_.iteration + 1, most, *(value for _, _, value, _ in round_.evaluation_result_list))

        stops = validation is not None and patience is not None
        stop = [lgb.early_stopping(patience, verbose=False)] if stops else []
        booster = lgb.train(
            parameters, sets[0], most, valid_sets=sets, valid_names=["train", "validation"][: len(sets)], callbacks=[told, *stop]
        )
        rounds = booster.current_iteration()
        best = booster.best_iteration if stops and booster.best_iteration > 0 else rounds
        return Fitted(_rounded(booster.model_to_string(num_iteration=best)), best, stopped=stops and rounds < most)

    def objective(self) -> dict[str, Any]:
        """LightGBM's parameters of what is learnt, and what rounds are judged by."""
        return {
            "objective": {0: "regression", 2: "binary"}.get(self.classes, "multiclass"),
            "metric": {0: "l2", 2: "binary_logloss"}.get(self.classes, "multi_logloss"),
        }

    def predict(self, model: Any, matrix: np.ndarray) -> np.ndarray:
        """See `Estimator.predict`."""
        found: np.ndarray = model.predict(matrix, num_threads=self.threads)
        return np.stack([1 - found, found], axis=1) if self.classes == 2 else found

    def shap(self, model: Any, matrix: np.ndarray) -> np.ndarray:
        """TreeSHAP (Lundberg et al., Nature Machine Intelligence 2, 2020), by LightGBM; the last column, the base, left out."""
        found = np.asarray(model.predict(matrix, pred_contrib=True, num_threads=self.threads))
        return found.reshape(len(matrix), -1, matrix.shape[1] + 1)[:, :, :-1]

    def graph(self, model: Any, features: int, opset: int) -> onnx.ModelProto:
        """See `Estimator.graph`."""
        from onnxmltools.convert import convert_lightgbm
        from onnxmltools.convert.common.data_types import FloatTensorType

        found: onnx.ModelProto = convert_lightgbm(
            model, initial_types=[("x", FloatTensorType([None, features]))], target_opset=15, zipmap=False
        )
        return found

    def write(self, model: Any, root: Path) -> None:
        """LightGBM's own text."""
        files.write_text(root / _FILE, model.model_to_string())

    def read(self, root: Path) -> Any:
        """See `Estimator.read`."""
        lgb = library()
        try:
            return lgb.Booster(model_str=(root / _FILE).read_text(encoding="utf-8"))
        except lgb.basic.LightGBMError as e:
            raise ValueError(str(e)) from e


def _rounded(text: str) -> Any:
    """A model's text as a booster whose thresholds are rounded down to 32 bits, so that the graph's are the same."""

    def line(found: re.Match[str]) -> str:
        return "threshold=" + " ".join(repr(v) for v in down(np.array(found[1].split(), dtype=np.float64)).tolist())

    lgb = library()
    # The lengths of the trees' texts, which LightGBM reads them by, are no longer true.
    plain = re.sub(r"^tree_sizes=.*\n", "", re.sub(r"^threshold=(.+)$", line, text, flags=re.M), flags=re.M)
    return lgb.Booster(model_str=plain)


def library() -> Any:
    """The package. Raises `MissingExtra`: it is not installed, or cannot be loaded."""
    try:
        import lightgbm
    except ImportError as e:
        raise MissingExtra("needs lightgbm", field="model.estimator", value="lightgbm", fix="pip install 'sluice-ml[train]'") from e
    except OSError as e:  # its own library is not found: libgomp.so.1 on slim systems
        raise MissingExtra(
            f"cannot be loaded: {e}", field="model.estimator", value="lightgbm", fix="install libgomp1 (apt-get), or libomp"
        ) from e
    return lightgbm
