"""Models loaded and unloaded while serving: on all workers or on none, one change at a time.

Two phases: every worker loads the new package beside the old one and warms it up; when all have,
all switch. If one cannot, none does. Requests go on with the old version until their worker switches.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from serving.runtime.metrics import Metrics
from serving.runtime.settings import Source

log = logging.getLogger("sluice.serving")

_SECONDS = 120.0


@dataclasses.dataclass
class Change:
    """One change. `waiting`: workers that have not done their part of the phase."""

    number: int
    action: str
    name: str
    uri: str
    digest: str | None
    asker: int | None
    ticket: int
    phase: str = "prepare"
    waiting: set[int] = dataclasses.field(default_factory=set)
    until: float = 0.0
    found: str | None = None
    error: dict[str, Any] | None = None


class Changes:
    """The parent's queue of changes.

    Args:
        models: what is served, by name: kept up to date here, and what workers started later load.
        serving: numbers of the workers that serve.
        tell: sends a worker a message; False when it is gone.
    """

    def __init__(
        self, models: dict[str, Source], serving: Callable[[], set[int]], tell: Callable[[int, dict[str, Any]], bool], metrics: Metrics
    ):
        self._models, self._serving, self._tell, self._metrics = models, serving, tell, metrics
        self._queue: deque[Change] = deque()
        self._numbers = 0

    @property
    def until(self) -> float:
        """When the change under way has taken too long; 0 if there is none."""
        return self._queue[0].until if self._queue else 0.0

    def add(self, action: str, name: str, uri: str, digest: str | None, asker: int | None = None, ticket: int = 0) -> None:
        """Queue a ``load`` or ``unload``; the worker that asked hears how it ended."""
        self._numbers += 1
        self._queue.append(Change(self._numbers, action, name, uri, digest, asker, ticket))
        if len(self._queue) == 1:
            self._begin()

    def heard(self, number: int, message: dict[str, Any]) -> None:
        """A worker has done its part of a phase."""
        if not self._queue or self._queue[0].number != message["change"] or number not in self._queue[0].waiting:
            return
        change = self._queue[0]
        if message.get("error") and change.error is None:
            change.error = message["error"]
        if message.get("digest"):
            if change.found not in (None, message["digest"]):
                change.error = {"error": "PackageError", "message": "changed while it was loaded", "field": change.uri}
            change.found, change.name = message["digest"], message["name"]
        self._done(number)

    def gone(self, number: int) -> None:
        """A worker died: nobody waits for it. The one started in its place is brought up to date by `catch_up`."""
        if self._queue and number in self._queue[0].waiting:
            self._done(number)

    def expire(self, now: float) -> None:
        """Give up a change that takes too long."""
        if self._queue and self._queue[0].until <= now:
            change = self._queue[0]
            log.error("workers %s did not answer", sorted(change.waiting))
            if change.phase == "prepare":
                change.error = {"error": "DeadlineError", "message": f"not loaded on all workers after {_SECONDS:g} s"}
                self._abort()
            else:
                self._settle()

    def catch_up(self, models: list[dict[str, str]]) -> None:
        """A worker that started while a change was going on may have missed it: it gets what differs."""
        has = {m["name"]: m["digest"] for m in models}
        for name, source in self._models.items():
            if has.get(name) != source.digest:
                self.add("load", name, source.uri, source.digest)
        for name in has.keys() - self._models.keys():
            self.add("unload", name, "", None)

    def _begin(self) -> None:
        change = self._queue[0]
        change.until = time.monotonic() + _SECONDS
        message = {
            "op": "prepare",
            "change": change.number,
            "action": change.action,
            "name": change.name,
            "uri": change.uri,
            "digest": change.digest,
        }
        change.waiting = {n for n in self._serving() if self._tell(n, message)}
        if not change.waiting:
            change.error = {"error": "Unavailable", "message": "no worker serves at the moment"}
            self._abort()

    def _done(self, number: int) -> None:
        change = self._queue[0]
        change.waiting.discard(number)
        if change.waiting:
            return
        if change.phase == "commit":
            self._settle()
        elif change.error is not None or (change.action == "load" and change.found is None):
            change.error = change.error or {"error": "Unavailable", "message": "the workers died while they loaded it"}
            self._abort()
        else:
            # From here on it holds: workers started later load the new one.
            if change.action == "load":
                self._models[change.name] = Source(change.name, change.uri, change.found)
            else:
                self._models.pop(change.name, None)
            change.phase = "commit"
            change.waiting = {n for n in self._serving() if self._tell(n, {"op": "commit", "change": change.number, "name": change.name})}
            if not change.waiting:
                self._settle()

    def _abort(self) -> None:
        for number in self._serving():
            self._tell(number, {"op": "abort", "change": self._queue[0].number})
        self._settle()

    def _settle(self) -> None:
        change = self._queue.popleft()
        outcome = "refused" if change.error else "loaded" if change.action == "load" else "unloaded"
        self._metrics.values[self._metrics.counter("sluice_model_loads_total", outcome=outcome)] += 1
        data = {"model": change.name, "action": change.action, "uri": change.uri, "version": (change.found or "")[:12]}
        if change.error:
            log.error("refused: %s", change.error.get("message"), extra={"data": data})
        else:
            log.info(outcome, extra={"data": data})
        if change.asker is not None:
            self._tell(
                change.asker, {"op": "changed", "ticket": change.ticket, "error": change.error, "digest": change.found, "name": change.name}
            )
        if self._queue:
            self._begin()
