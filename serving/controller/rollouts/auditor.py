"""Decisions of rollouts in the audit log: off their way, as often as it takes, from what their statuses say."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from serving.controller.rollouts.resource import BY, Rollout
from sluice.audit.log import AuditLog, records
from sluice.audit.record import Entry
from sluice.core.errors import SluiceError
from sluice.rollouts.state import State

log = logging.getLogger("sluice.rollout")

#: Seconds before a log that cannot be written is tried again, doubled from try to try up to the second.
_FIRST, _MOST = 2.0, 300.0


@dataclass(frozen=True)
class Told:
    """What a rollout's stored status says of its decisions.

    Attributes:
        uid: of the resource. where: namespace/name. model, digest: it is about. environment: whose.
        history: as the status has it. by: who gave the last command, as far as that was said.
    """

    uid: str
    where: str
    model: str
    digest: str
    environment: str
    history: Sequence[Mapping[str, Any]]
    by: str

    @classmethod
    def of(cls, rollout: Rollout, state: State, history: Sequence[Mapping[str, Any]], environment: str) -> Told:
        """From a rollout as it was stored."""
        registry = rollout.spec.get("registry") or {}
        gone = state.rejected[-1] if state.phase == "RolledBack" and state.rejected else None
        noted = rollout.raw["metadata"].get("annotations") or {}
        return cls(
            rollout.uid,
            f"{rollout.namespace}/{rollout.name}",
            str(registry.get("model") or rollout.model),
            state.candidate or gone or state.stable or "",
            str(registry.get("environment") or environment),
            history,
            str(noted.get(BY) or ""),
        )


class Auditor:
    """Writes decisions down in a thread of its own, each once: what is in the log already is found there.

    Args:
        audit: the log. may_act: asked before each write; False leaves it for later (the lease was lost). clock: monotonic seconds.
    """

    def __init__(self, audit: AuditLog, *, may_act: Callable[[], bool] = lambda: True, clock: Callable[[], float] = time.monotonic):
        self.audit, self.may_act, self.clock = audit, may_act, clock
        self._waiting: dict[str, Told] = {}
        self._done: dict[str, int] | None = None
        self._guard = threading.Condition()
        self._due, self._pause, self._halt = float("-inf"), _FIRST, False

    def want(self, told: Told) -> None:
        """What a rollout's stored status says. Returns at once."""
        with self._guard:
            self._waiting[told.uid] = told
            self._guard.notify()

    def turn(self) -> float:
        """Write what waits. Returns the seconds until it is worth another try."""
        while True:
            with self._guard:
                told = next(iter(self._waiting.values()), None)
            if told is None:
                return _MOST
            wait = self._due - self.clock()
            if wait > 0:
                return wait
            if not self.may_act():
                return 1.0
            try:
                self._write(told)
            except SluiceError as e:
                log.warning("the audit log cannot be written, tried again in %g s: %s", self._pause, e)
                self._due, self._pause = self.clock() + self._pause, min(2 * self._pause, _MOST)
                return self._due - self.clock()
            self._pause = _FIRST
            with self._guard:
                if self._waiting.get(told.uid) is told:
                    del self._waiting[told.uid]

    def _write(self, told: Told) -> None:
        if self._done is None:
            found = [r.entry.data for r in records(self.audit) if r.entry.kind == "rollout" and r.entry.data.get("uid")]
            self._done = {str(d["uid"]): max(int(e["note"]) for e in found if e["uid"] == d["uid"]) for d in found}
        for note in told.history:
            last = self._done.get(told.uid, -1)
            if note["sequence"] <= last:
                continue
            data = {
                "what": note["kind"],
                "uid": told.uid,
                "note": note["sequence"],
                "at": note["time"],
                "rollout": told.where,
                "evidence": {"checks": [str(c.get("reason", "")) for c in note.get("checks") or ()]},
                "missed": note["sequence"] - last - 1 if last >= 0 else 0,
            }
            who = told.by if note["kind"] == "command" and told.by else f"controller of {told.where}"
            self.audit.append(Entry("rollout", told.model, told.digest, told.environment, str(note["message"]), data, who))
            self._done[told.uid] = note["sequence"]

    def start(self) -> None:
        """Write from a thread of its own."""
        threading.Thread(target=self._run, name="auditor", daemon=True).start()

    def stop(self) -> None:
        """End the thread."""
        with self._guard:
            self._halt = True
            self._guard.notify()

    def _run(self) -> None:
        while not self._halt:
            try:
                wait = self.turn()
            except Exception:
                # A fault in our own code must not end the thread.
                log.exception("the audit log could not be brought up to date")
                wait = _MOST
            with self._guard:
                if not self._halt:
                    self._guard.wait(max(min(wait, 30.0), 0.1))
