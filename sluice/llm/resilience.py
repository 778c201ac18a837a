"""When an endpoint is asked again, and when it is left alone."""

from __future__ import annotations

import email.utils
import random
import threading
import time
from dataclasses import dataclass

from sluice.llm.failures import BreakerOpen

#: The longest wait an endpoint may ask of all calls.
LONGEST_WAIT = 120.0


@dataclass(frozen=True)
class Retry:
    """How a call is tried again.

    Attributes:
        attempts: at most so many a call, the first included.
        base, cap: seconds; before attempt n a wait of 0 to ``min(cap, base * 2**n)``, drawn evenly ("full jitter": AWS Architecture Blog, 2015).
        ratio: retries that each call pays for: an endpoint that is down gets that share more load and no more (Finagle's retry budget).
        reserve: retries there are to begin with, and at most.
    """

    attempts: int = 3
    base: float = 0.25
    cap: float = 8.0
    ratio: float = 0.2
    reserve: float = 10.0

    def wait(self, attempt: int) -> float:
        """Seconds before attempt `attempt` (1: the first retry)."""
        return random.uniform(0, min(self.cap, self.base * 2**attempt))


class RetryBudget:
    """The retries that are left, of all calls together."""

    def __init__(self, retry: Retry):
        self._left, self._retry, self._lock = retry.reserve, retry, threading.Lock()

    def called(self) -> None:
        """A first call was made: it earns its share of a retry."""
        with self._lock:
            self._left = min(self._retry.reserve, self._left + self._retry.ratio)

    def take(self) -> bool:
        """Whether one more retry may be made."""
        with self._lock:
            if self._left < 1:
                return False
            self._left -= 1
            return True


class Breaker:
    """Leaves an endpoint alone after failures in a row, then asks it once.

    What ends while the endpoint had asked everybody to wait is not counted: then only calls that hang end, and none that could succeed.

    Args:
        failures: in a row until it opens.
        seconds: it stays open at first; doubled each time the one call that is let through fails, up to a minute.
    """

    def __init__(self, failures: int = 20, seconds: float = 5.0):
        self.failures, self.seconds = failures, seconds
        self._lock = threading.Lock()
        self._row, self._until, self._open_for, self._probing = 0, 0.0, seconds, False
        self._not_before = 0.0

    @property
    def open(self) -> bool:
        """Whether calls are refused, but for one now and then."""
        return self._row >= self.failures

    def enter(self) -> float:
        """Begin an attempt. Returns the seconds it has to wait first, as the endpoint asked.

        Raises:
            BreakerOpen: it is left alone, with the seconds until it is asked again.
        """
        now = time.monotonic()
        with self._lock:
            if not self.open:
                return max(0.0, self._not_before - now)
            left = self._until - now
            if left > 0 or self._probing:
                raise BreakerOpen(
                    f"the model endpoint failed {self._row} times in a row and is left alone",
                    retry_after=max(1.0, left),
                    fix="look at the endpoint; it is asked again by itself",
                )
            self._probing = True
            return 0.0

    def left(self, failed: bool | None) -> None:
        """An attempt ended. `failed` None: it says nothing about the endpoint (cancelled, or refused for the caller's fault)."""
        with self._lock:
            probing, self._probing = self._probing and self.open, False
            if failed is False:
                self._row, self._open_for = 0, self.seconds
            elif failed and (probing or time.monotonic() >= self._not_before):
                self._row += 1
                if probing:
                    self._open_for = min(60.0, self._open_for * 2)
                if self.open:
                    self._until = time.monotonic() + self._open_for

    def asked_to_wait(self, seconds: float) -> None:
        """The endpoint says when it takes calls again: nobody asks it before."""
        with self._lock:
            self._not_before = max(self._not_before, time.monotonic() + min(seconds, LONGEST_WAIT))


def retry_after(header: str | None) -> float | None:
    """Seconds of a ``Retry-After`` (RFC 9110, 10.2.3): a number, or a date; None where it is neither."""
    if not header:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(header).timestamp() - time.time()
        except (ValueError, TypeError, OverflowError):
            return None
    return min(max(0.0, seconds), 86400.0) if seconds == seconds else None
