"""Batches of the training rows as tensors: made in the loop, or ahead of it by worker processes, which a GPU needs.

What a batch holds is a pure function of seed, epoch, step and process, so the number of workers
changes nothing about the weights, and a resumed run asks for the step it stopped at.
"""

from __future__ import annotations

import dataclasses
import os
import signal
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from sluice.core.errors import SluiceError
from sluice.core.processes import die_with_parent
from sluice.learners.seeds import seed_of
from sluice.learners.state import State
from sluice.learners.torch.config import TrainConfig
from sluice.learners.torch.distributed import World
from sluice.learners.torch.encode import Encoded
from sluice.learners.torch.network import Network
from sluice.learners.torch.sampler import Sampler, share

#: Most workers a process has where the project names no number; batches of encoded rows are quickly put together.
_MOST = 4
#: Batches each worker is ahead.
_AHEAD = 4


@dataclasses.dataclass(frozen=True)
class Part:
    """A process's share of a batch, or one of the parts it is accumulated in.

    Attributes:
        rows: int64 indices; empty for a process with no row left, whose tensors are then another row's, to be weighted with 0.
        tensors, targets: of those rows, on the CPU; in pinned memory where a GPU waits for them.
    """

    rows: np.ndarray
    tensors: dict[str, torch.Tensor]
    targets: torch.Tensor

    def pin_memory(self) -> Part:
        """The same in memory the GPU's copy engine reads without waiting."""
        return Part(self.rows, {k: v.pin_memory() for k, v in self.tensors.items()}, self.targets.pin_memory())

    def on(self, device: torch.device) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """Tensors and targets where the model is."""
        if device.type == "cpu":
            return self.tensors, self.targets
        return {k: v.to(device, non_blocking=True) for k, v in self.tensors.items()}, self.targets.to(device, non_blocking=True)


@dataclasses.dataclass(frozen=True)
class Step:
    """What a process computes in one optimiser step.

    Attributes:
        rows: rows of the batch, over all processes.
        parts: this process's, one a forward pass.
    """

    rows: int
    parts: list[Part]

    def pin_memory(self) -> Step:
        """As `Part.pin_memory`."""
        return Step(self.rows, [p.pin_memory() for p in self.parts])


class Loader:
    """The steps of an epoch, in order, from any of them on.

    Args:
        network, state: make tensors of rows, and change them at random (`Network.augment`).
        data: the encoded training rows.
        sampler: which rows make up which batch.
        config: seed, accumulated parts and workers.
        world: this process.
    """

    def __init__(self, network: Network, state: State, data: Encoded, sampler: Sampler, config: TrainConfig, world: World):
        self._network, self._state, self._data, self._sampler, self._config, self._world = network, state, data, sampler, config, world
        self.workers = workers_of(config, world)
        self._ahead: Any = None
        self._at = _At(sampler.steps)

    def rows(self, rows: np.ndarray) -> Part:
        """Some rows as they are, for a trial pass."""
        return Part(rows, self._network.tensors(self._data.batch(rows), self._state), self._targets(rows))

    def epoch(self, epoch: int, first: int) -> Iterator[Step]:
        """The steps of an epoch (from 0), from `first` on.

        Raises:
            RuntimeError: a worker process was killed; `died` tells it from others.
            SluiceError: a row cannot be turned into tensors.
        """
        if not self.workers:
            for at in range(first, self._sampler.steps):
                step = self.step(epoch, at)
                yield step.pin_memory() if self._world.device.type == "cuda" else step
            return
        self._at.epoch, self._at.first = epoch, first
        for found in self._started():
            if isinstance(found, SluiceError):
                raise found
            yield found

    def step(self, epoch: int, at: int) -> Step:
        """This process's share of step `at` of an epoch, both from 0."""
        batch = self._sampler.batch(epoch, at)
        mine = share(batch, self._world.rank, self._world.size)
        parts = np.array_split(mine, self._config.accumulate) if self._config.accumulate > 1 else [mine]
        number = epoch * self._sampler.steps + at
        return Step(len(batch), [self._part(rows, batch, number, i) for i, rows in enumerate(parts)])

    def __getitem__(self, at: tuple[int, int]) -> Step | SluiceError:
        """`step`, for a worker: an explained failure keeps its field and fix on its way to the loop."""
        try:
            return self.step(*at)
        except SluiceError as e:
            return e

    def _part(self, rows: np.ndarray, batch: np.ndarray, step: int, number: int) -> Part:
        # A process with no row left takes part with weight 0, so that the others' gradients still arrive.
        taken = rows if len(rows) else batch[:1]
        generator = torch.Generator().manual_seed(seed_of(self._config.seed, step, self._world.rank, number, 1))
        tensors = self._network.augment(self._network.tensors(self._data.batch(taken), self._state), generator)
        return Part(rows, tensors, self._targets(taken))

    def _targets(self, rows: np.ndarray) -> torch.Tensor:
        return self._network.targets(np.asarray(self._data.labels[rows]), self._state)

    def _started(self) -> Any:
        if self._ahead is None:
            from torch.utils.data import DataLoader

            # Forked, so that the rows' memory maps and the network are shared; a worker computes on the CPU alone.
            self._ahead = DataLoader(
                self,
                sampler=self._at,
                batch_size=None,
                num_workers=self.workers,
                collate_fn=_as_it_is,  # type: ignore[arg-type,var-annotated]
                pin_memory=self._world.device.type == "cuda",
                prefetch_factor=_AHEAD,
                persistent_workers=True,
                multiprocessing_context="fork",
                worker_init_fn=_in_worker,
            )
        return self._ahead


class _At:
    """Where the workers are to read: the sampler a `DataLoader` asks anew each epoch."""

    def __init__(self, steps: int):
        self.steps, self.epoch, self.first = steps, 0, 0

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return ((self.epoch, at) for at in range(self.first, self.steps))

    def __len__(self) -> int:
        return self.steps - self.first


def workers_of(config: TrainConfig, world: World) -> int:
    """``train.workers``; by default none beside a CPU, and beside a GPU up to four of the machine's cores."""
    if config.workers is not None:
        return config.workers
    if world.device.type == "cpu":
        return 0
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return max(1, min(_MOST, len(os.sched_getaffinity(0)) // here - 1))


def died(error: BaseException) -> bool:
    """Whether an error is torch's word that a worker process has ended before its time; it may come anywhere, by SIGCHLD."""
    return isinstance(error, RuntimeError) and str(error).startswith("DataLoader worker")


def _as_it_is(step: Step | SluiceError) -> Step | SluiceError:
    return step


def _in_worker(_: int) -> None:
    """A worker ends with its training process, and at a word of it; the signals of the training are not its own."""
    die_with_parent()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
