"""The registry follows the rollouts: off the way of their decisions, as often as it takes, from what their statuses say."""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from collections.abc import Callable

from serving.controller.rollouts.resource import Rollout
from sluice.core.errors import SluiceError
from sluice.registry.environments import DEV
from sluice.registry.serving import Served, align
from sluice.registry.versions import Registry, RegistryFault
from sluice.rollouts.state import State

log = logging.getLogger("sluice.rollout")
Key = tuple[str, str]

#: Seconds until what was in agreement is looked at again: a person, or a run elsewhere, may have moved an alias.
RECHECK = 900.0
#: Seconds before the next try: of a server that does not answer, and of one that refuses; doubled from try to try up to these.
_AWAY, _REFUSED = 60.0, 300.0


@dataclasses.dataclass(frozen=True)
class Said:
    """How it went: whether the registry says what serves, one word for it, and a sentence."""

    agrees: bool
    reason: str
    message: str


@dataclasses.dataclass
class _Entry:
    want: Served
    due: float
    tries: int = 0
    said: Said | None = None


class Registrar:
    """Keeps a registry in agreement with what serves, in a thread of its own.

    It remembers nothing that cannot be lost: each look at a rollout says anew what its stored status asks for, only the latest of that counts,
    and what is so already is not done again. So a process that is killed, or a registry that is away, costs time alone.

    Args:
        registry: to write to. may_act: asked before each turn at a rollout; False leaves it for later (the lease was lost).
        changed: told of a rollout whose `said` is another. clock: monotonic seconds.
    """

    def __init__(
        self,
        registry: Registry,
        *,
        may_act: Callable[[], bool] = lambda: True,
        changed: Callable[[Key], None] = lambda key: None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.registry, self.may_act, self.changed, self.clock = registry, may_act, changed, clock
        self._entries: dict[Key, _Entry] = {}
        self._guard = threading.Condition()
        self._away_until, self._silences = float("-inf"), 0
        self._halt = False
        self._thread: threading.Thread | None = None

    def want(self, key: Key, served: Served) -> None:
        """What a rollout's stored status asks for. Returns at once."""
        with self._guard:
            entry = self._entries.get(key)
            if entry is None or entry.want != served:
                self._entries[key] = _Entry(served, self.clock())
                self._guard.notify()

    def said(self, key: Key, served: Served) -> Said | None:
        """How it went with exactly this; None where it was not tried yet."""
        with self._guard:
            entry = self._entries.get(key)
            return entry.said if entry is not None and entry.want == served else None

    def forget(self, key: Key) -> None:
        """Follow a rollout no more."""
        with self._guard:
            self._entries.pop(key, None)

    def turn(self) -> float:
        """Do what is due. Returns the seconds until something is."""
        while True:
            now = self.clock()
            with self._guard:
                wait = self._away_until - now
                key, entry = min(self._entries.items(), key=lambda item: item[1].due, default=(None, None))
            if key is None or entry is None:
                return RECHECK
            wait = max(wait, entry.due - now)
            if wait > 0:
                return wait
            if not self.may_act():
                return 1.0
            self._one(key, entry)

    def _one(self, key: Key, entry: _Entry) -> None:
        try:
            rival = self._rival(key, entry.want)
            said = rival or Said(True, "ChampionServes" if entry.want.champion else "NothingServes", align(self.registry, entry.want))
            entry.due, entry.tries = self.clock() + RECHECK, 0
            self._silences = 0
        except SluiceError as e:
            away = isinstance(e, RegistryFault) and e.away
            said = Said(
                False,
                "RegistryAway" if away else "RegistryRefuses",
                f"{e.message}; {'tried again by itself' if away else e.fix or 'tried again by itself'}",
            )
            entry.tries += 1
            entry.due = self.clock() + min(2.0**entry.tries, _REFUSED)
            if away:
                self._silences += 1
                self._away_until = self.clock() + min(2.0 ** (self._silences - 1), _AWAY)
        except Exception:
            # A fault in our own code must not end the thread.
            log.exception("%s/%s: the registry could not be brought up to date", *key)
            said = Said(False, "RegistryFault", "see the controller's log")
            entry.due = self.clock() + _REFUSED
        with self._guard:
            # A newer want is another entry, and is told of itself.
            changed = said != entry.said and self._entries.get(key) is entry
            entry.said = said
        if changed:
            (log.info if said.agrees else log.warning)("%s/%s: registry: %s", *key, said.message)
            self.changed(key)

    def _rival(self, key: Key, want: Served) -> Said | None:
        """Where two rollouts stand for one name, the first by namespace and name has it; the other is told so."""
        with self._guard:
            rivals = sorted(
                k
                for k, e in self._entries.items()
                if (e.want.model, e.want.environment) == (want.model, want.environment) and e.want.champion not in (None, want.champion)
            )
        if want.champion is None or not rivals or key < rivals[0]:
            return None
        return Said(
            False,
            "AnotherRollout",
            f"ModelRollout {rivals[0][0]}/{rivals[0][1]} says who is champion of {want.model}: set spec.registry.model to another name, "
            "or spec.registry.follow to false here",
        )

    # -- the thread --------------------------------------------------------------------------------

    def start(self) -> None:
        """Tell the registry from a thread of its own."""
        self._thread = threading.Thread(target=self._run, name="registrar", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        with self._guard:
            self._halt = True
            self._guard.notify()

    def _run(self) -> None:
        while not self._halt:
            wait = self.turn()
            with self._guard:
                # Woken by a new want; never longer than a while, since the lease may have come.
                if not self._halt and not any(e.due <= self.clock() and self._away_until <= self.clock() for e in self._entries.values()):
                    self._guard.wait(min(wait, 30.0))
                elif not self._halt:
                    self._guard.wait(min(wait, 1.0))


def served(rollout: Rollout, state: State, environment: str = DEV) -> Served | None:
    """What a rollout's state says of its model's versions; None where its spec keeps it out of the registry.

    Args:
        environment: whose aliases are meant, unless the spec names another.
    """
    asked = rollout.spec.get("registry") or {}
    if asked.get("follow") is False:
        return None
    known = {d: rollout.models[d] for d in (state.stable, state.previous) if d in rollout.models}
    why = "; ".join(state.reasons)
    decided = None
    if state.phase == "Succeeded" and state.stable:
        decided = (state.stable, "promoted", why)
    elif state.phase == "RolledBack" and state.rejected:
        decided = (state.rejected[-1], "rolled_back", why)
    return Served(
        asked.get("model") or rollout.model,
        state.stable,
        state.previous,
        tuple(sorted(known.items())),
        state.rejected,
        decided,
        f"ModelRollout {rollout.namespace}/{rollout.name}",
        str(asked.get("environment") or environment or DEV),
    )
