"""A support vector classifier, with probabilities by Platt's method (1999) over cross-validated decisions."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from sluice.core.errors import DataError
from sluice.learners.estimators.base import Fitted, Rows, Tell
from sluice.learners.estimators.config import EstimatorModel
from sluice.learners.estimators.scikit import ScikitEstimator

_FOLDS = 5


class SVCModel(EstimatorModel):
    """scikit-learn's parameters of SVC."""

    C: float = Field(1.0, gt=0)
    kernel: Literal["rbf", "linear", "poly", "sigmoid"] = "rbf"
    gamma: Literal["scale", "auto"] | Annotated[float, Field(gt=0)] = "scale"
    degree: int = Field(3, ge=1, le=10, description="of the polynomial kernel")
    coef0: float = 0.0
    tol: float = Field(1e-3, gt=0)
    max_rows: int = Field(20_000, ge=10, description="most training rows it is fitted to: time grows with their square")


class SVC(ScikitEstimator):
    """Over standardised numbers and a column for each of a category's commonest values."""

    Model: ClassVar[type[EstimatorModel]] = SVCModel
    measures = False
    scaled = True

    def fit(self, train: Rows, validation: Rows | None, tell: Tell) -> Fitted:
        """See `Estimator.fit`. Raises `DataError`: too many rows, or too few of a class."""
        rows, least = len(train.targets), int(np.bincount(train.targets, minlength=self.classes).min())
        if rows > self.settings.max_rows:
            raise DataError(
                "are too many for a support vector classifier",
                field="training rows",
                value=rows,
                fix=f"raise model.max_rows above {self.settings.max_rows} and wait, or name another model.estimator",
            )
        if least < 2:
            raise DataError(
                "are too few of one class for its probabilities", field="training rows", value=least, fix="give at least 2 of each"
            )
        self._folds = min(_FOLDS, least)
        return super().fit(train, validation, tell)

    def make(self) -> Any:
        """See `ScikitEstimator.make`."""
        from sklearn.calibration import CalibratedClassifierCV
        from sklearn.model_selection import StratifiedKFold
        from sklearn.svm import SVC as Machine

        s = self.settings
        machine = Machine(C=s.C, kernel=s.kernel, gamma=s.gamma, degree=s.degree, coef0=s.coef0, tol=s.tol, random_state=self.seed)
        folds = StratifiedKFold(self._folds, shuffle=True, random_state=self.seed)
        return CalibratedClassifierCV(machine, ensemble=False, cv=folds, n_jobs=1)
