"""What a step's pod writes: the step's events, and the lines a person wants to see when it failed."""

from __future__ import annotations

import collections
import dataclasses
import re
from collections.abc import Iterator
from typing import Any

from sluice.core import events

_COMPONENT = re.compile(r"Looking for component `(\w+)`")
#: KFP's launcher and Argo speak in the same log: their notes are not the step's.
_PLATFORM = re.compile(r"[IW]\d{4} \d\d:\d\d|time=\S+ level=\w+ .*argo=true|\[KFP Executor [^\]]*INFO\]")
_DUMP = "Got executor_input:"


@dataclasses.dataclass
class PodLog:
    """One pod's log, read as it grows.

    Attributes:
        nonce: the run's id, with which its steps' events begin.
        step: the step it runs, once it has said so.
        finished: whether the step has said how it ended.
        tail: its own last lines.
    """

    nonce: str
    pod: str | None = None
    step: str | None = None
    finished: bool = False
    tail: collections.deque[str] = dataclasses.field(default_factory=lambda: collections.deque(maxlen=30))
    _read: int = 0
    _dump: bool = False

    def take(self, text: str, *, whole: bool) -> Iterator[dict[str, Any]]:
        """The events of what is new in `text`, the log so far; its last line counts only if it is `whole`."""
        end = len(text) if whole else text.rfind("\n") + 1
        fresh, self._read = text[self._read : end], max(self._read, end)
        for line in fresh.split("\n"):
            event = events.parse(line, self.nonce)
            if event is not None:
                self.step = event.get("step", self.step)
                self.finished = self.finished or event["kind"] in ("gate", "error")
                yield event
            elif self._is_own(line):
                self.tail.append(line)

    def _is_own(self, line: str) -> bool:
        if self._dump:  # the inputs, as indented JSON
            self._dump = line != "}"
            return False
        if _PLATFORM.match(line):
            found = _COMPONENT.search(line)
            self.step = found[1] if found and self.step is None else self.step
            self._dump = line.endswith(_DUMP)
            return False
        return bool(line.strip())
