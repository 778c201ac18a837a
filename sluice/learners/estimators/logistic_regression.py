"""Logistic regression, multinomial for more than two classes."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from sluice.learners.estimators.config import EstimatorModel
from sluice.learners.estimators.scikit import ScikitEstimator


class LogisticRegressionModel(EstimatorModel):
    """scikit-learn's parameters of LogisticRegression."""

    C: float = Field(1.0, gt=0, description="inverse of the strength of the L2 penalty")
    max_iter: int = Field(1000, ge=1)
    tol: float = Field(1e-4, gt=0)
    fit_intercept: bool = True


class LogisticRegression(ScikitEstimator):
    """A linear model of classes, over standardised numbers and a column for each of a category's commonest values."""

    Model: ClassVar[type[EstimatorModel]] = LogisticRegressionModel
    measures = False
    scaled = True

    def make(self) -> Any:
        """See `ScikitEstimator.make`."""
        from sklearn.linear_model import LogisticRegression as Linear

        s = self.settings
        return Linear(C=s.C, max_iter=s.max_iter, tol=s.tol, fit_intercept=s.fit_intercept, random_state=self.seed)
