"""Mixed precision: which type the matrix products run in, and the loss scale fp16 needs."""

from __future__ import annotations

import contextlib
from typing import Any

import torch

from sluice.core.errors import ProjectError
from sluice.learners.torch.config import TrainConfig
from sluice.learners.torch.reduce import Reducer, local


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
        self.scale = LossScale() if config.precision == "fp16" else None

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """The context of a forward pass."""
        if self.dtype is None:
            return contextlib.nullcontext()
        return torch.autocast(self.device, dtype=self.dtype)

    def backward(self, loss: torch.Tensor) -> None:
        """Back-propagate a scalar loss, scaled where fp16 asks for it."""
        (loss * self.scale.value if self.scale else loss).backward()  # type: ignore[no-untyped-call]


class LossScale:
    """Keeps small FP16 gradients from vanishing: losses are multiplied, gradients divided again.

    Halved when a gradient overflows, and that step left out; doubled after `growth` good steps.
    """

    def __init__(self, value: float = 2.0**16, growth: int = 2000):
        self.value, self.growth, self.good = value, growth, 0

    def unscale(self, parameters: list[torch.nn.Parameter], reducer: Reducer | None = None) -> bool:
        """Divide the gradients; false when one is not finite, on any process, and the step must be left out."""
        gradients = [local(p.grad) for p in parameters if p.grad is not None]
        torch._foreach_mul_(gradients, 1.0 / self.value)
        finite = bool(torch.isfinite(torch.stack(torch._foreach_norm(gradients))).all())
        finite = reducer.agree(finite) if reducer else finite
        if finite:
            self.good += 1
            if self.good >= self.growth:
                self.value, self.good = min(self.value * 2, 2.0**24), 0
        else:
            self.value, self.good = max(self.value / 2, 1.0), 0
        return finite
