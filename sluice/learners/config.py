"""What every learner's `train:` section has: the settings that the train step itself goes by."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from sluice.core.section import Names, Section

#: Of a label, against 1.
Weight = Annotated[float, Field(gt=0, le=1e6)]


class TrainSection(Section):
    """The base of a learner's own section, `Learner.Train`."""

    seed: int = Field(17, ge=0, lt=2**63)
    folds: int | None = Field(
        None, ge=2, le=100, description="cross-validate first, in so many parts of the training rows, stratified by label"
    )
    fold_groups: Annotated[str | None, Names("feature")] = Field(
        None, description="column whose equal values stay in one fold; null: rows with equal features do"
    )


class WeightedSection(TrainSection):
    """The section of a learner whose rows weigh by their label."""

    class_weights: Annotated[Literal["balanced"] | dict[str, Weight] | None, Names("class", ("balanced",))] = Field(
        None,
        description="how much a row of a label weighs in the loss, {label: weight}, 1 for the others; balanced: all labels together alike",
    )

    @field_validator("class_weights", mode="before")
    @classmethod
    def _as_labels_are_spelt(cls, weights: Any) -> Any:
        """YAML reads the label 1 as a number."""
        if not isinstance(weights, dict):
            return weights
        from sluice.core.spelling import value_text

        return {value_text(label) if isinstance(label, bool | int | float) else label: weight for label, weight in weights.items()}
