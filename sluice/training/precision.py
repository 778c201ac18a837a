"""Mixed precision: which type the matrix products run in, and the loss scale fp16 needs."""

from __future__ import annotations

import contextlib
from typing import Any

import torch

from sluice.errors import ProjectError
from sluice.training.config import TrainConfig


class Precision:
    """Autocast and, for fp16, a gradient scaler (Micikevicius et al. 2018). Weights and optimiser state stay FP32.

    Args:
        config: ``train.precision``.
        device: where the model is.

    Raises:
        ProjectError: the device has no such type.
    """

    def __init__(self, config: TrainConfig, device: torch.device):
        self.name = config.precision
        self.device = device.type
        if config.precision == "fp16" and device.type != "cuda":
            raise ProjectError("is for CUDA devices, this one is a CPU", field="train.precision", value="fp16", fix="use bf16 or fp32")
        if config.precision == "bf16" and device.type == "cuda" and not torch.cuda.is_bf16_supported():
            raise ProjectError("is not supported by this GPU", field="train.precision", value="bf16", fix="use fp16 or fp32")
        self.dtype = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[config.precision]
        self.scaler = torch.amp.GradScaler("cuda") if config.precision == "fp16" else None

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        if self.dtype is None:
            return contextlib.nullcontext()
        return torch.autocast(self.device, dtype=self.dtype)

    def backward(self, loss: torch.Tensor) -> None:
        (self.scaler.scale(loss) if self.scaler else loss).backward()  # type: ignore[no-untyped-call]

    def state(self) -> dict[str, Any]:
        """Plain JSON values; empty without a scaler."""
        return {k: float(v) for k, v in self.scaler.state_dict().items()} if self.scaler else {}

    def load(self, state: dict[str, Any]) -> None:
        if self.scaler and state:
            self.scaler.load_state_dict({**state, "_growth_tracker": int(state["_growth_tracker"]), "growth_interval": int(state["growth_interval"])})
