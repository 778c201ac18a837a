"""Optimisers, weight-decay groups, and which parameters learn at all."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from sluice.errors import ProjectError
from sluice.training.config import TrainConfig


def freeze(model: nn.Module, patterns: list[str]) -> list[str]:
    """Take parameters out of training by name or shell pattern; a module's name stands for all below it.

    Returns:
        The frozen parameters' names.

    Raises:
        ProjectError: a pattern matches nothing, or nothing is left to train.
    """
    names = [n for n, _ in model.named_parameters()]
    frozen: set[str] = set()
    for pattern in patterns:
        hit = [n for n in names if fnmatch.fnmatchcase(n, pattern) or n.startswith(f"{pattern}.")]
        if not hit:
            raise ProjectError("matches no parameter", field="train.freeze", value=pattern, fix=f"names: {', '.join(names[:8])}, ...")
        frozen.update(hit)
    for name, parameter in model.named_parameters():
        if name in frozen:
            parameter.requires_grad_(False)
    if not any(p.requires_grad for p in model.parameters()):
        raise ProjectError("leaves no parameter to train", field="train.freeze", value=patterns, fix="freeze less")
    return sorted(frozen)


def build_optimiser(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """AdamW (Loshchilov, Hutter 2019) or SGD with momentum, fused kernels where the device has them.

    Parameters of one dimension (biases, norms) have no weight decay.
    """
    learning = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in learning if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in learning if p.ndim < 2], "weight_decay": 0.0},
    ]
    groups = [g for g in groups if g["params"]]
    fused = all(p.is_floating_point() and p.device.type in ("cpu", "cuda") for p in learning)
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=config.learning_rate, momentum=config.momentum, fused=fused)
    return torch.optim.AdamW(groups, lr=config.learning_rate, fused=fused)


def state_tensors(optimiser: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """The optimiser's state as flat names: ``<parameter's number>.<what>``. The tensors are its own, not copies."""
    return {f"{i}.{what}": value for i, state in _states(optimiser) for what, value in sorted(state.items()) if isinstance(value, torch.Tensor)}


def load_state_tensors(optimiser: torch.optim.Optimizer, tensors: dict[str, torch.Tensor]) -> None:
    """Put back what `state_tensors` gave."""
    state: dict[int, dict[str, Any]] = {}
    for name, value in tensors.items():
        number, _, what = name.partition(".")
        state.setdefault(int(number), {})[what] = value
    optimiser.load_state_dict({**optimiser.state_dict(), "state": state})


def _states(optimiser: torch.optim.Optimizer) -> Iterator[tuple[int, dict[str, Any]]]:
    number = 0
    for group in optimiser.param_groups:
        for parameter in group["params"]:
            if parameter in optimiser.state:
                yield number, optimiser.state[parameter]
            number += 1
