"""Chance: every generator a training draws from, set by one number."""

from __future__ import annotations

import random

import numpy as np
import torch


def seed_everything(seed: int, device: torch.device | None = None) -> None:
    """Seed torch, numpy and `random`: chance is a function of the run's seed, the step and the process."""
    torch.default_generator.manual_seed(seed)
    if device is not None and device.type == "cuda":
        torch.cuda.manual_seed(seed)
    np.random.seed(seed & 0xFFFFFFFF)
    random.seed(seed)
