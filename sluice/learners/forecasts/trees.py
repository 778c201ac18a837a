"""LightGBM of one quantile (Koenker, Bassett: Regression quantiles, Econometrica 46, 1978, 33-50)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from sluice.learners.estimators.lightgbm import LightGBM, LightGBMModel, library

if TYPE_CHECKING:
    import onnx


class QuantileTrees(LightGBM):
    """Trees whose answer is the value that a share `quantile` of the values do not pass."""

    def __init__(self, settings: LightGBMModel, seed: int, threads: int, quantile: float):
        super().__init__(settings, 0, seed, threads)
        self.quantile = quantile

    def objective(self) -> dict[str, Any]:
        """See `LightGBM.objective`."""
        return {"objective": "quantile", "alpha": self.quantile, "metric": "quantile"}

    def graph(self, model: Any, features: int, opset: int) -> onnx.ModelProto:
        """As `LightGBM.graph`, whose converter knows sums of trees by the name of the mean's objective alone."""
        text = re.sub(r"^objective=.*$", "objective=regression", model.model_to_string(), flags=re.M)
        return super().graph(library().Booster(model_str=text), features, opset)
