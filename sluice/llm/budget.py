"""Money and tokens that may be spent, never exceeded: each call sets aside the most it can cost before it is sent."""

from __future__ import annotations

import fcntl
import os
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sluice.core.errors import ProjectError
from sluice.llm.failures import BudgetSpent

#: Money is counted in billionths, so that sums are exact whatever their order.
_NANO = 1_000_000_000
_STATE = struct.Struct("<qq")
_FIX = "raise the budget, or lower max_tokens"


@dataclass(frozen=True)
class Price:
    """What a million tokens cost, in the budget's currency."""

    input: float = 0.0
    output: float = 0.0

    def of(self, tokens_in: int, tokens_out: int) -> float:
        """What so many tokens cost."""
        return (tokens_in * self.input + tokens_out * self.output) / 1e6


class Budget:
    """What may be spent, by all threads, and by all processes where it is kept in a file.

    What a process set aside and did not settle before it died stays spent: nobody knows whether it was billed.

    Args:
        tokens: in and out together; None: any number.
        cost: in the currency of the `Price`; None: any.
        path: a file that keeps what was spent; made if it is not there. None: this process alone counts.

    Raises:
        ProjectError: a limit is negative.
    """

    def __init__(self, tokens: int | None = None, cost: float | None = None, path: Path | None = None):
        for name, limit in (("tokens", tokens), ("cost", cost)):
            if limit is not None and not 0 <= limit <= 1e9 * (1 if name == "cost" else 1e6):
                raise ProjectError("must be at least 0", field=f"budget.{name}", value=limit)
        self.tokens, self.cost, self._path = tokens, cost, path
        self._lock, self._state = threading.Lock(), (0, 0)

    @property
    def spent(self) -> tuple[int, float]:
        """Tokens and money spent or set aside."""
        tokens, nano = self._change(lambda t, c: (t, c))
        return tokens, nano / _NANO

    def reserve(self, tokens: int, cost: float) -> Reservation:
        """Set aside the most a call can take.

        Raises:
            BudgetSpent: less is left.
        """
        nano = round(cost * _NANO)

        def taken(had: int, had_nano: int) -> tuple[int, int]:
            if self.tokens is not None and had + tokens > self.tokens:
                raise BudgetSpent(
                    f"{had} of {self.tokens} tokens are spent, and a call may take {tokens}",
                    field="budget.tokens",
                    value=self.tokens,
                    fix=_FIX,
                )
            if self.cost is not None and had_nano + nano > round(self.cost * _NANO):
                raise BudgetSpent(
                    f"{had_nano / _NANO:.6g} of {self.cost:.6g} is spent, and a call may cost {cost:.3g}",
                    field="budget.cost",
                    value=self.cost,
                    fix=_FIX,
                )
            return had + tokens, had_nano + nano

        self._change(taken)
        return Reservation(self, tokens, nano)

    def _change(self, change: Callable[[int, int], tuple[int, int]]) -> tuple[int, int]:
        with self._lock:
            if self._path is None:
                self._state = change(*self._state)
                return self._state
            # Opened anew each time: the lock belongs to the open file, so it holds among threads, forks and processes.
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
                raw = os.pread(file, _STATE.size, 0)
                before = _STATE.unpack(raw) if len(raw) == _STATE.size else (0, 0)
                after = change(*before)
                if after != before:
                    os.pwrite(file, _STATE.pack(*after), 0)
                return after
            finally:
                os.close(file)


class Reservation:
    """What one call set aside. Without `settle` it stays spent."""

    def __init__(self, budget: Budget, tokens: int, nano: int):
        self._budget, self._tokens, self._nano = budget, tokens, nano

    def settle(self, tokens: int, cost: float) -> None:
        """Spend what the call really took, and give the rest back. Once; later calls do nothing."""
        back, back_nano = self._tokens - tokens, self._nano - round(cost * _NANO)
        if self._tokens or self._nano:
            self._budget._change(lambda t, c: (t - back, c - back_nano))
            self._tokens = self._nano = 0

    def release(self) -> None:
        """Nothing was billed."""
        self.settle(0, 0.0)


def most_tokens(messages: list[dict[str, Any]], max_tokens: int) -> tuple[int, int]:
    """The most tokens (in, out) a call can take: a token of byte-level BPE is at least a byte, and a chat template adds a few a message."""
    size = sum(len(str(v).encode("utf-8", "replace")) for m in messages for v in m.values())
    return size + 24 * len(messages) + 24, max_tokens
