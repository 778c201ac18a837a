"""Attention computed by one fused kernel instead of several."""

from __future__ import annotations

import torch
from torch import nn

from sluice.learners.torch.config import TrainConfig


def wanted(config: TrainConfig, device: torch.device) -> bool:
    """Whether training on a device is to fuse attention: where it is said, else on a GPU that need not repeat itself bit for bit.

    The backward pass of the fused kernels adds up in no fixed order on a GPU.
    """
    if config.attention is not None:
        return config.attention == "fused"
    return device.type == "cuda" and not config.deterministic


def fuse(model: nn.Module) -> int:
    """Let a model's attention be PyTorch's `scaled_dot_product_attention`, which is exact (Dao et al. 2022); returns how many parts were changed.

    Weights and what is exported stay as they are: an exported model is built anew. Parts of `transformers` have a switch for it, ours are called
    ``fused``.
    """
    changed = 0
    for part in model.modules():
        if callable(switch := getattr(part, "set_attn_implementation", None)):
            switch("sdpa")
            changed += 1
        elif isinstance(getattr(part, "fused", None), bool):
            part.fused = True
            changed += 1
    return changed
