"""Summing gradients over the processes: DDP on GPUs, shared memory or gloo on CPUs."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from sluice.learners.torch.distributed import World

#: Set by our launcher: file descriptor of anonymous memory the processes of this machine share.
SHARED_FD = "SLUICE_SHARED_FD"
#: Gradients smaller than this are faster through gloo's one message than through two barriers.
_SMALL = 4 << 20


class Reducer:
    """One process: nothing to sum.

    Attributes:
        module: what the forward pass calls.
        factor: what a process's share of the mean loss is multiplied by before its backward pass.
        sharded: whether a process holds a slice of each parameter; what gathers them is then called by all processes at once.
        name: how gradients travel, for what is kept of a run.
    """

    sharded = False
    name = "one process"

    def __init__(self, model: nn.Module):
        self.module: nn.Module = model
        self._bare = model
        self.factor = 1.0

    def part(self, last: bool) -> contextlib.AbstractContextManager[Any]:
        """Context of a part's passes; gradients travel in the last one."""
        return contextlib.nullcontext()

    def reduce(self, opening: Callable[[], None] | None = None) -> None:
        """After the last part: leave the sum over the processes in every ``.grad``.

        Args:
            opening: called on the first process before another one may change what they have in common.
        """

    def take(self, stored: Mapping[str, torch.Tensor], name: str, tensor: torch.Tensor) -> torch.Tensor:
        """What this process holds of a stored tensor that goes with `tensor`, a parameter or buffer (itself, its moments)."""
        return stored[name]

    def state(self) -> dict[str, torch.Tensor]:
        """What this process keeps of the model's state in a checkpoint, live; where it is sharded, what is alike on all is the first's to keep."""
        return dict(self._bare.state_dict())

    @torch.no_grad()
    def load(self, stored: Mapping[str, torch.Tensor]) -> None:
        """Put a model's stored tensors into the live one. Raises `KeyError` for another model's."""
        for name, t in self._bare.state_dict().items():
            local(t).copy_(self.take(stored, name, t))

    def kept(self, stored: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """As `state`, on the CPU, out of a checkpoint."""
        live, mine = self._bare.state_dict(), self.state()
        return {name: self.take(stored, name, live[name]).clone() for name in mine}

    def gathered(self, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Whole tensors out of what `state` gave on each process; by all of them, and on the CPU of the first only."""
        return state

    def agree(self, good: bool) -> bool:
        """Whether something each process knows of its own slice is good on all."""
        return good

    def clip(self, parameters: list[nn.Parameter], limit: float) -> float | torch.Tensor:
        """Scale all gradients down to a common norm of at most `limit`; the norm before."""
        return torch.nn.utils.clip_grad_norm_(parameters, limit)

    def moment(self, parameter: nn.Parameter, number: int) -> torch.Tensor:
        """Room for an optimiser's moment of a parameter's shape, zeros at the start: the first (0) or the second (1)."""
        return torch.zeros_like(local(parameter), memory_format=torch.preserve_format)

    def part_of(self, parameter: nn.Parameter) -> slice | None:
        """Which of a parameter's numbers, flattened, this process changes in a step; None: all that it holds."""
        return None

    def updated(self) -> None:
        """After the optimiser's step, taken or left out: come back when all processes' parts are changed."""


class DataParallel(Reducer):
    """DistributedDataParallel: sums travel while the backward pass goes on. Frozen parameters take no part."""

    name = "ddp"

    def __init__(self, model: nn.Module, world: World):
        super().__init__(model)
        from torch.nn.parallel import DistributedDataParallel

        self.module = DistributedDataParallel(model, device_ids=[world.device.index], broadcast_buffers=False, gradient_as_bucket_view=True)
        self.factor = float(world.size)  # it averages, the weights of the rows are a share of the whole batch

    def part(self, last: bool) -> contextlib.AbstractContextManager[Any]:
        """As `Reducer.part`: torch sends gradients in the last one."""
        return contextlib.nullcontext() if last else self.module.no_sync()  # type: ignore[no-any-return,operator]


class FlatReducer(Reducer):
    """All gradients in one FP32 array and one all-reduce."""

    name = "gloo"

    def __init__(self, model: nn.Module, world: World):
        super().__init__(model)
        self.world = world
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.size = sum(p.numel() for p in self.parameters)
        self._flat = self._memory()
        self._views = views(self._flat, self.parameters)

    def _memory(self) -> torch.Tensor:
        return torch.zeros(self.size)

    @torch.no_grad()
    def reduce(self, opening: Callable[[], None] | None = None) -> None:
        """As `Reducer.reduce`, by one all-reduce."""
        torch._foreach_copy_(self._views, [p.grad if p.grad is not None else torch.zeros_like(p) for p in self.parameters])
        dist.all_reduce(self._flat)
        for p, view in zip(self.parameters, self._views, strict=True):
            p.grad = view


def local(tensor: torch.Tensor) -> torch.Tensor:
    """This process's shard of a parameter or gradient, sharing its memory; a plain tensor is its own."""
    return getattr(tensor, "_local_tensor", tensor)


def views(flat: torch.Tensor, parameters: list[nn.Parameter]) -> list[torch.Tensor]:
    """Parts of `flat` in the parameters' shapes and strides: the optimiser's kernels walk memory, and know no strides."""
    out, at = [], 0
    for p in parameters:
        out.append(flat[at : at + p.numel()].as_strided(p.shape, p.stride()))
        at += p.numel()
    return out


def make_reducer(model: nn.Module, world: World, parallel: str = "ddp", called: set[nn.Module] | None = None) -> Reducer:
    """The way of summing that fits the device and the processes' machines; `parallel` and `called` as `sharded.Sharded` wants them."""
    if world.size == 1:
        return Reducer(model)
    if parallel == "fsdp":
        from sluice.learners.torch.sharded import sharded_over

        return sharded_over(model, world, called or set())
    if world.device.type == "cuda":
        return DataParallel(model, world)
    for tensor in (*model.parameters(), *model.buffers()):
        dist.broadcast(tensor.detach(), src=0)
    learning = [p for p in model.parameters() if p.requires_grad]
    for p in learning:
        if torch.empty_like(p).stride() != p.stride():  # gaps or overlaps in its memory
            p.data = p.data.contiguous()
    one_machine = os.environ.get("LOCAL_WORLD_SIZE") == str(world.size) and SHARED_FD in os.environ
    large = sum(4 * p.numel() for p in learning) >= _SMALL
    if one_machine and large and _movable(model, learning):
        from sluice.learners.torch.shared import SharedReducer

        return SharedReducer(model, world)
    return FlatReducer(model, world)


def _movable(model: nn.Module, learning: list[nn.Parameter]) -> bool:
    """Whether parameters can get another place: plain FP32 ones, none of which is in another's memory, or a buffer's."""
    places = Counter(t.untyped_storage().data_ptr() for t in (*model.parameters(), *model.buffers()))
    return all(p.is_contiguous() and p.dtype == torch.float32 and places[p.untyped_storage().data_ptr()] == 1 for p in learning)
