"""FSDP2: parameters, gradients and optimiser state in shards, for models that do not fit one device (Zhao et al. 2023).

Every process holds a slice of each parameter along its first axis; the blocks of the model are put
together one at a time as the passes come to them. Each process writes its slices into the common
checkpoint (`shards`), out of which a job may go on with another number of processes, or unsharded;
only for the result are whole tensors put together, one at a time, on the first process.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from sluice.core.errors import ProjectError
from sluice.learners.torch.distributed import World
from sluice.learners.torch.reduce import Reducer, local
from sluice.learners.torch.stored import Stored


class Sharded(Reducer):
    """A model whose parameters are sharded over all processes.

    Args:
        model: whole and alike on every process; its parameters are replaced by their shards on the world's device.
        world: the processes.
        called: modules whose own `forward` a pass goes through; others' parameters stay with the root.
    """

    sharded = True
    name = "fsdp"

    def __init__(self, model: nn.Module, world: World, called: set[nn.Module]):
        super().__init__(model)
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        self._world = world
        self.factor = float(world.size)  # it averages, the weights of the rows are a share of the whole batch
        self._mesh = init_device_mesh(world.device.type, (world.size,))
        for block in blocks(model, called):
            fully_shard(block, mesh=self._mesh, reshard_after_forward=True)
        fully_shard(model, mesh=self._mesh, reshard_after_forward=True)

    @contextlib.contextmanager
    def part(self, last: bool) -> Iterator[None]:
        """As `Reducer.part`: gradients are scattered in the last one."""
        self.module.set_requires_gradient_sync(last)  # type: ignore[operator]
        yield

    def take(self, stored: Mapping[str, torch.Tensor], name: str, tensor: torch.Tensor) -> torch.Tensor:
        """As `Reducer.take`: this process's rows along axis 0."""
        from torch.distributed.tensor import DTensor

        assert isinstance(stored, Stored)
        if not tensor.ndim:
            return stored[name]
        rows, at = tensor.shape[0], 0
        if isinstance(tensor, DTensor):
            size = -(-rows // self._world.size)
            at, rows = min(self._world.rank * size, rows), min((self._world.rank + 1) * size, rows)
        return stored.rows(name, at, rows)

    def state(self) -> dict[str, torch.Tensor]:
        """As `Reducer.state`: this process's slices."""
        from torch.distributed.tensor import DTensor

        return {n: local(t.detach()) for n, t in self.module.state_dict().items() if self._world.first or isinstance(t, DTensor)}

    def gathered(self, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """As `Reducer.gathered`, by all-gathers."""
        from torch.distributed.tensor import DTensor

        out = {}
        for name, t in self.module.state_dict().items():
            whole: Any = state.get(name)
            if isinstance(t, DTensor):
                part = state[name].to(self._world.device)
                whole = DTensor.from_local(
                    part, t.device_mesh, t.placements, run_check=False, shape=t.shape, stride=t.stride()
                ).full_tensor()
            if self._world.first:
                out[name] = whole.to("cpu")
        return out

    def agree(self, good: bool) -> bool:
        """As `Reducer.agree`: on all processes."""
        return self._world.sum(0.0 if good else 1.0)[0] == 0.0

    def clip(self, parameters: list[nn.Parameter], limit: float) -> float:
        """As `Reducer.clip`, by the norm over all slices."""
        gradients = [local(p.grad) for p in parameters if p.grad is not None]
        squares = sum(float(g.double().square().sum()) for g in gradients)
        norm = math.sqrt(self._world.sum(squares)[0])
        if norm > limit:
            torch._foreach_mul_(gradients, limit / (norm + 1e-6))
        return norm


def blocks(model: nn.Module, called: set[nn.Module]) -> list[nn.Module]:
    """The members of lists of modules that are passed through as a whole and share no parameter with the rest: a transformer's layers."""
    holders: dict[int, int] = {}
    for module in model.modules():
        for p in module.parameters(recurse=False):
            holders[id(p)] = holders.get(id(p), 0) + 1
    found = []
    for module in model.modules():
        if isinstance(module, nn.ModuleList):
            for block in module:
                parameters = list(block.parameters())
                if block in called and parameters and all(holders[id(p)] == 1 for p in parameters):
                    found.append(block)
    return [b for b in found if not any(b is not other and b in set(other.modules()) for other in found)]


def sharded_over(model: nn.Module, world: World, called: set[nn.Module]) -> Sharded:
    """`model` sharded; its tensors are made alike first.

    Raises:
        ProjectError: processes share a GPU; what connects them then cannot add up shards there.
    """
    if world.device.type == "cuda" and dist.get_backend() != "nccl":
        raise ProjectError(
            "needs a GPU for each process",
            field="train.parallel",
            value="fsdp",
            fix=f"train.processes: {torch.cuda.device_count()} on this machine, or train.parallel: ddp",
        )
    for tensor in (*model.parameters(), *model.buffers()):
        moved = tensor.detach().to(world.device)
        dist.broadcast(moved, src=0)
        tensor.data.copy_(moved)
    return Sharded(model, world, called)
