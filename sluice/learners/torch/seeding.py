"""Chance: every generator a training draws from, set by one number; and none where the order of sums decides."""

from __future__ import annotations

import random

import numpy as np
import torch


def reproducible(wanted: bool) -> None:
    """Whether torch may only use kernels that give the same bits every time."""
    torch.backends.cudnn.benchmark = not wanted
    # Not torch.use_deterministic_algorithms: that sets a flag of the compiler too, and imports all of it (3 s) to do so.
    torch._C._set_deterministic_algorithms(wanted, warn_only=False)
    torch.utils.deterministic.fill_uninitialized_memory = False  # it guards against reading garbage, at the price of a fill


def seed_everything(seed: int, device: torch.device | None = None) -> None:
    """Seed torch, numpy and `random`: chance is a function of the run's seed, the step and the process."""
    torch.default_generator.manual_seed(seed)
    if device is not None and device.type == "cuda":
        torch.cuda.manual_seed(seed)
    np.random.seed(seed & 0xFFFFFFFF)
    random.seed(seed)
