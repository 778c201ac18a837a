"""`export:` in the project file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, WithJsonSchema

from sluice.core.check import OwnChecks
from sluice.core.errors import ProjectError
from sluice.core.section import Section
from sluice.formats.base import DEFAULT, FORMATS
from sluice.problems.problem import Problem


def _there(name: str) -> str:
    """A format's name; one of the project's own is looked for when the project's folder is known (`formats_of`)."""
    if ":" not in name and name not in FORMATS:
        raise ValueError(f"unknown format: {FORMATS.nearest(name)}")
    return name


#: For editors: the formats there are by name; a project's own is known by its colon.
_SCHEMA = {"anyOf": [{"enum": FORMATS.names()}, {"type": "string", "pattern": ":"}]}
FormatName = Annotated[str, AfterValidator(_there), WithJsonSchema(_SCHEMA)]


class PruneConfig(Section):
    """The format `pruned`: how much of a network is left out, and what that may cost."""

    share: float = Field(0.3, gt=0, lt=1, description="of the hidden channels of each layer, those that add least")
    max_loss: float | None = Field(None, ge=0, description="as export.max_loss, for this format alone; null: that")


class ExportConfig(OwnChecks):
    """Formats to package; beside fp32, int8 is tried where it pays, and taken where it loses and moves little."""

    formats: list[FormatName] = Field(
        list(DEFAULT),
        min_length=1,
        description="fp32, fp16, int8, int8_dynamic, pruned, torchscript, tensorrt, another distribution's, or my_module:MyFormat",
    )
    max_loss: float = Field(0.005, ge=0, description="loss of evaluate.metric against PyTorch; for rmse and mae a fraction of its value")
    max_answer_change: float | None = Field(
        None,
        gt=0,
        description="largest change of one held-out answer against fp32: of a probability, or of a value as a fraction of the targets' "
        "standard deviation; null: 0.5 for probabilities, 0.1 for values",
    )
    prune: PruneConfig = Field(PruneConfig(), exclude_if=lambda prune: prune == PruneConfig())
    int8_above: int = Field(
        1 << 20, ge=0, description="bytes of the fp32 graph above which int8 is tried beside it; int8 alone is always made"
    )
    tolerance: float = Field(
        1e-3, gt=0, description="largest difference of an fp32 answer from the trained model's; for regression relative to the values' size"
    )
    calibrate: Literal["none", "isotonic", "platt"] = Field(
        "none",
        description="fit probabilities to how often they come true, on the validation rows: by steps (isotonic) or a logistic curve (platt)",
        exclude_if=lambda method: method == "none",
    )
    opset: int = Field(20, ge=18, le=23, description="ONNX operator set; from 20 on GELU is one operator")
    parity_rows: int = Field(2000, ge=1, description="held-out rows that formats are compared on")
    calibration_rows: int = Field(256, ge=1, description="training rows that fix the ranges of int8 activations")

    def suits(self, asked: Problem, labels: Sequence[str]) -> None:
        """See `Section.suits`: what the problem has a log loss of is a probability."""
        if self.calibrate != "none" and not (asked.classes and "log_loss" in asked.metrics()):
            raise ProjectError(
                "calibrates probabilities, and an answer of this problem has none",
                field="export.calibrate",
                value=self.calibrate,
                fix="remove it",
            )

    def answer_change(self, asked: Problem) -> float:
        """`max_answer_change`, or what the problem allows where nothing was said."""
        return self.max_answer_change if self.max_answer_change is not None else asked.answer_change
