"""What the first process says of a run as it goes: steps, epochs and notes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from sluice.learners.torch.progress import Progress

#: Seconds between two `step` events.
_EVENTS_EVERY = 0.25


class Reporter:
    """Tells of progress; on the other processes it says nothing.

    Args:
        emit: takes an event.
        first: whether this is the first process.
        rows: of the training split.
        steps: optimiser steps an epoch.
        epochs: at most so many.
    """

    def __init__(self, emit: Callable[[dict[str, Any]], None], *, first: bool, rows: int, steps: int, epochs: int):
        self._emit, self._first, self._rows, self._steps, self._epochs = emit, first, rows, steps, epochs
        self._told_at = time.monotonic()

    def tell(self, kind: str, **fields: Any) -> None:
        """One event."""
        if self._first:
            self._emit({"kind": kind, **fields})

    def step(self, p: Progress) -> None:
        """A step is done: tell of it, unless that was done a moment ago."""
        now, all_steps = time.monotonic(), self._epochs * self._steps
        if not self._first or (now - self._told_at < _EVENTS_EVERY and p.step != all_steps):
            return
        self._told_at = now
        rate = (p.step - p.epoch * self._steps) * self._rows / self._steps / p.epoch_seconds
        self.tell(
            "step",
            epoch=p.epoch + 1,
            epochs=self._epochs,
            step=p.step,
            steps=all_steps,
            loss=p.loss_sum / p.loss_rows if p.loss_rows else None,
            samples_per_second=rate,
            seconds_left=(all_steps - p.step) * self._rows / self._steps / rate,
        )
