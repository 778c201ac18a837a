"""By what a model is judged: the part of `evaluate:` that every judgement goes by."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, WithJsonSchema, field_validator, model_validator

from sluice.core.section import Names, Section
from sluice.problems.problem import PROBLEMS


def _there(name: str) -> str:
    """A problem's name, or ``auto``; one of the project's own is looked for when the project's folder is known."""
    if name != "auto" and ":" not in name and name not in PROBLEMS:
        raise ValueError(f"unknown problem: {PROBLEMS.nearest(name)}")
    return name


#: For editors: the problems there are by name; a project's own is known by its colon.
_SCHEMA = {"anyOf": [{"enum": ["auto", *PROBLEMS.names()]}, {"type": "string", "pattern": ":"}]}
ProblemName = Annotated[str, AfterValidator(_there), WithJsonSchema(_SCHEMA)]


class CostsConfig(Section):
    """What a mistake costs, in any unit; a right answer costs nothing."""

    false_positive: float = Field(1.0, ge=0)
    false_negative: float = Field(1.0, ge=0)


class DecisionConfig(Section):
    """What the threshold is chosen for, on the validation rows."""

    aim: Literal["f1", "balanced_accuracy", "mcc", "cost", "precision", "recall"] = Field(
        description="the best f1, balanced_accuracy or mcc; the least cost; the most recall at a precision; the most precision at a recall"
    )
    costs: CostsConfig | None = Field(None, description="for aim: cost")
    precision: float | None = Field(None, gt=0, le=1, description="for aim: precision: at least this")
    recall: float | None = Field(None, gt=0, le=1, description="for aim: recall: at least this")

    @model_validator(mode="after")
    def _has_what_its_aim_needs(self) -> DecisionConfig:
        example = {"cost": "costs: {false_positive: 1, false_negative: 5}", "precision": "precision: 0.9", "recall": "recall: 0.8"}
        for aim, key in (("cost", "costs"), ("precision", "precision"), ("recall", "recall")):
            if (getattr(self, key) is not None) != (self.aim == aim):
                raise ValueError(
                    f"aim: {aim} needs {key}: write {example[aim]} beside it" if self.aim == aim else f"{key} is for aim: {aim}"
                )
        if self.costs is not None and self.costs.false_positive + self.costs.false_negative == 0:
            raise ValueError("one of costs is above 0, or no mistake would matter")
        return self

    def __str__(self) -> str:
        if self.costs is not None:
            return f"least cost, {self.costs.false_positive:g} a false positive and {self.costs.false_negative:g} a false negative"
        if self.precision is not None:
            return f"most recall at a precision of {self.precision:g}"
        return f"most precision at a recall of {self.recall:g}" if self.recall is not None else f"best {self.aim}"


def _list_metrics(schema: dict[str, Any]) -> None:
    """The names for editors; imported when a schema is asked for, since metrics need numpy."""
    from sluice.problems.metrics import known

    next(one for one in schema["anyOf"] if one["type"] == "string")["enum"] = known()


class MetricConfig(Section):
    """The metric, whose label it is of, and how sure one has to be."""

    metric: str | None = Field(None, description="null: accuracy for classification, rmse for regression", json_schema_extra=_list_metrics)
    positive: Annotated[str | None, Names("class")] = Field(
        None,
        description="the label that precision, recall, f1, average_precision and the decision are of; null: of two labels the rarer one of the training rows",
    )
    decision: DecisionConfig | None = Field(
        None, description="choose the probability from which the positive label is answered; null: the most probable label is"
    )
    margin: float = Field(
        0.005, ge=0, description="how much worse than the champion is still no worse; for rmse and mae a fraction of its value"
    )
    on_inconclusive: Literal["continue", "refuse"] = Field(
        "continue", description="when the held-out rows are too few to tell: let the rollout decide, or stop"
    )
    confidence: float = Field(0.95, gt=0.5, lt=1)
    resamples: int = Field(1000, ge=100)

    @field_validator("positive", mode="before")
    @classmethod
    def _as_a_label_is_spelt(cls, label: Any) -> Any:
        if not isinstance(label, bool | int | float):
            return label
        from sluice.core.spelling import value_text

        return value_text(label)

    @field_validator("decision", mode="before")
    @classmethod
    def _a_section(cls, decision: Any) -> Any:
        if isinstance(decision, str):
            raise ValueError(f"is a section: write decision: {{aim: {decision}}}")
        return decision

    @field_validator("metric")
    @classmethod
    def _known_metric(cls, name: str | None) -> str | None:
        if name is not None:
            from sluice.problems.metrics import known

            if name not in (there := known()):
                near = difflib.get_close_matches(name.lower().replace("-", "_"), there, 1, 0.5)
                raise ValueError((f"is no metric; did you mean {near[0]!r}? " if near else "is no metric: ") + f"one of {', '.join(there)}")
        return name


def of_units(found: Mapping[str, Any]) -> str:
    """What an evaluation, a comparison or a slice is of beside its rows: `` of 57 units (patient)``; empty where each row is a unit."""
    return f" of {found['units']:,} units ({found['unit']})" if found.get("unit") else ""
