"""How an estimator was fitted, told while it goes on and written down: an entry a round of boosting, or one."""

from __future__ import annotations

import contextlib
import math
import os
import platform
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from typing import Any

import numpy as np

from sluice.learners.base import Event

#: Seconds between two rounds that are told of while they go on: a round may take a millisecond.
_EVERY = 0.5
_LEAST = 1e-15


class Rounds:
    """Takes in the rounds of boosting as they are done (`Tell`).

    Args:
        on_event: told of some of them, as of epochs.

    Attributes:
        history: an entry a round: epoch (the round), train_loss, validation_loss, validation_metrics (empty).
    """

    def __init__(self, on_event: Callable[[Event], None]):
        self.history: list[dict[str, Any]] = []
        self._on_event, self._last = on_event, time.monotonic()

    def __call__(self, number: int, of: int, train_loss: float | None = None, validation_loss: float | None = None) -> None:
        """See `Tell`."""
        entry: Event = {"epoch": number, "train_loss": train_loss, "validation_loss": validation_loss, "validation_metrics": {}}
        self.history.append(entry)
        now = time.monotonic()
        if now - self._last >= _EVERY:
            self._last = now
            self._on_event({"kind": "epoch", **entry, "epochs": of})


def loss_of(answers: np.ndarray, targets: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Log loss of probabilities [rows, labels], or the mean squared error of values [rows].

    Args:
        answers: the model's.
        targets: indices of labels, or values.
        weights: of the rows; the loss is their weighted mean. None: all the same.
    """
    if answers.ndim == 2:
        each = -np.log(np.maximum(answers[np.arange(len(targets)), targets].astype(np.float64), _LEAST))
    else:
        each = (answers.astype(np.float64) - targets) ** 2
    return float(np.average(each, weights=weights)) if len(each) else math.nan


def environment(threads: int, libraries: Sequence[str]) -> dict[str, Any]:
    """Versions and hardware, as plain JSON values."""
    found = {}
    for name in ("numpy", *libraries):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpus": os.cpu_count(),
        "device": "cpu",
        "threads": threads,
        "libraries": found,
    }
