"""An estimator of one's own: extremely randomised trees (Geurts, Ernst, Wehenkel 2006). Named in sluice.yaml as ``extra_trees:ExtraTrees``."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from sluice.learners.estimators.config import EstimatorModel
from sluice.learners.estimators.scikit import ScikitEstimator


class ExtraTreesModel(EstimatorModel):
    """Its settings: `model:` of the project file."""

    n_estimators: int = Field(100, ge=1, description="trees")
    min_samples_leaf: int = Field(2, ge=1)


class ExtraTrees(ScikitEstimator):
    """Trees whose thresholds are drawn at random."""

    Model = ExtraTreesModel
    ranks = True

    def make(self) -> Any:
        """What scikit-learn is to fit."""
        from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor

        kind = ExtraTreesClassifier if self.classes else ExtraTreesRegressor
        return kind(**self.settings.model_dump(include={"n_estimators", "min_samples_leaf"}), random_state=self.seed)
