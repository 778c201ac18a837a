"""What is still to be told a tracker: kept in order, tried again while it does not answer, said once."""

from __future__ import annotations

import collections
import logging
import time
from collections.abc import Callable

from sluice.core.errors import first_line

log = logging.getLogger(__name__)

#: Calls kept at most; beyond them the oldest go, and are counted.
_KEPT = 1000
#: Seconds before the next try: at least so many, ten times what the failure itself took (a tracker never costs more than a tenth of the work), at most so many.
_SOON, _LONG, _PART = 1.0, 60.0, 10.0
#: Tries of one call before it is given up: the tracker answers others, but not this one.
_TRIES = 200


class Outbox:
    """Calls to one tracker.

    Args:
        name: of the tracker, for people. say: where what they must know is told.
        refused: whether a failure is an answer (this call will never be taken), not a silence.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        name: str,
        *,
        say: Callable[[str], None] = log.warning,
        refused: Callable[[Exception], bool] = lambda _: False,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._name, self._say, self._refused, self._clock = name, say, refused, clock
        self._calls: collections.deque[tuple[str, Callable[[], None]]] = collections.deque()
        self._next = self._down_since = float("-inf")
        self._failures = 0
        self._told_refusal = False
        self.lost = 0

    def __len__(self) -> int:
        return len(self._calls)

    def holds(self, what: str) -> bool:
        """Whether such a call waits."""
        return any(w == what for w, _ in self._calls)

    def put(self, what: str, call: Callable[[], None]) -> None:
        """Make a call, after those that wait; it must bear being made twice.

        Args:
            what: it does, for people ("log metrics"). call: raises where the tracker does not take it.
        """
        self._calls.append((what, call))
        if len(self._calls) > _KEPT:
            # The first is what opens the run: nothing can be told without it.
            del self._calls[1]
            self.lost += 1
        self.flush()

    def flush(self, *, last: bool = False) -> None:
        """Make the calls that wait, if it is time for another try; the `last` time in any case, and say what is left over."""
        if last or self._clock() >= self._next:
            self._try()
        if last and (self._calls or self.lost):
            self._say(f"tracking: {len(self._calls) + self.lost} entries were not written, {self._name} did not answer in time")
            self._calls.clear()

    def _try(self) -> None:
        while self._calls:
            what, call = self._calls[0]
            begun = self._clock()
            try:
                call()
            except Exception as e:  # a tracker's trouble never stops the work
                if not self._refused(e) and self._failures < _TRIES:
                    self._away(what, e, begun)
                    return
                if not self._told_refusal:
                    self._say(
                        f"tracking: {self._name} did not take what was to {what} ({type(e).__name__}: {first_line(e, 200)}); the work goes on"
                    )
                self._told_refusal = True
            self._calls.popleft()
            if self._failures:
                log.info("tracking: %s answers again after %.0f s", self._name, self._clock() - self._down_since)
            self._failures = 0

    def _away(self, what: str, error: Exception, begun: float) -> None:
        now = self._clock()
        if not self._failures:
            if self._down_since == float("-inf"):
                self._say(
                    f"tracking: {self._name} could not {what} ({type(error).__name__}: {first_line(error, 200)}); the work goes on, and it is tried again"
                )
            self._down_since = now
        self._failures += 1
        self._next = now + min(max(_SOON * 2 ** min(self._failures - 1, 10), _PART * (now - begun)), _LONG)
