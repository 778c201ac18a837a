"""Data parallelism on one machine's CPUs, in memory its processes share."""

from __future__ import annotations

import math
import mmap
import os
from collections.abc import Callable

import torch
from torch import nn

from sluice.learners.torch.barrier import Barrier
from sluice.learners.torch.distributed import World
from sluice.learners.torch.reduce import SHARED_FD, FlatReducer, views

#: Numbers added up at once: 512 KiB, which stay in a core's own cache.
_PIECE = 1 << 17


class SharedReducer(FlatReducer):
    """Weights, optimiser's moments and gradients in memory the processes of one machine share; each adds up and changes its own slice.

    A process writes its gradients once, while the backward pass has them in its cache; adds all
    processes' up over its slice, in their order; and changes the weights there. So nothing goes
    through a socket, no sum is read by more than one, and the optimiser's work is done once and not
    once a process (the slices of ZeRO, Rajbhandari et al. 2020, in one memory). What all of them
    read, each changes in its own slice only, between two barriers.
    """

    name = "shared memory"

    def __init__(self, model: nn.Module, world: World):
        super().__init__(model, world)
        self._written: set[int] = set()
        at = 0
        self._parts: dict[nn.Parameter, slice] = {}
        for i, p in enumerate(self.parameters):
            low, high = max(at, self._slice.start), min(at + p.numel(), self._slice.stop)
            self._parts[p] = slice(low - at, max(low, high) - at)
            at += p.numel()
            p.register_post_accumulate_grad_hook(lambda p, i=i: self._write(i, p))  # type: ignore[misc]

    def _memory(self) -> torch.Tensor:
        self._barrier = Barrier(self.world)
        length = -(-self.size // 16) * 16
        kept = self.world.size + 3  # gradients, then weights and two moments
        squares = 4 * length * kept
        total = squares + 8 * self.world.size
        fd = int(os.environ[SHARED_FD])
        if self.world.first:
            os.ftruncate(fd, 0)  # nothing is left of an attempt before: moments begin as zeros
            os.ftruncate(fd, total)
        self._barrier.wait()
        self._map = mmap.mmap(fd, total)
        whole = torch.frombuffer(self._map, dtype=torch.float32, count=length * kept).view(kept, length)
        self._squares = torch.frombuffer(self._map, dtype=torch.float64, count=self.world.size, offset=squares)
        self._segments = [whole[r] for r in range(self.world.size)]
        share = -(-length // self.world.size // 16) * 16
        self._slice = slice(min(length, self.world.rank * share), min(length, (self.world.rank + 1) * share))
        self._own = views(self._segments[self.world.rank], self.parameters)
        weights, *moments = (views(whole[self.world.size + i], self.parameters) for i in range(3))
        self._moments = dict(zip(self.parameters, zip(*moments, strict=True), strict=True))
        with torch.no_grad():
            if self.world.first:
                torch._foreach_copy_(weights, [p.detach() for p in self.parameters])
        self._barrier.wait()
        for p, view in zip(self.parameters, weights, strict=True):
            p.data = view
        return self._segments[0]

    @torch.no_grad()
    def _write(self, number: int, parameter: nn.Parameter) -> None:
        """A part's gradient is ready: it goes to the others, and its memory to the next one."""
        if parameter.grad is None:
            return
        view = self._own[number]
        if number in self._written:
            view.add_(parameter.grad)
        else:
            view.copy_(parameter.grad)
            self._written.add(number)
        parameter.grad = None

    def reduce(self, opening: Callable[[], None] | None = None) -> None:
        """As `Reducer.reduce`: each process adds up its slice in memory all of them map."""
        for i, p in enumerate(self.parameters):
            if i not in self._written:
                self._own[i].copy_(p.grad) if p.grad is not None else self._own[i].zero_()
        self._written.clear()
        self._barrier.wait()
        self._squares[self.world.rank] = self._add()
        self._barrier.wait(opening)  # whoever is let go changes its slice of the weights
        for p, view in zip(self.parameters, self._views, strict=True):
            p.grad = view

    def _add(self) -> float:
        """Add up this process's slice, piece by piece; returns the sum of its squares, taken while a piece is in the cache."""
        squares = 0.0
        for at in range(self._slice.start, self._slice.stop, _PIECE):
            piece = slice(at, min(at + _PIECE, self._slice.stop))
            mine = self._segments[0][piece]
            for segment in self._segments[1:]:
                mine.add_(segment[piece])
            squares += float(torch.dot(mine, mine))
        return squares

    def clip(self, parameters: list[nn.Parameter], limit: float) -> float:
        """As `Reducer.clip`, of the slice; the norm is that of all."""
        norm = math.sqrt(float(self._squares.sum()))
        if norm > limit:
            self._segments[0][self._slice].mul_(limit / (norm + 1e-6))
        return norm

    def moment(self, parameter: nn.Parameter, number: int) -> torch.Tensor:
        """A parameter's moment of the optimiser, in the common memory."""
        return self._moments[parameter][number]

    def part_of(self, parameter: nn.Parameter) -> slice:
        """The rows of a flat parameter that lie in this process's slice."""
        return self._parts[parameter]

    def updated(self) -> None:
        """Wait until all slices of the weights are changed."""
        self._barrier.wait()
