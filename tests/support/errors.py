"""Streams of labelled answers, and what looks at them find."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sluice.monitor import stream
from sluice.monitor.config import Quality

_DAY = 86_400_000_000


def drawn(
    rng: np.random.Generator, rate: float, rows: int, *, told: bool, a_day: int, loss_at: int | None = None, loss: float = 0.05
) -> stream.Errors:
    """Answers of which so many are wrong.

    Args:
        told: whether the model tells its chance to be wrong. a_day: answers a day. loss_at: the row from which on `loss` more of them are wrong.
    """
    p = rng.beta(rate * 3, (1 - rate) * 3, rows).clip(1e-4, 0.6) if told else np.full(rows, rate)
    now = p if loss_at is None else np.where(np.arange(rows) >= loss_at, p + loss / (1 - rate) * (1 - p), p)
    error = (rng.random(rows) < now).astype(float)
    return stream.Errors(error, p.astype(np.float32).astype(float) if told else np.full(rows, np.nan), np.arange(rows) * (_DAY // a_day))


def looked(rows: stream.Errors, cuts: Sequence[int], config: Quality | None = None) -> tuple[list[bool], list[bool]]:
    """Whether a rise stood, and was suspected, at each look: one behind each of `cuts` rows; what is kept goes through JSON's types as a watch's does."""
    config, kept = config or Quality(), None
    standing, suspected, before = [], [], 0
    for at in cuts:
        more = stream.Errors(rows.error[before:at], rows.doubt[before:at], rows.times[before:at])
        errors = stream.Errors.unpacked(kept).then(more).bounded(config, True)
        found, _ = stream.asked(errors, config, True)
        kept, before = errors.packed(), at
        standing.append(found is not None and found.standing)
        suspected.append(found is not None and found.suspected)
    return standing, suspected


def bursts(rng: np.random.Generator, rows: int, a_day: int) -> list[int]:
    """Looks behind labels that come a day at a time, in a few batches of any size."""
    inside = {int(day + x) for day in range(0, rows, a_day) for x in rng.integers(1, a_day, 3)}
    return sorted({rows, *range(a_day, rows, a_day), *(c for c in inside if c < rows)})


def episodes(flags: Sequence[bool]) -> int:
    """How often it began."""
    return sum(now and not before for before, now in zip([False, *flags], flags, strict=False))
