"""`monitor:` in the project file."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from sluice.core import cron
from sluice.core.section import Section


class Drift(Section):
    """When the serving data counts as moved: the distance from the training profile."""

    method: Literal["psi", "js"] = "psi"
    threshold: float = Field(0.25, gt=0)


class Drifted(Section):
    """Drift that lasts: the score of so many windows in a row is over the threshold."""

    threshold: float = Field(0.25, gt=0)
    windows: int = Field(3, ge=1, le=32)


class Worse(Section):
    """Quality that falls: the metric of so many windows in a row is under the floor."""

    floor: float
    windows: int = Field(1, ge=1, le=32)


class Retrain(Section):
    """When to train again by itself. Nothing is said: by hand, and by alerts and events that ask for it."""

    schedule: str | None = Field(None, description="cron, five fields: 0 2 * * * is every night at two")
    time_zone: str = Field("UTC", description="of the schedule, by its IANA name: Europe/Berlin")
    drift: Drifted | None = None
    quality: Worse | None = None
    new_rows: int | None = Field(None, ge=1, description="labelled rows that have come in since the last retraining")
    per_day: int = Field(1, ge=1, le=48, description="how many retrainings may begin within 24 hours, but for those by hand")
    cool_down_hours: float = Field(6, ge=0, le=8760, description="between the end of one and the beginning of the next")
    back_off_hours: float = Field(
        24, ge=0, le=8760, description="after one that was refused or failed; doubled with each in a row, up to a week"
    )

    @field_validator("schedule")
    @classmethod
    def _a_schedule(cls, value: str | None) -> str | None:
        if value is not None:
            cron.parse(value, "monitor.retrain.schedule")
        return value

    @field_validator("time_zone")
    @classmethod
    def _a_zone(cls, value: str) -> str:
        cron.zone(value, "monitor.retrain.time_zone")
        return value


class MonitorConfig(Section):
    """What is watched after the rollout."""

    drift: Drift = Drift()
    retrain: Retrain = Retrain()
