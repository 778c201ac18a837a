"""The same run in several trackers."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from sluice.tracking.outbox import Outbox
from sluice.tracking.tracker import Data, Tracker

log = logging.getLogger(__name__)


class Several:
    """The same run in several trackers; the first one's id is the run's. One tracker's trouble stops neither the others nor the work."""

    def __init__(self, trackers: list[Tracker], *, say: Callable[[str], None] = log.warning, clock: Callable[[], float] = time.monotonic):
        self._trackers = trackers
        self._outboxes = [Outbox(type(t).__name__.removesuffix("Tracker"), say=say, clock=clock) for t in trackers]

    @property
    def run_id(self) -> str | None:
        """The first one's."""
        return self._trackers[0].run_id

    def _each(self, method: str, *args: Any) -> None:
        for tracker, outbox in zip(self._trackers, self._outboxes, strict=True):
            outbox.put(method, partial(getattr(tracker, method), *args))
            if method == "finish":
                outbox.flush(last=True)

    def params(self, values: dict[str, Any]) -> None:
        """As `Tracker.params`, for each."""
        self._each("params", values)

    def tags(self, values: dict[str, str]) -> None:
        """As `Tracker.tags`, for each."""
        self._each("tags", values)

    def metrics(self, values: Mapping[str, float | None], step: int = 0) -> None:
        """As `Tracker.metrics`, for each."""
        self._each("metrics", values, step)

    def artifact(self, path: Path, folder: str | None = None) -> None:
        """As `Tracker.artifact`, for each."""
        self._each("artifact", path, folder)

    def dataset(self, data: Data) -> None:
        """As `Tracker.dataset`, for each."""
        self._each("dataset", data)

    def child(self, name: str, points: Sequence[tuple[int, Mapping[str, float]]], tags: Mapping[str, str]) -> None:
        """As `Tracker.child`, for each."""
        self._each("child", name, points, tags)

    def finish(self, status: str = "FINISHED") -> None:
        """As `Tracker.finish`, for each, and what waits is sent a last time."""
        self._each("finish", status)
