"""`monitor:` in the project file."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from sluice.core import cron
from sluice.core.section import Section

#: How two sets of counts are told apart.
Method = Literal["psi", "js", "wasserstein", "ks"]
#: From which distance on a shift counts where a project says nothing. A normal column that moves by half of its deviation is about as far in each.
LIMITS: dict[str, float] = {"psi": 0.25, "js": 0.2, "wasserstein": 0.5, "ks": 0.2}


class Window(Section):
    """How many predictions are judged together."""

    rows: int | None = Field(500, ge=20, le=10_000_000, description="close a window at so many rows; null: by time alone")
    seconds: float | None = Field(None, ge=1, le=366 * 86400, description="close a window at each whole multiple of so many seconds (UTC)")
    minimum: int = Field(100, ge=20, description="rows a window has at the least: one that time would close earlier goes on")

    @model_validator(mode="after")
    def _closes(self) -> Self:
        if self.rows is None and self.seconds is None:
            raise ValueError("is closed by nothing: set rows, seconds or both")
        if self.rows is not None and self.minimum > self.rows and "minimum" in self.model_fields_set:
            raise ValueError(f"minimum {self.minimum} is more than the {self.rows} rows that close a window")
        return self

    @property
    def least(self) -> int:
        """Rows a window has at the least."""
        return self.minimum if self.rows is None else min(self.minimum, self.rows)


class OwnDrift(Section):
    """Of one feature: what differs from the others."""

    method: Method | None = None
    threshold: float | None = Field(None, gt=0)
    watch: bool = Field(True, description="false: its distance is reported and raises no alarm")


class Drift(Section):
    """When the serving data counts as moved: the distance from the training profile."""

    method: Method = Field("psi", description="of features with no order (categories, words) psi stands in for wasserstein and ks")
    threshold: float | None = Field(
        None,
        gt=0,
        description="a shift of this distance is caught; null: the method's own, of psi 0.25, js 0.2, ks 0.2, wasserstein 0.5 deviations",
    )
    persistence: int = Field(
        2, ge=1, le=50, description="windows in a row that have to say so before an alarm is raised, and before it ends"
    )
    false_alarms: float = Field(
        0.01, gt=0, le=10, description="alarms a day and model, all features together, that are put up with where nothing moved"
    )
    windows_a_day: float = Field(288, gt=0, description="windows a day where rows tell no time; where they do, it is measured")
    baseline: int = Field(2000, ge=100, le=1_000_000, description="first rows a version answers, which its later answers are compared with")
    vectors: float = Field(
        0.15, gt=0, le=1.5, description="distance of whole texts, images and recordings (maximum mean discrepancy) that is caught"
    )
    nulls: float = Field(0.1, gt=0, le=1, description="change of a feature's share of missing values that counts")
    unseen: float = Field(0.05, gt=0, le=1, description="share of values the training rows did not have that counts")
    outside: float = Field(0.05, gt=0, le=1, description="share of values outside the training rows' range that counts")
    columns: dict[str, OwnDrift] = Field({}, description="feature -> what differs for it")

    def limit(self, method: str, feature: str = "") -> float:
        """The distance that is to be caught, in the method's own unit."""
        own = self.columns.get(feature)
        if own is not None and own.threshold is not None:
            return own.threshold
        return self.threshold if self.threshold is not None and method == self.method else LIMITS[method]

    def measured(self, feature: str) -> Method:
        """The method that decides for a feature with an order."""
        own = self.columns.get(feature)
        return own.method if own is not None and own.method is not None else self.method

    def watched(self, feature: str) -> bool:
        """Whether it may raise an alarm."""
        own = self.columns.get(feature)
        return own is None or own.watch


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
    errors: bool = Field(False, description="labels say that answers are wrong more often than they were, beyond doubt (monitor.quality)")
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


class Quality(Section):
    """How good the answers are once it is known what was true."""

    metric: str | None = Field(None, description="of the problem; null: the one it is judged by unless told")
    floor: float | None = Field(None, description="a window all of whose interval is worse is told; null: none")
    loss: float = Field(
        0.05, gt=0, lt=0.9, description="of the share of right answers: a loss of so much is looked for in the stream of labels"
    )
    detector: Literal["page_hinkley", "adwin"] = "page_hinkley"
    apart: float = Field(
        4000, ge=100, description="labelled rows between two times that a rise of errors is suspected by chance, on the average"
    )
    false_alarms: float = Field(
        0.01,
        gt=0,
        le=10,
        description="a day and model: how often errors are told to have risen where they have not; never oftener than apart says",
    )


class MonitorConfig(Section):
    """What is watched after the rollout."""

    window: Window = Window()
    drift: Drift = Drift()
    quality: Quality = Quality()
    retrain: Retrain = Retrain()
