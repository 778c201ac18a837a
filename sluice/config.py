"""The base of every section of the project file: strict, frozen, and with named units."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A part of ``sluice.yaml``: unknown keys are errors, values are never coerced by guess."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, validate_default=True)
