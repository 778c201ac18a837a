"""Reconciling a `ModelRollout`: read, observe, decide, store, apply.

A time that only counted more requests is not stored: each write of a status is a line of ``kubectl get -w``. What it counted is kept here
and stored with the next decision, or after `PERSIST` seconds. A controller that is killed in between loses no request and counts none twice:
the next one reads the same counters on from where the stored state left them, as one block of evidence in place of several.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from typing import Any

from serving.controller.kube import MANAGER
from serving.controller.metrics import Metrics
from serving.controller.reconciler import SOON, Reconciler
from serving.controller.rollouts import resource
from serving.controller.rollouts.auditor import Auditor, Told
from serving.controller.rollouts.backends import BACKENDS
from serving.controller.rollouts.backends.base import ClusterBackend
from serving.controller.rollouts.evidence import Pods, Prometheus, Source, allowed, business
from serving.controller.rollouts.registrar import Registrar, served
from serving.controller.rollouts.resource import FINALIZER, Rollout
from sluice.core.errors import PackageError, ProjectError, SluiceError
from sluice.kube.client import Object
from sluice.kube.objects import Objects
from sluice.proof.trust import NOTHING, Trust
from sluice.registry.environments import DEV, alias
from sluice.registry.serving import Served
from sluice.registry.versions import CHAMPION
from sluice.rollouts.backend import View
from sluice.rollouts.core import decide
from sluice.rollouts.state import TERMINAL, Action, Launch, Note, Observations, Replica, Retire, Route, State

log = logging.getLogger("sluice.rollout")

#: Seconds until an idle rollout is reconciled again: four calls in that time.
IDLE = 300.0
#: Seconds that what was measured may be ahead of the status.
PERSIST = 30.0
#: Of the state, what is measured each time. All else is a decision: stored before it is acted on.
_MEASURED = frozenset(
    {
        "cursor",
        "window",
        "total",
        "tests",
        "checks",
        "reasons",
        "spared",
        "held_up",
        "limited",
        "limit",
        "settled",
        "ready_since",
        "unready_since",
        "obstacle",
        "last_time",
        "traffic",
        "counted",
    }
)
_DECIDED = tuple(f.name for f in fields(State) if f.name not in _MEASURED)
#: Of the status, what people see change.
_SHOWN = ("phase", "stage", "step", "weight", "stable", "candidate", "verdict", "observedGeneration", "models", "protocols")
#: And while all traffic goes back: users wait for it.
AGAIN = 1.0
#: And between two times of one that failed for want of something, which may be there by now.
STILL = 15.0


class Rollouts(Reconciler):
    """The controller of `ModelRollout`; holds nothing of one between two times but measurements of the last seconds.

    Args:
        kube: the API. pods: where counters come from unless a rollout names a Prometheus.
        prometheus: addresses that a rollout may name, or that lie above it; who may write a ModelRollout cannot have this process ask others.
        may_act: asked before every write; False stops it where it is (the lease was lost).
        registrar: told what serves, for the model registry; None: there is none to follow. environment: whose aliases there are meant.
        auditor: told what was decided, for the audit log; None: there is none.
        trust: whether every package must be signed, and by whom; the keys hold for rollouts that want it themselves, too.
        clock: wall-clock seconds.
    """

    kind, finalizer, component = "ModelRollout", FINALIZER, MANAGER

    def __init__(
        self,
        kube: Objects,
        pods: Source | None = None,
        *,
        prometheus: Sequence[str] = (),
        metrics: Metrics | None = None,
        may_act: Callable[[], bool] = lambda: True,
        registrar: Registrar | None = None,
        auditor: Auditor | None = None,
        environment: str = DEV,
        trust: Trust = NOTHING,
        clock: Callable[[], float] = time.time,
    ):
        super().__init__(kube, may_act=may_act, clock=clock)
        self.trust = trust
        self.pods, self.metrics = pods or Pods(kube), metrics or Metrics()
        self.prometheus, self.registrar, self.environment = tuple(prometheus), registrar, environment
        self.auditor = auditor
        #: By rollout: its uid, the time of the stored state, and the state since.
        self._ahead: dict[tuple[str, str], tuple[str, float, State]] = {}

    def accept(self, raw: Object) -> None:
        """A spec that makes sense, wants a model that may serve, and names no Prometheus but those this controller may ask. Raises `SluiceError`."""
        rollout = resource.read(raw)
        why = self._unsigned(rollout, rollout.digest)
        if why is not None and not _under_way(rollout):
            raise why
        named = _prometheus(rollout)
        if named and not allowed(named, self.prometheus):
            there = ", ".join(self.prometheus) or "none"
            raise ProjectError(
                "is no Prometheus that this controller may ask",
                field="spec.analysis.prometheus.url",
                value=named,
                fix=f"one of {there}; whoever runs the controller adds others: --prometheus, controller.prometheus of the chart",
            )

    def _unsigned(self, rollout: Rollout, digest: str | None) -> SluiceError | None:
        """Why a model may not take traffic: a signature is required, and it has none by a trusted key. None where it may."""
        if not digest or not (self.trust.required or rollout.signed):
            return None
        where = f"ModelRollout {rollout.namespace}/{rollout.name}, model {digest[:12]}"
        if not self.trust.keys:
            return ProjectError(
                "wants a signed package, and this controller trusts no key",
                field="spec.requireSignature",
                value=True,
                fix="give it public keys: --trusted-key, the ConfigMap sluice-trusted-keys",
            )
        known = rollout.signatures.get(digest, "").strip().encode()
        try:
            Trust(True, self.trust.keys).check(digest, known or None, where)
        except PackageError as e:
            return e
        return None

    def refuse(self, raw: Object, why: SluiceError) -> float | None:
        """Say so in the status, once."""
        status = resource.refused(raw, why, self.clock())
        if status != (raw.get("status") or {}):
            if not self.store(raw, status):
                return SOON
            self.tell(raw, "Warning", "SpecIsUnusable", str(why))
        return None

    def leave(self, raw: Object) -> float | None:
        """Leave the stable model serving, without us."""
        try:
            rollout = resource.read(raw)
        except SluiceError:
            # Never usable, so nothing was begun.
            return None
        self._backend(rollout).leave(rollout.state.stable)
        return None

    def forget(self, namespace: str, name: str) -> None:
        """Nothing of it is ahead, shown or told any more."""
        if self.registrar is not None:
            self.registrar.forget((namespace, name))
        self._ahead.pop((namespace, name), None)
        self.metrics.forget(namespace, name)

    def advance(self, raw: Object) -> float | None:
        """Observe, decide, store, apply."""
        rollout = resource.read(raw)
        backend = self._backend(rollout)
        fresh = not (rollout.raw.get("status") or {}).get("state")
        if fresh:
            rollout = self._adopt(rollout, backend)
        state, known = self._latest(rollout)
        view = self._observe(rollout, backend, state)
        now = self.clock()
        new, actions = decide(rollout.plan, state, self._seen(rollout, view, state, now), now)
        notes = [a for a in actions if isinstance(a, Note)]
        self.metrics.seen(rollout, new, view)
        self.acting()
        key, want = (rollout.namespace, rollout.name), served(rollout, new, self.environment) if self.registrar else None
        status = resource.status(
            rollout,
            new,
            notes,
            now=now,
            error=view.error,
            routed=view.routed.weights if view.routed else None,
            protocols=backend.protocols() if view.arms else (),
            registered=self._registered(rollout, key, want),
        )
        store = fresh or bool(notes) or self._due(rollout, new, status, known=known)
        if store and not self.store(rollout.raw, status):
            # Someone was faster: this time never happened.
            return SOON
        self._keep(rollout, new, new.last_time if store else rollout.state.last_time)
        if self.registrar is not None:
            # Only what is stored: a process that dies here finds it in the status, and asks for it again.
            self.registrar.want(key, want) if want else self.registrar.forget(key)
        if self.auditor is not None and store:
            self.auditor.want(Told.of(rollout, new, status["history"], self.environment))
        for note in notes:
            self._tell(rollout, note)
        after = resource.read(
            {**rollout.raw, "status": {**(rollout.raw.get("status") or {}), "state": new.to_dict(), "models": rollout.models}}
        )
        acting = self._backend(after)
        for action in actions:
            self._apply(rollout, acting, action)
        if new.back or new.phase == "RollingBack":
            return min(rollout.every, AGAIN)
        if after.idle and not any(isinstance(a, Launch | Route | Retire) for a in actions):
            return IDLE
        return max(rollout.every, STILL) if new.phase == "Failed" else rollout.every

    def _seen(self, rollout: Rollout, view: View, state: State, now: float) -> Observations:
        """What is decided on; a candidate that may not serve any more is told to go back by a command, which stands in the status."""
        commands = rollout.commands()
        if (why := self._unsigned(rollout, state.candidate)) is not None and state.phase not in (*TERMINAL, "RollingBack"):
            # It was begun before a signature was required, or by a key that is trusted no more.
            commands = (*commands, (f"unsigned#{state.candidate}", "abort"))
            self.tell(rollout.raw, "Warning", "Unsigned", str(why))
        return Observations(
            time=now,
            desired=rollout.digest,
            arms=view.arms,
            routed=view.routed,
            present=view.present,
            commands=commands,
            reason=rollout.reason,
            error=view.error,
            generation=rollout.raw["metadata"].get("generation", 0),
        )

    def _registered(self, rollout: Rollout, key: tuple[str, str], want: Served | None) -> tuple[str, str, str] | None:
        """The condition on the registry: as it went with what is wanted now, else as it was where the champion is the same."""
        if self.registrar is None or want is None:
            return None
        said = self.registrar.said(key, want)
        if said is not None:
            return "True" if said.agrees else "False", said.reason, said.message
        old = next((c for c in (rollout.raw.get("status") or {}).get("conditions") or [] if c["type"] == resource.REGISTERED), None)
        if old is not None and want.champion and f"({want.champion[:12]}) is {alias(CHAMPION, want.environment)}" in old["message"]:
            return old["status"], old["reason"], old["message"]
        return "Unknown", "NotYet", "the registry is being told"

    # -- what is ahead of the status ---------------------------------------------------------------

    def _latest(self, rollout: Rollout) -> tuple[State, bool]:
        """The state as of the last time, and whether that was this process's. What another one stored since counts more than what is kept."""
        kept = self._ahead.get((rollout.namespace, rollout.name))
        if kept is None or kept[:2] != (rollout.uid, rollout.state.last_time):
            return rollout.state, False
        return kept[2], True

    def _due(self, rollout: Rollout, new: State, status: Object, *, known: bool) -> bool:
        """Whether this time is stored: it decided, shows something new, or counted and the last write is long ago or another process's."""
        old, stored = rollout.raw.get("status") or {}, rollout.state
        if _shown(old) != _shown(status) or any(getattr(new, name) != getattr(stored, name) for name in _DECIDED):
            return True
        measured = replace(new, last_time=0.0) != replace(stored, last_time=0.0)
        return measured and (not known or new.last_time - stored.last_time >= PERSIST)

    def _keep(self, rollout: Rollout, new: State, stored: float) -> None:
        key = (rollout.namespace, rollout.name)
        if new.phase in TERMINAL:
            self._ahead.pop(key, None)
        else:
            self._ahead[key] = (rollout.uid, stored, new)

    def _backend(self, rollout: Rollout) -> ClusterBackend:
        made: ClusterBackend = BACKENDS.get(rollout.backend, field="spec.traffic.backend")(self.kube, rollout, self._source(rollout))
        return made

    def _source(self, rollout: Rollout) -> Source:
        url = _prometheus(rollout)
        return Prometheus(url) if url else self.pods

    def _adopt(self, rollout: Rollout, backend: ClusterBackend) -> Rollout:
        """A rollout without a status: made just now, or restored from a backup beside a model that serves."""
        found = backend.adopt()
        if found is None:
            return rollout
        digest, uri = found
        state = State(stable=digest, phase="Succeeded")
        status = {"state": state.to_dict(), "models": {digest: uri, rollout.digest: rollout.uri}}
        return replace(rollout, raw={**rollout.raw, "status": status}, state=state)

    def _observe(self, rollout: Rollout, backend: ClusterBackend, state: State) -> View:
        try:
            view = backend.observe(state.stable, state.candidate)
        except (SluiceError, OSError) as e:
            return View(error=str(e))
        queries = (rollout.spec.get("analysis") or {}).get("business") or {}
        prometheus = _prometheus(rollout)
        if rollout.plan.business is None or not prometheus or not queries.get("queries"):
            return view
        arms = dict(view.arms)
        try:
            for arm, digest in (("stable", state.stable), ("candidate", state.candidate)):
                if digest and arm in arms:
                    found = business(prometheus, queries["queries"], digest)
                    outcomes = [Replica(f"business/{pod}", counts=counts) for pod, counts in found.items()]
                    arms[arm] = replace(arms[arm], replicas=(*arms[arm].replicas, *outcomes))
        except (SluiceError, OSError) as e:
            return replace(view, error="; ".join(filter(None, (view.error, f"business: {e}"))))
        return replace(view, arms=arms)

    def _apply(self, rollout: Rollout, backend: ClusterBackend, action: Action) -> None:
        if isinstance(action, Note) or not self.may_act():
            return
        try:
            if isinstance(action, Launch):
                backend.launch(action.digest)
            elif isinstance(action, Route):
                backend.route(action.weights, action.mirror)
            else:
                backend.retire(action.digest)
        except (SluiceError, OSError) as e:
            # Asked for again the next time.
            log.warning("%s/%s: %s: %s", rollout.namespace, rollout.name, type(action).__name__, e)
            self.metrics.faults.labels(type(action).__name__).inc()

    # -- telling -----------------------------------------------------------------------------------

    def _tell(self, rollout: Rollout, note: Note) -> None:
        self.metrics.decided(note)
        bad = note.data.get("phase") in ("RollingBack", "Failed") or note.data.get("verdict") == "fail"
        said = str(note.data.get("phase") or note.data.get("verdict") or note.kind)
        reason = "".join(word[:1].upper() + word[1:] for word in said.split())
        self.tell(rollout.raw, "Warning" if bad else "Normal", reason, note.message)


def _under_way(rollout: Rollout) -> bool:
    """Whether the model the spec asks for is being rolled out already, or taken back."""
    s = rollout.state
    return rollout.digest == s.candidate if s.phase not in TERMINAL else rollout.digest in s.retire


def _prometheus(rollout: Rollout) -> str | None:
    """The Prometheus a rollout names, if it names one."""
    found: str | None = ((rollout.spec.get("analysis") or {}).get("prometheus") or {}).get("url")
    return found


def _shown(status: Object) -> list[Any]:
    """What a status shows, its running numbers apart: also whether evidence comes in, and what its conditions say."""
    blind = str(status.get("message") or "").startswith(resource.UNMEASURED)
    said = sorted((c["type"], c["status"], c["reason"] if c["type"] == resource.REGISTERED else "") for c in status.get("conditions") or [])
    return [*(status.get(name) for name in _SHOWN), blind, said]
