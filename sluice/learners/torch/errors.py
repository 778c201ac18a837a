"""What can go wrong while training."""

from __future__ import annotations

from sluice.core.errors import SluiceError


class TrainingError(SluiceError):
    """A training process failed; the message ends with its traceback."""


class NonFiniteError(TrainingError):
    """The loss, or a gradient, became NaN or infinite; the step and the rows are named."""


class ProcessDied(TrainingError):
    """A training process was killed, or stuck, more often than it may be restarted."""
