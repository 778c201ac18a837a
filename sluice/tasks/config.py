"""`model:` in the project file, one section a built-in task. No torch here: the project file is read without it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from sluice.core.section import Names, Section
from sluice.learners.estimators.config import BOUND
from sluice.learners.unusual import UnusualModel
from sluice.problems.config import ProblemName


class ImageModel(Section):
    """Image classification: a small CNN, or a ResNet of torchvision."""

    architecture: Literal["cnn", "resnet18", "resnet34", "resnet50"] = "cnn"
    channels: Literal[1, 3] = 3
    size: list[int] = Field([32, 32], min_length=2, max_length=2, description="[height, width] in pixels")
    width: int = Field(32, ge=4, le=512, description="channels of the CNN's first layer")
    dropout: float = Field(0.1, ge=0, lt=1)
    augment: bool = True
    pretrained: Annotated[str | None, Names("file")] = Field(None, description="state dict (safetensors) of the same architecture")


class TextModel(Section):
    """Text classification: a transformer from a directory or hub id; or from scratch a small one, beside a linear model of n-grams."""

    pretrained: Annotated[str | None, Names("model")] = Field(None, description="local directory or hub id; null: from scratch")
    max_length: int = Field(64, ge=4, le=8192, description="tokens")
    vocabulary: int = Field(8000, ge=100, description="tokens learnt from the data when from scratch")
    ngrams: int = Field(
        100_000,
        ge=0,
        description="words, pairs of words and runs of characters that are weighed beside the transformer from scratch; 0: none",
    )
    layers: int = Field(1, ge=1)
    hidden: int = Field(64, ge=8)
    heads: int = Field(4, ge=1)
    dropout: float = Field(0.1, ge=0, lt=1)
    pooling: Literal["mean", "cls"] = "mean"
    freeze_embeddings: bool = False

    @model_validator(mode="after")
    def _heads_divide(self) -> TextModel:
        if self.hidden % self.heads:
            raise ValueError(f"hidden {self.hidden} is not a multiple of heads {self.heads}")
        return self


class TabularModel(Section):
    """Tabular classification or regression: a linear model, and an ensemble of perceptrons over what it leaves."""

    elsewhere: ClassVar[Mapping[str, str]] = {"monotone": BOUND}

    objective: ProblemName = Field("auto", description="the problem; auto: by the label; or my_module:MyProblem")
    hidden: list[int] = Field([64, 64], min_length=1)
    dropout: float = Field(0.1, ge=0, lt=1)
    embedding: int = Field(8, ge=1, description="largest size of a category's embedding")
    members: int = Field(8, ge=1, le=64, description="perceptrons whose mean is the answer")
    bins: int = Field(12, ge=0, le=12, description="piecewise-linear parts a number is cut into at its quantiles; 0: none")


class ForecastModel(Section):
    """Forecasts of series: a linear model over the seasonal naive forecast, and a network over what it leaves; or boosted trees over lags."""

    method: Literal["network", "gru", "tcn", "boosted", "auto"] = Field(
        "network",
        description="network: a linear model and residual blocks; gru, tcn: the blocks see what a recurrent or convolutional network reads; "
        "boosted: LightGBM over lags; auto: network or boosted, whichever forecasts the validation times better",
        exclude_if=lambda method: method == "network",
    )
    series: Annotated[str | list[str] | None, Names("column")] = Field(
        None, description="the column, or columns, that tell the series apart; null: found, or there is one series"
    )
    time: Annotated[str | None, Names("column")] = Field(None, description="the column of times; null: the first that holds some")
    known: Annotated[list[str], Names("column")] = Field([], description="columns whose values of the times to come are known, and sent")
    horizon: int | None = Field(None, ge=1, le=1000, description="how many times ahead; null: a season")
    context: int | None = Field(None, ge=1, le=5000, description="how many times before an answer is made from; null: about two seasons")
    season: int | None = Field(None, ge=1, le=5000, description="steps after which things come round again; null: by the step of the times")
    rows: int = Field(20_000, ge=100, description="most forecasts that are learnt from; of more every second, third, ...")
    hidden: int = Field(128, ge=4, le=4096)
    blocks: int = Field(2, ge=0, le=16)
    dropout: float = Field(0.1, ge=0, lt=1)
    trees: int = Field(
        400, ge=1, le=10_000, description="boosted: most trees of a quantile; early stopping ends them", exclude_if=lambda n: n == 400
    )
    leaves: int = Field(15, ge=2, le=4096, description="boosted: leaves of a tree", exclude_if=lambda n: n == 15)


class AutoencoderModel(UnusualModel):
    """Anomaly detection: a network that writes rows through a narrow middle; what it cannot write back is unusual."""

    hidden: list[int] = Field([64], min_length=1, description="units of the layers before the middle; after it the same turned round")
    middle: int | None = Field(None, ge=1, description="units of the middle; null: a third of the inputs' numbers, 2 to 32")
    noise: float = Field(0.1, ge=0, lt=1, description="share of the columns that are hidden from it at random while it trains")
    embedding: int = Field(8, ge=1, description="largest size of a category's embedding")
