"""The training loop of one process."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import signal
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from sluice.learners.errors import NonFiniteError, non_finite
from sluice.learners.seeds import seed_of
from sluice.learners.state import State
from sluice.learners.torch import attention
from sluice.learners.torch.checkpoint import Checkpoints, Loaded
from sluice.learners.torch.distributed import World
from sluice.learners.torch.ema import Average
from sluice.learners.torch.encode import Encoded
from sluice.learners.torch.judge import Judge
from sluice.learners.torch.loader import Loader, Part, Step
from sluice.learners.torch.network import Network
from sluice.learners.torch.optimiser import Optimiser, freeze
from sluice.learners.torch.plan import Plan
from sluice.learners.torch.precision import Precision
from sluice.learners.torch.progress import Progress
from sluice.learners.torch.reduce import local, make_reducer
from sluice.learners.torch.reporter import Reporter
from sluice.learners.torch.sampler import Sampler, share
from sluice.learners.torch.schedule import multiplier
from sluice.learners.torch.seeding import reproducible, seed_everything
from sluice.learners.torch.unused import drop_unused
from sluice.learners.torch.validate import measure, run_split

#: Steps between two times that sharded processes ask each other for a checkpoint.
_AGREE_EVERY = 10


class Stopped(Exception):
    """SIGTERM came: the state after the last step is saved."""


class Trainer:
    """Trains a model on this process's share of each batch.

    Args:
        network, state: what is learnt.
        config: the loop's settings.
        train, validation: encoded rows; without validation rows nothing is measured.
        world: this process among the others.
        checkpoints: where the state is kept; only the first process writes, or all of them their shards.
        resumed: a checkpoint to go on from.
        emit: told of progress and trouble.
        beat: told of every finished step.

    Raises:
        ProjectError: settings that do not fit the model, the data or the device.
    """

    def __init__(
        self,
        network: Network,
        state: State,
        config: Plan,
        train: Encoded,
        validation: Encoded | None,
        world: World,
        checkpoints: Checkpoints,
        resumed: Loaded | None,
        emit: Callable[[dict[str, Any]], None],
        beat: Callable[[int], None],
        positive: int | None = None,
    ):
        self.positive = positive
        self.network, self.state, self.config, self.world = network, state, config, world
        self.data, self.validation = train, validation
        self.checkpoints, self.beat = checkpoints, beat
        self.sampler = Sampler(train.rows, config.batch_size, config.seed, train.lengths)
        self.loader = Loader(network, state, train, self.sampler, config, world)
        self.report = Reporter(emit, first=world.first, rows=train.rows, steps=self.sampler.steps, epochs=config.epochs)
        self.progress = Progress()
        self.judge = Judge(config, state, validation, positive)
        self.progress.stopping = self.judge.patience()
        reproducible(config.deterministic)
        seed_everything(seed_of(config.seed))
        self.model = network.build(state)
        if resumed is None:
            network.start(self.model, state)
        freeze(self.model, config.freeze)
        self._fitted = bool(network.adapt(self.model, state, train))
        self.sharded = config.parallel == "fsdp" and world.size > 1
        self.model.to("cpu" if self.sharded else world.device).train()  # shards go to the device one by one
        self.precision = Precision(config, world.device)
        self.average: Average | None = None
        if attention.wanted(config, world.device):
            attention.fuse(self.model)
        if config.compile:
            self.model.compile()
        self.reducer = make_reducer(self.model, world, config.parallel, self._reached())
        self.optimiser = Optimiser(self.model, config, self.reducer)
        self.parameters = self.optimiser.parameters
        if config.ema is not None:
            self.average = Average(self.model, config.ema)
        self._best: dict[str, torch.Tensor] | None = None
        if resumed is not None:
            self._resume(resumed)
        self._buffers = [b for b in self.model.buffers() if world.size > 1]
        self._backup = [b.clone() for b in self._buffers]
        self._counted = (0.0, 0)
        self._stepping = False
        self._before_end: dict[str, Any] | None = None  # the progress when the end of an epoch began
        self._whole = True  # the weights are those after `progress.step` steps
        self._terminated = False
        self._losses: deque[tuple[int, torch.Tensor, np.ndarray]] = deque()
        self._saved_at = time.monotonic()

    # --- set-up ---

    def _reached(self) -> set[torch.nn.Module]:
        """The modules a pass goes through; parameters that the loss does not reach are not trained."""
        device = torch.device("cpu") if self.sharded else self.world.device
        tensors, targets = self.loader.rows(np.arange(min(2, self.data.rows))).on(device)
        called, unused = drop_unused(
            self.model,
            lambda: self.network.loss(self.model(**self.network.learning(tensors, targets)), targets, self.config),
            follow=self.sharded,
        )
        if unused:
            self.report.tell("note", text=f"{len(unused)} parameters take no part in the loss and are not trained: {', '.join(unused[:4])}")
        return called

    def _resume(self, loaded: Loaded) -> None:
        self.progress = Progress.load(loaded.progress["state"])
        if self.precision.scale:
            self.precision.scale.value, self.precision.scale.good = loaded.progress["loss_scale"]
        self.reducer.load(loaded.model)
        self.optimiser.load(loaded.optimizer, self.reducer)
        if self.average:
            self.average.load(loaded.optimizer, self.reducer)
        if loaded.best is not None and (self.world.first or self.sharded):
            self._best = self.reducer.kept(loaded.best)
        p = self.progress
        exact = (loaded.progress["world_size"], loaded.progress.get("sharded", False)) == (self.world.size, self.sharded)
        more = "" if exact else f" (it was written by {loaded.progress['world_size']} processes, now {self.world.size}: not bit-identical)"
        self.report.tell("note", text=f"resumed from {loaded.path.name}: epoch {p.epoch + 1}, step {p.step} of {self.steps}{more}")

    # --- the loop ---

    @property
    def steps(self) -> int:
        """Optimiser steps of the whole run."""
        return self.config.epochs * self.sampler.steps

    def run(self) -> dict[str, torch.Tensor]:
        """Train to the end.

        Returns:
            The chosen weights and buffers, on the first process's CPU: the best epoch's where epochs are measured, else the last's.

        Raises:
            NonFiniteError: NaN or infinity; the step, the rows and the last good checkpoint are named.
            Stopped: SIGTERM; a checkpoint was written first.
        """
        p = self.progress
        if self.world.first:
            signal.signal(signal.SIGTERM, self._on_sigterm)
        if self.world.device.type == "cpu":  # a GPU's first step compiles and loads kernels: it has as long as a start
            self.beat(p.step)
        try:
            if self._fitted and not p.step and not p.history and self.validation is not None:
                self._start_counts()
            while p.epoch < self.config.epochs and not p.ended:
                self._epoch()
                self._end_epoch()
        except RuntimeError:
            self._rescue()
            raise
        self.checkpoints.flush()
        return self.reducer.gathered(self._best if self._best is not None else self._weights())

    def _on_sigterm(self, *_: Any) -> None:
        self._terminated = True

    def _epoch(self) -> None:
        p = self.progress
        steps = self.loader.epoch(p.epoch, p.step - p.epoch * self.sampler.steps)
        while p.step < (p.epoch + 1) * self.sampler.steps:
            start, cpu = time.perf_counter(), time.process_time()
            self._step(next(steps))
            p.epoch_seconds += time.perf_counter() - start
            p.epoch_cpu += time.process_time() - cpu
            self.beat(p.step)
            self.report.step(p)
            stop, late = self._due()
            if stop:
                self._save(wait=True)
                if self.sharded:
                    self.world.barrier()  # whoever starts processes may end them all when one has ended
                raise Stopped
            if late and self._save():
                self._saved_at = time.monotonic()

    def _due(self) -> tuple[bool, bool]:
        """Whether to stop, and whether a checkpoint is due; where one takes all processes, they ask each other every few steps."""
        late = self.world.first and time.monotonic() - self._saved_at >= self.config.checkpoint.every_seconds and not self.checkpoints.busy
        if not self.sharded:
            return self._terminated, late
        if self.progress.step % _AGREE_EVERY:
            return False, False
        told, wanted, busy = self.world.sum(float(self._terminated), float(late), float(self.checkpoints.busy))
        return told > 0, wanted > 0 and not busy

    def _step(self, step: Step) -> None:
        c, p = self.config, self.progress
        if self._buffers:
            torch._foreach_copy_(self._backup, self._buffers)
        self._counted, self._stepping = (p.loss_sum, p.loss_rows), True
        self.optimiser.rate = c.learning_rate * multiplier(c, p.step, self.steps, self.sampler.steps, p.plateau_factor)
        for number, part in enumerate(step.parts):
            with self.reducer.part(number == len(step.parts) - 1):
                self._part(part, step.rows, number)
        self.reducer.reduce(self._changing)
        self._update()
        p.step += 1
        self._stepping, self._whole = False, True

    def _changing(self) -> None:
        """From here until the step is counted the weights are no step's: not to be rescued."""
        self._whole = False

    def _part(self, part: Part, batch: int, number: int) -> None:
        p = self.progress
        seed_everything(seed_of(self.config.seed, p.step, self.world.rank, number), self.world.device)
        tensors, targets = part.on(self.world.device)
        with self.precision.autocast():
            loss = self.network.loss(self.reducer.module(**self.network.learning(tensors, targets)), targets, self.config)
        self._losses.append((p.step, loss.detach(), part.rows))
        while self._losses and (self.world.device.type == "cpu" or len(self._losses) > self.config.accumulate):
            self._settle(*self._losses.popleft())
        self.precision.backward(loss * (self.reducer.factor * len(part.rows) / batch))

    def _settle(self, step: int, loss: torch.Tensor, rows: np.ndarray) -> None:
        """Count a part's loss; on a GPU some steps late, so that it is not waited for."""
        value = float(loss)
        if not math.isfinite(value):
            raise self._non_finite("the loss", value, step, rows)
        self.progress.loss_sum += value * len(rows)
        self.progress.loss_rows += len(rows)

    def _non_finite(self, what: str, value: float, step: int, rows: np.ndarray) -> NonFiniteError:
        good = max((path.name for path in self.checkpoints.root.glob("step-*")), default="none yet")
        where = f"in step {step + 1} (epoch {step // self.sampler.steps + 1}, process {self.world.rank})"
        return non_finite(f"{what} became {value} {where}", value, self.data.row_ids(rows[:16]), len(rows), good)

    def _update(self) -> None:
        c, scale = self.config, self.precision.scale
        finite = scale.unscale(self.parameters, self.reducer) if scale else True
        if c.gradient_clip is not None and finite:
            norm = self.reducer.clip(self.parameters, c.gradient_clip)
            if (self.world.device.type == "cpu" or self.sharded) and not math.isfinite(float(norm)):
                rows = share(
                    self.sampler.batch(self.progress.epoch, self.progress.step % self.sampler.steps), self.world.rank, self.world.size
                )
                raise self._non_finite("the gradient", float(norm), self.progress.step, rows)
        self._changing()
        if finite:
            self.optimiser.step()
        self.reducer.updated()
        if finite and self.average:
            self.average.update(self.progress.step)
        self.optimiser.clear()

    # --- the end of an epoch ---

    def _end_epoch(self) -> None:
        p, c = self.progress, self.config
        while self._losses:
            self._settle(*self._losses.popleft())
        self._before_end = dataclasses.asdict(p)
        entry = self._measured()
        rate = c.learning_rate * multiplier(c, p.step - 1, self.steps, self.sampler.steps, p.plateau_factor)
        loss_sum, loss_rows = self.world.sum(p.loss_sum, p.loss_rows)
        ended, factor, better = "", p.plateau_factor, False
        if self.world.first:
            entry = {
                "epoch": p.epoch + 1,
                "step": p.step,
                "train_loss": loss_sum / max(loss_rows, 1),
                **entry,
                **self.network.health(self.model),
                "samples_per_second": self.data.rows / p.epoch_seconds if p.epoch_seconds else 0.0,
                "learning_rate": rate,
                "cpu_seconds": p.epoch_cpu,
            }
            ended, factor, better = self.judge.end_of_epoch(p, entry)
            p.history.append(entry)
            self.report.tell("epoch", **entry, epochs=c.epochs, steps=self.steps)
            if (ended or p.epoch + 1 == c.epochs) and (said := self.network.ails(entry)):
                self.report.tell("warning", text=said)
        ended, p.plateau_factor, better = self.world.broadcast([ended, factor, better])
        if better:
            self._keep(p.epoch + 1)
        p.ended = ended if p.epoch + 1 < c.epochs else ""
        if p.ended == "time":
            self.report.tell(
                "warning",
                text=f"train.budget.minutes ({c.minutes:g}) ended the training after epoch {p.epoch + 1} of at most {c.epochs}: "
                "on a faster machine the same run would go on, and give another model",
            )
        p.seconds += p.epoch_seconds
        p.epoch, p.loss_sum, p.loss_rows, p.epoch_seconds, p.epoch_cpu = p.epoch + 1, 0.0, 0, 0.0, 0.0
        self._before_end = None

    def _measured(self) -> dict[str, Any]:
        if self.validation is None:
            return {"validation_loss": None, "validation_metrics": {}}
        self.world.broadcast_buffers(self.model)
        with self.average.applied() if self.average else contextlib.nullcontext():
            outputs, loss = run_split(
                self.network,
                self.state,
                self.model,
                self.validation,
                self.world,
                batch_size=max(64, self.config.batch_size),
                train=self.config,
                autocast=self.precision.autocast,
                beat=lambda: self.beat(self.progress.step),
                together=self.sharded,
            )
        found = measure(self.state, outputs, self.validation.labels, self.positive) if outputs is not None else {}
        return {"validation_loss": loss, "validation_metrics": found}

    def _start_counts(self) -> None:
        """The model is fitted already: measure it as epoch 0, so that training can only make it better."""
        p = self.progress
        entry, better = self._measured(), False
        if self.world.first:
            entry = {
                "epoch": 0,
                "step": 0,
                "train_loss": None,
                **entry,
                "samples_per_second": 0.0,
                "learning_rate": 0.0,
                "cpu_seconds": 0.0,
            }
            better = p.stopping.see(self.judge.value(entry), 0)
            p.history.append(entry)
            self.report.tell("epoch", **entry, epochs=self.config.epochs, steps=self.steps)
        if self.world.broadcast(better):
            self._keep(0)

    def _keep(self, epoch: int) -> None:
        """The weights as they are now are the best so far."""
        if self.world.first or self.sharded:
            self._best = self._weights()
            self.checkpoints.best(epoch, self._best)

    def _weights(self) -> dict[str, torch.Tensor]:
        """Copies on the CPU of what would be the model now; of shards, this process's."""
        with self.average.applied() if self.average else contextlib.nullcontext():
            return {k: v.detach().to("cpu", copy=True).contiguous() for k, v in self.reducer.state().items()}

    # --- keeping ---

    def _save(self, wait: bool = False) -> bool:
        if not (self.world.first or self.sharded) or (self.checkpoints.busy and not wait):
            return False
        if not self.reducer.agree(all(math.isfinite(float(local(p.detach()).sum())) for p in self.parameters)):
            return False  # never take the place of a good one; the next step's loss names the fault
        model, optimizer = self.reducer.state(), self.optimiser.tensors(counts=self.world.first)
        if self.average:
            optimizer |= self.average.state()
        scale = self.precision.scale
        progress = {
            "state": dataclasses.asdict(self.progress),
            "loss_scale": [scale.value, scale.good] if scale else None,
            "world_size": self.world.size,
            "sharded": self.sharded,
        }
        return self.checkpoints.save(self.progress.step, model, optimizer, progress, wait=wait)

    def _rescue(self) -> None:
        """Another process is gone: keep what the finished steps made, so that none has to be done again."""
        if self.world.first and self.world.size > 1 and self._whole and not self.sharded:
            if self.average:
                self.average.take_off()
            if self._stepping:
                self.progress.loss_sum, self.progress.loss_rows = self._counted
                if self._buffers:
                    torch._foreach_copy_(self._buffers, self._backup)
            if self._before_end is not None:  # the epoch's end is done again
                self.progress = Progress.load(self._before_end)
            self._save(wait=True)
