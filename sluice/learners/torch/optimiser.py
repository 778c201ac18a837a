"""The optimiser and its weight-decay groups, and which parameters learn at all."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Mapping

import torch
from torch import nn

from sluice.core.errors import ProjectError
from sluice.learners.torch.plan import Plan
from sluice.learners.torch.reduce import Reducer, local


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


class Optimiser:
    """AdamW (Loshchilov, Hutter 2019) or SGD with momentum, on torch's fused kernels.

    The kernels are called directly: `torch.optim` imports the whole compiler when it is first used,
    which takes longer than many a training on a small table. Parameters of one dimension (biases,
    norms) have no weight decay.

    Args:
        model: its parameters that require a gradient are trained.
        config: optimiser, momentum and weight decay.
        reducer: where the moments are, and which part of a parameter this process changes; default: all of it, here.

    Attributes:
        parameters: what is trained, those with decay first.
        rate: learning rate of the next step.
    """

    EPSILON = 1e-8

    def __init__(self, model: nn.Module, config: Plan, reducer: Reducer | None = None):
        reducer = reducer or Reducer(model)
        learning = [p for p in model.parameters() if p.requires_grad]
        decayed, plain = [p for p in learning if p.ndim >= 2], [p for p in learning if p.ndim < 2]
        self._groups = [(g, decay) for g, decay in ((decayed, config.weight_decay), (plain, 0.0)) if g]
        self.parameters = [p for g, _ in self._groups for p in g]
        self.adam = config.optimizer == "adamw"
        self.momentum, self.betas = config.momentum, config.betas
        self.rate = config.learning_rate
        self._first = {p: reducer.moment(p, 0) for p in self.parameters if self.adam or self.momentum}
        self._second = {p: reducer.moment(p, 1) for p in self.parameters if self.adam}
        self._part = {p: reducer.part_of(p) for p in self.parameters}
        self._cut = {
            p: tuple(_cut(s[p], self._part[p]) for s in (self._first, self._second) if s) for p in self.parameters
        }  # views, made once
        self._count = {p: torch.zeros((), dtype=torch.float32, device=p.device) for p in self.parameters}

    @torch.no_grad()
    def step(self) -> None:
        """Change the parameters by their gradients; one without a gradient stays as it is."""
        for group, decay in self._groups:
            live = [p for p in group if p.grad is not None]
            if not live:
                continue
            if self.adam:
                torch._foreach_add_([self._count[p] for p in live], 1.0)
            live = [p for p in live if (part := self._part[p]) is None or part.start < part.stop]
            if not live:
                continue
            weights = [_cut(local(p), self._part[p]) for p in live]
            gradients = [_cut(local(p.grad), self._part[p]) for p in live]
            first, second = ([self._cut[p][i] for p in live] if s else [] for i, s in enumerate((self._first, self._second)))
            if self.adam:
                counts = [self._count[p] for p in live]
                torch._fused_adamw_(
                    weights,
                    gradients,
                    first,
                    second,
                    [],
                    counts,
                    lr=self.rate,
                    beta1=self.betas[0],
                    beta2=self.betas[1],
                    weight_decay=decay,
                    eps=self.EPSILON,
                    amsgrad=False,
                    maximize=False,
                )
            else:
                # The kernel starts from the first gradient; so does a buffer of zeros.
                torch._fused_sgd_(
                    weights,
                    gradients,
                    first,
                    weight_decay=decay,
                    lr=self.rate,
                    momentum=self.momentum,
                    dampening=0.0,
                    nesterov=False,
                    maximize=False,
                    is_first_step=False,
                )

    def clear(self) -> None:
        """Forget the gradients."""
        for p in self.parameters:
            p.grad = None

    def tensors(self, counts: bool = True) -> dict[str, torch.Tensor]:
        """The state under flat names, ``<what>.<parameter's number>``: its own tensors, not copies.

        Args:
            counts: with the parameters' numbers of steps, which are the same on all processes; the rest is in slices as the parameters are.
        """
        return {f"{what}.{i}": state for what, i, _, state in self._state() if counts or what != "count"}

    @torch.no_grad()
    def load(self, tensors: Mapping[str, torch.Tensor], reducer: Reducer | None = None) -> None:
        """Put back what `tensors` gave, all processes' together. Raises `KeyError` for a state of another model."""
        for what, i, p, state in self._state():
            name = f"{what}.{i}"
            state.copy_(tensors[name] if what == "count" or reducer is None else reducer.take(tensors, name, p))

    def _state(self) -> Iterator[tuple[str, int, nn.Parameter, torch.Tensor]]:
        for what, state in (("first", self._first), ("second", self._second), ("count", self._count)):
            for i, p in enumerate(self.parameters):
                if p in state:
                    yield what, i, p, state[p]


def _cut(tensor: torch.Tensor, part: slice | None) -> torch.Tensor:
    return tensor if part is None else tensor.view(-1)[part]
