"""`evaluate:` in the project file."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from sluice.config import Names, Section


class BaselinesConfig(Section):
    """What a trivial model (majority class, mean) and a linear one on the same fields have to say; both are always trained."""

    on_no_better: Literal["refuse", "warn"] = Field("refuse", description="when the model is shown to be no better than the trivial one")
    on_ahead: Literal["warn", "refuse"] = Field("warn", description="when the linear one is better beyond doubt")
    seconds: float = Field(60, gt=0, le=3600, description="processor time the linear one may take; past that the gate goes on without it")


class EvaluateConfig(Section):
    """The bar a model has to clear, and how it is compared with the champion."""

    metric: Literal["accuracy", "macro_f1", "balanced_accuracy", "log_loss", "rmse", "mae", "r2"] | None = Field(
        None, description="null: accuracy for classification, rmse for regression")
    minimum: float | None = Field(None, description="worst value accepted (a maximum for losses and errors)")
    margin: float = Field(0.005, ge=0, description="how much worse than the champion is still no worse; for rmse and mae a fraction of its value")
    on_inconclusive: Literal["continue", "refuse"] = Field(
        "continue", description="when the held-out rows are too few to tell: let the rollout decide, or stop")
    slices: Annotated[list[str], Names("field")] = Field([], description="columns whose values are reported apart; 'label' for classes")
    slice_minimum: float | None = Field(None, description="worst value accepted on a slice")
    slice_rows: int = Field(10, ge=1, description="rows a slice needs for slice_minimum to apply to it")
    confidence: float = Field(0.95, gt=0.5, lt=1)
    resamples: int = Field(1000, ge=100)
    baselines: BaselinesConfig = BaselinesConfig()
