"""`train:` in the project file."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sluice.config import Section


class EarlyStopping(Section):
    """Stop when `metric` on the validation rows has not improved for `patience` epochs."""

    metric: str = "loss"
    patience: int = Field(3, ge=1)


class Checkpoint(Section):
    """How often and how many: the last `keep` and the best are kept."""

    every_seconds: float = Field(60.0, gt=0)
    keep: int = Field(2, ge=1)


class TrainConfig(Section):
    """The training loop. Learning rates are per optimiser step; sizes are rows."""

    epochs: int = Field(3, ge=1)
    batch_size: int = Field(64, ge=1, description="rows a step, over all processes")
    learning_rate: float = Field(1e-3, gt=0)
    optimizer: Literal["adamw", "sgd"] = "adamw"
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: float = Field(0.01, ge=0)
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    warmup: float = Field(0.05, ge=0, lt=1, description="fraction of all steps")
    gradient_clip: float | None = Field(1.0, gt=0)
    accumulate: int = Field(1, ge=1)
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    seed: int = 17
    processes: int = Field(1, ge=1, description="processes a node")
    nodes: int = Field(1, ge=1)
    threads: int = Field(1, ge=1, description="CPU threads a process")
    device: Literal["auto", "cpu", "cuda"] = "auto"
    early_stopping: EarlyStopping | None = None
    checkpoint: Checkpoint = Checkpoint()
