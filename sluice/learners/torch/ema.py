"""An exponential moving average of the weights (Polyak, Juditsky 1992; Tarvainen, Valpola 2017)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import torch
from torch import nn

from sluice.learners.torch.reduce import Reducer, local

_PREFIX = "average/"


class Average:
    """Averaged copies of a model's floating-point parameters.

    The decay grows from 0.1 towards `decay` over the first steps, so that the start does not
    weigh on a short run.

    Args:
        model: the model; its parameters are copied now.
        decay: weight of the past a step.
    """

    def __init__(self, model: nn.Module, decay: float):
        self.decay = decay
        self._live = {n: local(p.detach()) for n, p in model.named_parameters() if p.requires_grad and p.is_floating_point()}
        self.tensors = {n: p.clone() for n, p in self._live.items()}
        self._parameters = {n: p for n, p in model.named_parameters() if n in self._live}
        # Where others may read the weights meanwhile, the model looks elsewhere; on a GPU, or gathered from shards, memory is what counts.
        self._here = {n: p for n, p in self._parameters.items() if local(p) is p and p.device.type == "cpu"}
        self._kept: dict[str, torch.Tensor] = {}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after a step (from 0)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.tensors.values()), list(self._live.values()), 1.0 - decay)

    def state(self) -> dict[str, torch.Tensor]:
        """The averages under the names they have in a checkpoint; slices where the model is in slices."""
        return {_PREFIX + n: t for n, t in self.tensors.items()}

    @torch.no_grad()
    def load(self, stored: Mapping[str, torch.Tensor], reducer: Reducer) -> None:
        """Put back what `state` gave, all processes' together. Raises `KeyError` where there are none."""
        for name, value in self.tensors.items():
            value.copy_(reducer.take(stored, _PREFIX + name, self._parameters[name]))

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """The model holds the averages inside, its own weights again after; where these are shared with others, they stay as they are."""
        try:
            with torch.no_grad():
                self._kept = {n: p.clone() for n, p in self._live.items() if n not in self._here}
                for name, p in self._here.items():
                    p.data = self.tensors[name]
                for name in self._kept:
                    self._live[name].copy_(self.tensors[name])
            yield
        finally:
            self.take_off()

    @torch.no_grad()
    def take_off(self) -> None:
        """The model holds its own weights, whatever `applied` came to."""
        for name, p in self._here.items():
            p.data = self._live[name]
        for name, value in self._kept.items():
            self._live[name].copy_(value)
        self._kept = {}
