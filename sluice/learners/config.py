"""What every learner's `train:` section has: the settings that the train step itself goes by."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from sluice.core.section import Names, Section


class TrainSection(Section):
    """The base of a learner's own section, `Learner.Train`."""

    seed: int = Field(17, ge=0, lt=2**63)
    folds: int | None = Field(
        None, ge=2, le=100, description="cross-validate first, in so many parts of the training rows, stratified by label"
    )
    fold_groups: Annotated[str | None, Names("feature")] = Field(
        None, description="column whose equal values stay in one fold; null: rows with equal features do"
    )
