"""`tune:` in the project file."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from sluice.core.section import Section


class FloatRange(Section):
    """A number from `low` to `high`, both in; on a logarithmic scale with `log`."""

    type: Literal["float"]
    low: float
    high: float
    log: bool = False
    step: float | None = Field(None, gt=0)

    @model_validator(mode="after")
    def _is_a_range(self) -> FloatRange:
        _ordered(self.low, self.high, self.log)
        if self.log and self.step:
            raise ValueError("log and step exclude each other")
        return self

    @property
    def edges(self) -> list[float]:
        """The two ends."""
        return [self.low, self.high]


class IntRange(Section):
    """A whole number from `low` to `high`, both in."""

    type: Literal["int"]
    low: int
    high: int
    log: bool = False
    step: int = Field(1, ge=1)

    @model_validator(mode="after")
    def _is_a_range(self) -> IntRange:
        _ordered(self.low, self.high, self.log)
        if self.log and self.step != 1:
            raise ValueError("log and step exclude each other")
        return self

    @property
    def edges(self) -> list[int]:
        """The two ends."""
        return [self.low, self.high]


class Choice(Section):
    """One of several values."""

    type: Literal["categorical"]
    choices: list[str | int | float | bool | None] = Field(min_length=1)

    @property
    def edges(self) -> list[str | int | float | bool | None]:
        """All of them."""
        return self.choices


Range = Annotated[FloatRange | IntRange | Choice, Field(discriminator="type")]


class TuneConfig(Section):
    """The search for settings. A trial is a training; what it is judged by is measured on the validation rows."""

    space: dict[str, Range] = Field(min_length=1, description="a key below train or model (`train.learning_rate`) -> its range")
    trials: int = Field(20, ge=1)
    parallel: int = Field(1, ge=1, le=64, description="trainings at a time")
    sampler: Literal["tpe", "random"] = "tpe"
    pruner: Literal["asha", "hyperband", "none"] = "asha"
    metric: str | None = Field(None, description="loss or a validation metric; null: that of evaluate.metric")
    direction: Literal["minimize", "maximize"] | None = Field(None, description="null: as the metric says")
    seed: int = Field(17, ge=0, lt=2**32)
    storage: str | None = Field(
        None, description="journal:FILE or a database's URL; null: $SLUICE_TUNE_STORAGE, else a journal in the home"
    )

    @field_validator("space")
    @classmethod
    def _known_sections(cls, space: dict[str, Range]) -> dict[str, Range]:
        for key in space:
            if not key.startswith(("train.", "model.")) or not all(key.split(".")):
                raise ValueError(f"{key!r} is not below train or model: write for example train.learning_rate")
        return space

    @field_validator("storage")
    @classmethod
    def _known_scheme(cls, storage: str | None) -> str | None:
        known = ("journal:", "sqlite:///", "postgresql", "mysql")
        if storage is not None and not storage.startswith(known):
            raise ValueError("is no storage: write journal:FILE, sqlite:///FILE or a database's URL")
        return storage


def _ordered(low: float, high: float, log: bool) -> None:
    if low >= high:
        raise ValueError(f"low {low} must be below high {high}")
    if log and low <= 0:
        raise ValueError(f"a logarithmic range starts above 0, not at {low}")
