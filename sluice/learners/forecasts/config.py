"""`train:` of forecasts that boosted trees learn. No library that learns is imported here."""

from __future__ import annotations

from pydantic import Field

from sluice.learners.config import TrainSection


class TreesTrain(TrainSection):
    """What of `train:` it goes by; the trees' own settings stand under `model:`."""

    threads: int = Field(1, ge=1, description="CPU threads")
