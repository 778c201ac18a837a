"""What can go wrong while a model is learnt."""

from __future__ import annotations

from sluice.core.errors import SluiceError


class TrainingError(SluiceError):
    """A training process failed; the message ends with its traceback."""


class NonFiniteError(TrainingError):
    """The loss, or a gradient, became NaN or infinite; the step and the rows are named."""


class ProcessDied(TrainingError):
    """A training process was killed, or stuck, more often than it may be restarted."""


def non_finite(message: str, value: float, ids: list[str], rows: int, good: str) -> NonFiniteError:
    """The error of a loss or gradient that is NaN or infinite.

    Args:
        message: what became what, and where.
        value: what it became.
        ids: of the first rows of the part.
        rows: how many it has.
        good: the last checkpoint.
    """
    more = f" and {rows - len(ids)} more" if rows > len(ids) else ""
    return NonFiniteError(
        f"{message}; rows {', '.join(ids)}{more}; last good checkpoint: {good}",
        field="train",
        value=value,
        fix="lower train.learning_rate, set train.gradient_clip, or look at those rows",
    )
