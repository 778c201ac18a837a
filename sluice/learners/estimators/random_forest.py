"""Random forest (Breiman 2001): trees on samples of the rows, each split among some of the columns."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from sluice.learners.estimators.config import EstimatorModel
from sluice.learners.estimators.scikit import ScikitEstimator


class RandomForestModel(EstimatorModel):
    """scikit-learn's parameters of RandomForestClassifier and RandomForestRegressor."""

    n_estimators: int = Field(300, ge=1, le=10_000, description="trees")
    max_depth: int | None = Field(None, ge=1)
    min_samples_leaf: int = Field(2, ge=1, description="rows a leaf has at least; the model's size goes by it")
    max_features: Literal["sqrt", "log2"] | Annotated[float, Field(gt=0, le=1)] | None = Field(
        None, description="columns looked at for a split, as a share of all; null: sqrt for classes, a third for a quantity"
    )
    bootstrap: bool = True


class RandomForest(ScikitEstimator):
    """The mean over trees; a missing number is the mean of the training rows, with a flag beside it."""

    Model: ClassVar[type[EstimatorModel]] = RandomForestModel
    ranks = True

    def make(self) -> Any:
        """See `ScikitEstimator.make`."""
        from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

        s = self.settings
        kind = RandomForestClassifier if self.classes else RandomForestRegressor
        return kind(
            n_estimators=s.n_estimators,
            max_depth=s.max_depth,
            min_samples_leaf=s.min_samples_leaf,
            max_features=s.max_features if s.max_features is not None else "sqrt" if self.classes else 1 / 3,
            bootstrap=s.bootstrap,
            random_state=self.seed,
            n_jobs=self.threads,
        )
