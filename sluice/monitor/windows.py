"""Windows: which predictions are judged together. Closed by a number of rows, by the clock, or by whichever comes first.

Pure: a state and the times of a batch in, pieces of the batch out. A window that the clock would close with fewer rows than the minimum
goes on, so nothing is ever judged by a handful of rows, and a time without any is no window: nothing was seen, which is not "nothing moved".
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sluice.monitor.config import Window

_DAY = 86400.0


@dataclasses.dataclass(frozen=True)
class Open:
    """The window that is open.

    Attributes:
        rows: it has so far.
        begun, ended: the first and the last row's time, in microseconds since 1970; None where rows tell no time.
        before: when the window before it ended.
    """

    rows: int = 0
    begun: int | None = None
    ended: int | None = None
    before: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return dataclasses.asdict(self)

    @property
    def days(self) -> float | None:
        """Days since the window before it ended, at most one: how much time its verdict stands for; None where that is not known."""
        since = self.before if self.before is not None else self.begun
        if since is None or self.ended is None:
            return None
        return min(max((self.ended - since) / 1e6 / _DAY, 0.0), 1.0)


@dataclasses.dataclass(frozen=True)
class Piece:
    """Rows ``start .. stop`` of a batch that belong to one window; `window` is that with them, and `closed` whether it ends with them."""

    start: int
    stop: int
    window: Open
    closed: bool


def cut(state: Open, times: NDArray[np.int64] | None, rows: int, config: Window) -> tuple[list[Piece], Open]:
    """A batch in pieces, and the window that is open behind it.

    Args:
        state: the window that is open before it.
        times: of the rows, microseconds since 1970; a late row counts where it arrives. None: not known.
        rows: how many.
        config: when a window closes; without times, by rows alone.
    """
    clock = None if times is None else np.maximum.accumulate(times if state.ended is None else np.maximum(times, state.ended))
    turns = _turns(clock, state, config)
    pieces, at, window = [], 0, state
    while at < rows:
        stop, closed = _end(window, at, rows, turns, config)
        grown = _grown(window, at, stop, clock)
        pieces.append(Piece(at, stop, grown, closed))
        window, at = (Open(before=grown.ended) if closed else grown), stop
    return pieces, window


def _turns(clock: NDArray[np.int64] | None, state: Open, config: Window) -> NDArray[np.int64]:
    """Rows before which the clock closes a window."""
    if clock is None or config.seconds is None or not len(clock):
        return np.empty(0, np.int64)
    slots = clock // max(int(config.seconds * 1e6), 1)
    first = [0] if state.ended is not None and state.ended // max(int(config.seconds * 1e6), 1) != slots[0] else []
    return np.concatenate([np.array(first, np.int64), np.flatnonzero(np.diff(slots)) + 1])


def _end(window: Open, at: int, rows: int, turns: NDArray[np.int64], config: Window) -> tuple[int, bool]:
    """Where the window that is open at row `at` ends in the batch, and whether it does."""
    full = at + config.rows - window.rows if config.rows is not None else rows + 1
    enough = at + max(config.least - window.rows, 0)
    i = int(np.searchsorted(turns, max(enough, at + (0 if window.rows else 1)), side="left"))
    turn = int(turns[i]) if i < len(turns) else rows + 1
    return min(full, turn, rows), min(full, turn) <= rows


def _grown(window: Open, start: int, stop: int, clock: NDArray[np.int64] | None) -> Open:
    if clock is None or stop == start:
        return dataclasses.replace(window, rows=window.rows + stop - start)
    begun = int(clock[start]) if window.begun is None else window.begun
    return Open(window.rows + stop - start, begun, int(clock[stop - 1]), window.before)
