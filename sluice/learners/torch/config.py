"""`train:` in the project file."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from sluice.core.section import Section
from sluice.learners.config import WeightedSection

#: How the learning rate goes from step to step.
Schedule = Literal["cosine", "linear", "constant", "step", "plateau"]


class EarlyStopping(Section):
    """Stop when `metric` on the validation rows has not improved for `patience` epochs; the epoch that was best by it is the result."""

    metric: str = Field("loss", description="loss, or a metric of the objective: accuracy, macro_f1, ..., rmse, mae, r2")
    patience: int = Field(3, ge=1)


class Checkpoint(Section):
    """How often and how many: the last `keep` and the best are kept."""

    every_seconds: float = Field(60.0, gt=0)
    keep: int = Field(2, ge=1)
    store: str | None = Field(None, pattern="^s3://[^/]+", description="s3://bucket/prefix: kept there too, for a job whose disk is gone")


class Budget(Section):
    """What a training whose number of epochs is automatic may take; it ends at the first of the two, and says when it was time that ended it."""

    steps: int | None = Field(None, ge=1, description="optimiser steps; null: from task and rows")
    minutes: float = Field(60.0, gt=0, description="of training; where it ends a run, the same run elsewhere may give another model")


class Decay(Section):
    """For the schedules `step` and `plateau`: what the learning rate is multiplied by, and when."""

    factor: float = Field(0.1, gt=0, lt=1)
    every: int = Field(10, ge=1, description="step: epochs between two cuts")
    patience: int = Field(2, ge=1, description="plateau: epochs without improvement before a cut")


class TrainConfig(WeightedSection):
    """The training loop. Learning rates are per optimiser step; sizes are rows. What is null follows from task, model and rows."""

    epochs: int | None = Field(None, ge=1, description="null: until validation stops improving, within the budget")
    budget: Budget = Budget()
    batch_size: int | None = Field(None, ge=1, description="rows a step, over all processes and accumulated parts")
    learning_rate: float | None = Field(None, gt=0)
    optimizer: Literal["adamw", "sgd"] = "adamw"
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: float | None = Field(None, ge=0, description="on matrices and convolutions; biases and norms have none")
    schedule: Schedule | None = None
    decay: Decay = Decay()
    warmup: float = Field(0.05, ge=0, lt=1, description="fraction of all steps")
    gradient_clip: float | None = Field(1.0, gt=0)
    accumulate: int = Field(1, ge=1, description="parts a process computes its share of a batch in, one after another")
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    ema: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="decay of an exponential moving average of the weights, which is then the model; 0: none; null: with automatic epochs the task's, else none",
    )
    freeze: list[str] = Field([], description="parameters left as they start, by name or pattern: `encoder.embeddings.*`")
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    compile: bool = Field(False, description="torch.compile the model")
    attention: Literal["plain", "fused"] | None = Field(
        None,
        description="fused: one kernel, faster and in less memory; null: fused on a GPU where deterministic is false",
        exclude_if=lambda how: how is None,
    )
    deterministic: bool = Field(True, description="the same weights bit for bit from the same seed, data and settings")
    processes: int = Field(1, ge=1, le=1024, description="processes a node")
    nodes: int = Field(1, ge=1)
    threads: int = Field(1, ge=1, description="CPU threads a process")
    workers: int | None = Field(
        None, ge=0, le=64, description="processes that put batches together beside each training process; null: some on a GPU"
    )
    device: Literal["auto", "cpu", "cuda"] = "auto"
    launcher: Literal["torchrun", "horovod"] = Field(
        "torchrun", description="what starts and connects the processes; horovod where it is installed"
    )
    parallel: Literal["ddp", "fsdp"] = Field("ddp", description="fsdp: parameters in shards, for models that do not fit one device")
    early_stopping: EarlyStopping | None = None
    checkpoint: Checkpoint = Checkpoint()
    restarts: int = Field(3, ge=0, description="times a killed or stuck job starts again from its last checkpoint")
    hang_seconds: float = Field(300.0, gt=0, description="a process that has not finished a step for so long is stuck")

    metrics_port: int | None = Field(
        None, ge=1, le=65535, description="serve Prometheus metrics there while training; in a TrainJob 9464 by default"
    )

    @model_validator(mode="after")
    def _fused_kernels_do_not_repeat_themselves(self) -> TrainConfig:
        if self.attention == "fused" and self.deterministic and self.device != "cpu":
            raise ValueError("attention: fused is not the same bit for bit on a GPU; set deterministic: false, or device: cpu")
        return self

    @model_validator(mode="after")
    def _batch_is_enough(self) -> TrainConfig:
        parts = self.processes * self.nodes * self.accumulate
        if self.batch_size is not None and parts > self.batch_size:
            raise ValueError(f"batch_size {self.batch_size} is less than processes x nodes x accumulate = {parts}")
        return self
