"""Gradient boosting with exact splits (Friedman 2001), by scikit-learn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from sluice.learners.estimators.base import Fitted, Rows, Tell
from sluice.learners.estimators.config import EstimatorModel
from sluice.learners.estimators.rounds import loss_of
from sluice.learners.estimators.scikit import ScikitEstimator

if TYPE_CHECKING:
    import numpy as np


class GradientBoostingModel(EstimatorModel):
    """scikit-learn's parameters of GradientBoostingClassifier and GradientBoostingRegressor."""

    n_estimators: int = Field(300, ge=1, le=10_000, description="rounds; the one with the smallest validation loss is kept")
    learning_rate: float = Field(0.05, gt=0, le=1)
    max_depth: int = Field(3, ge=1, le=20)
    min_samples_leaf: int = Field(5, ge=1)
    subsample: float = Field(0.8, gt=0, le=1, description="share of rows a tree is grown on")
    max_features: float | None = Field(None, gt=0, le=1, description="columns looked at for a split, as a share of all; null: all")


class GradientBoosting(ScikitEstimator):
    """Every round is measured on the validation rows, and the best one's trees are kept."""

    Model: ClassVar[type[EstimatorModel]] = GradientBoostingModel
    ranks = True

    def make(self) -> Any:
        """See `ScikitEstimator.make`."""
        from sklearn.ensemble import GradientBoostingClassifier, GradientBoostingRegressor

        kind = GradientBoostingClassifier if self.classes else GradientBoostingRegressor
        return kind(**self.settings.model_dump(exclude={"estimator", "objective"}), random_state=self.seed)

    def fit(self, train: Rows, validation: Rows | None, tell: Tell) -> Fitted:
        """See `Estimator.fit`."""
        model = super().fit(train, validation, tell).model
        if validation is None:
            return Fitted(model)
        before, after = (self._losses(model, rows) for rows in (train, validation))
        for number, losses in enumerate(zip(before, after, strict=True), 1):
            tell(number, len(after), *losses)
        best = after.index(min(after)) + 1
        model.estimators_, model.n_estimators_ = model.estimators_[:best], best
        model.n_estimators = best
        return Fitted(model, best)

    def _losses(self, model: Any, rows: Rows) -> list[float]:
        """After each round."""
        steps = model.staged_predict_proba(rows.matrix) if self.classes else model.staged_predict(rows.matrix)
        answers: list[np.ndarray] = steps
        return [loss_of(a, rows.targets, rows.weights) for a in answers]
