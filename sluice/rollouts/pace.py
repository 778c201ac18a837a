"""How fast requests are replayed: as fast as was asked for, and no faster than the servers sustain."""

from __future__ import annotations

import collections

#: Seconds between two decisions.
EVERY = 0.25
#: Requests a second to begin with, and never fewer than.
_FIRST, _LEAST = 20.0, 1.0
#: In flight at most at the least rate; at the full rate it is the number of connections.
_FEW = 4
#: Requests that may wait in one server: a health check comes after at most so many.
_QUEUE = 4.0
#: Answers of an arm to judge it by, the seconds to wait for them, and the windows its best latency is remembered for.
_ANSWERS, _WAIT, _WINDOWS = 3, 1.0, 40
_DOWN, _UP = 0.5, 0.04
#: Of all answers: turned away more often than that, the servers are overrun; a few are the model's own errors.
_REFUSED = 0.2
#: Seconds behind its own schedule at which the sender is starved itself.
_LAG = 0.1


class Pace:
    """A rate that grows while answers come as fast as they can, and is halved when they begin to queue.

    How many requests wait at a server is its rate times what its quicker answers (the first quartile) take above the best
    of the last ten seconds: TCP Vegas's estimate (Brakmo and Peterson 1995), for each arm by itself. Doubling at first,
    then additive increase and multiplicative decrease (Chiu and Jain 1989). A model that is merely slow is no queue.

    Args:
        most: requests a second asked for. connections: in flight at most at that rate.

    Attributes:
        rate: requests a second now.
    """

    def __init__(self, most: float, connections: int):
        self.most, self.connections = most, connections
        self.ease()

    def ease(self) -> None:
        """Begin gently again: other servers take the requests from now on."""
        self.rate = min(_FIRST, self.most)
        self._doubling = True
        self._best: dict[str, collections.deque[float]] = {}
        self._window: dict[str, list[float]] = {}
        self._since: float | None = None
        self._quiet_until = float("-inf")

    @property
    def in_flight(self) -> int:
        """Requests that may be unanswered at once."""
        return min(self.connections, max(_FEW, round(self.connections * self.rate / self.most)))

    def answered(self, arm: str, seconds: float) -> None:
        """An arm answered, in so many seconds."""
        self._window.setdefault(arm, []).append(seconds)

    def look(self, now: float, *, in_flight: int, lag: float = 0.0, refused: int = 0) -> None:
        """Decide anew; every `EVERY` seconds.

        Args:
            now: monotonic seconds. in_flight: requests unanswered now. lag: seconds the sender is behind its schedule, on average.
            refused: requests since the last look that were not answered, or turned away as too many (429, 503).
        """
        since = self._since = now if self._since is None else self._since
        answers = sum(map(len, self._window.values()))
        full = in_flight >= self.in_flight
        overrun = refused > max(1.0, _REFUSED * answers)
        if answers < _ANSWERS and not overrun and lag < _LAG and now - since < max(_WAIT, 1.5 * _ANSWERS / self.rate):
            return
        queued = max((self._queued(arm, seconds, now - since) for arm, seconds in self._window.items()), default=0.0)
        stuck = answers < _ANSWERS and full
        took = sorted(x for seconds in self._window.values() for x in seconds)
        self._window, self._since = {}, now
        if now < self._quiet_until:
            # What was sent before the last decrease is still being answered.
            return
        if queued > _QUEUE or overrun or stuck or lag >= _LAG:
            # A sender that is starved itself needs no slower a pace than it began with.
            least = _LEAST if queued > _QUEUE or overrun or stuck else min(_FIRST, self.rate)
            self.rate, self._doubling = max(self.rate * _DOWN, min(least, self.most)), False
            self._quiet_until = now + min(max(2 * EVERY, 2 * took[-1] if took else _WAIT), 5.0)
        elif answers >= _ANSWERS:
            self.rate = min(self.most, 2 * self.rate if self._doubling else self.rate + _UP * self.most)

    def _queued(self, arm: str, seconds: list[float], passed: float) -> float:
        """Requests of this window that waited at the arm's server, on average."""
        if len(seconds) < _ANSWERS:
            return 0.0
        quick = sorted(seconds)[len(seconds) // 4]
        best = self._best.setdefault(arm, collections.deque(maxlen=_WINDOWS))
        best.append(quick)
        return len(seconds) / max(passed, EVERY) * (quick - min(best))
