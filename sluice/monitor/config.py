"""`monitor:` in the project file."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sluice.core.section import Section


class Drift(Section):
    """When the serving data counts as moved: the distance from the training profile."""

    method: Literal["psi", "js"] = "psi"
    threshold: float = Field(0.25, gt=0)


class Retrain(Section):
    """When to train again by itself."""

    schedule: str | None = Field(None, description="cron, five fields, in UTC")


class MonitorConfig(Section):
    """What is watched after the rollout."""

    drift: Drift = Drift()
    retrain: Retrain = Retrain()
