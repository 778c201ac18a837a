"""Reconciling a `ModelMonitor`: read on in the log, decide, write the status, and only then act.

A look is committed by one write, of the status as of what was read: it names the object that holds what was read, and carries what the
retraining decision starts from. A controller that is killed before it has done nothing; one that is killed behind it finds what is left to do.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any

from serving.controller.monitors import resource
from serving.controller.monitors.gauges import Gauges
from serving.controller.monitors.memory import Memory
from serving.controller.monitors.resource import Monitor
from serving.controller.monitors.seen import Reader, Seen, Watched
from serving.controller.reconciler import SOON, Reconciler
from serving.controller.rollouts.resource import condition, stamp
from sluice.core.errors import SluiceError
from sluice.kube.client import KubeFault, Object
from sluice.kube.objects import Objects
from sluice.monitor.config import Retrain
from sluice.monitor.retrain import Action, Event, State, decide

#: Seconds until a resource that cannot be used is read again, and between looks at a run that goes on.
_REFUSED, _FOLLOWING, _FIRST, _LONGEST = 60.0, 15.0, 5.0, 300.0


@dataclasses.dataclass(frozen=True)
class Look:
    """One time: what was seen (None: nothing was read, and `fault` or `waits` says why), and what was decided.

    Attributes:
        memory: the object that holds what was read. made: the run that is known to be there. handled: the command that was acted on.
        requests: annotations that are answered.
    """

    model: Watched | None
    seen: Seen | None
    memory: str
    state: State
    action: Action
    made: str
    handled: str
    requests: tuple[str, ...] = ()
    fault: SluiceError | None = None
    waits: str = ""


class Monitors(Reconciler):
    """The controller of `ModelMonitor`.

    Args:
        kube: the API. reader: reads on in a log. gauges: shown to Prometheus.
        may_act: asked before every write. clock: wall-clock seconds.
    """

    kind = "ModelMonitor"
    finalizer = resource.FINALIZER
    component = "sluice-monitors"

    def __init__(
        self,
        kube: Objects,
        reader: Reader,
        gauges: Gauges | None = None,
        *,
        may_act: Callable[[], bool] = lambda: True,
        clock: Callable[[], float] = time.time,
    ):
        super().__init__(kube, may_act=may_act, clock=clock)
        self.reader, self.gauges = reader, gauges or Gauges()
        self._failed: dict[tuple[str, str], int] = {}

    # -- what every kind does

    def accept(self, raw: Object) -> None:
        """Raises `SluiceError` for a spec that makes no sense."""
        resource.monitor(raw)

    def refuse(self, raw: Object, why: SluiceError) -> float | None:
        """Say so, and keep everything else as it was."""
        old = raw.get("status") or {}
        self._store(raw, {**old, "phase": "Refused", "message": str(why)}, [("Accepted", "False", "SpecIsUnusable", str(why))])
        return _REFUSED

    def leave(self, raw: Object) -> float | None:
        """Nothing stands outside but what was read, which a monitor of the same name does not go on from: its status is gone."""
        return None

    def forget(self, namespace: str, name: str) -> None:
        """Its gauges are shown no more."""
        self.gauges.forget(namespace, name)
        self._failed.pop((namespace, name), None)

    def advance(self, raw: Object) -> float | None:
        """One look."""
        item = resource.monitor(raw)
        if item.suspended:
            self._store(raw, {**item.status, "phase": "Suspended", "message": "spec.suspend"}, [("Accepted", "True", "SpecIsUsable", "")])
            return None
        look = self.look(item)
        status = self.status(item, look)
        if not self._store(raw, status, self.conditions(item, look)):
            return SOON
        self.gauges.seen(item, look.model, look.seen, status)
        self.tell_all(item, look)
        self.act(item, look)
        self.clear(item, look.requests)
        if look.memory != item.status.get("memory"):
            Memory(item.log, item.namespace, item.name).tidy(look.memory)
        return self.after(item, look)

    # -- one look

    def look(self, item: Monitor) -> Look:
        """Read on, and decide."""
        now, model = self.clock(), None
        seen, fault, waits, memory = None, None, "", str(item.status.get("memory") or "")
        try:
            model = self.watched(item)
            if model is None:
                waits = f"no model of ModelRollout {item.rollout} serves yet"
            else:
                before = self.remembered(item, model)
                found = self.reader(item, model, before)
                if found.memory != before:
                    # Kept first: a status never names what is not there.
                    number = int(memory.partition("-")[0] or 0) + 1
                    memory = Memory(item.log, item.namespace, item.name).put(found.memory, number)
                seen = found
        except SluiceError as why:
            fault = why
        except ImportError as why:
            # Not to be lost in this program's log: who has only kubectl sees the status.
            fault = SluiceError(
                f"the controller's image lacks {why.name}, which rows of this model are read with", fix="build it anew: make images"
            )
        made, ended = self.followed(item, now)
        asked, events = item.asked(now), [*(seen.events if seen else ()), *ended]
        if item.policy is not None:
            events += asked.values()
            if item.command:
                events.append(Event("asked", now, id=item.command, by="hand", why=f"by hand ({item.command})"))
        state = item.state
        if seen is not None and seen.anew:
            state = dataclasses.replace(state, drift={}, quality={}, rose=None)
        state, action = decide(item.policy or Retrain(), state, events, now)
        handled = item.command or str(item.status.get("handled") or "")
        return Look(model, seen, memory, state, action, made, handled, tuple(asked), fault, waits)

    def watched(self, item: Monitor) -> Watched | None:
        """The model that serves. None: there is none yet. Raises `SluiceError`: there is no such rollout."""
        if item.package is not None:
            return Watched(*item.package)
        rollout = self.kube.get("ModelRollout", item.namespace, item.rollout)
        if rollout is None:
            raise SluiceError("there is no such ModelRollout", field="spec.rollout", value=item.rollout, fix="make it, or name another")
        status = rollout.get("status") or {}
        stable = str((status.get("state") or {}).get("stable") or "")
        uri = str((status.get("models") or {}).get(stable) or "")
        return Watched(uri, stable) if stable and uri else None

    def remembered(self, item: Monitor, model: Watched) -> bytes | None:
        """What the look before left, where it was of the same model and log."""
        status = item.status
        if not status.get("memory") or (status.get("version"), status.get("log")) != (model.version, item.log):
            return None
        return Memory(item.log, item.namespace, item.name).get(status["memory"])

    def followed(self, item: Monitor, now: float) -> tuple[str, list[Event]]:
        """The run that is known to be there, and how it has ended, if it has."""
        made, run = str(item.status.get("made") or ""), item.state.run
        if run is None or run.ended is not None:
            return made, []
        found = self.kube.get("PipelineRun", item.namespace, run.name)
        if found is None:
            # Not made yet; or made, and then deleted by somebody.
            gone = Event("ended", now, id=run.name, by="deleted", why="its PipelineRun was deleted")
            return made, [gone] if made == run.name else []
        came = resource.outcome(found.get("status") or {})
        return run.name, [Event("ended", now, id=run.name, by=came[0], why=came[1])] if came else []

    def act(self, item: Monitor, look: Look) -> None:
        """Make the run that was decided on, unless it is there. Behind the write that says so: whoever comes again makes the same."""
        run = look.state.run
        if run is None or run.ended is not None or look.made == run.name:
            return
        self.acting()
        try:
            self.kube.create("PipelineRun", item.namespace, resource.pipeline_run(item, run))
        except KubeFault as e:
            if e.status != 409:
                raise
            return
        self.tell(item.raw, "Normal", "Retraining", f"{run.name}: {run.why}")

    def clear(self, item: Monitor, requests: tuple[str, ...]) -> None:
        """Take the requests away that the state now knows."""
        if requests:
            self.acting()
            patch = {"metadata": {"annotations": dict.fromkeys(requests)}}
            self.kube.merge("ModelMonitor", item.namespace, item.name, patch)

    def after(self, item: Monitor, look: Look) -> float:
        """Seconds until it is due again."""
        key = (item.namespace, item.name)
        if look.fault is not None:
            self._failed[key] = self._failed.get(key, 0) + 1
            return min(_LONGEST, _FIRST * 2.0 ** min(self._failed[key] - 1, 10))
        self._failed.pop(key, None)
        if look.action.what == "start" or (look.seen is not None and look.seen.more):
            return SOON / 20
        return min(item.every, _FOLLOWING) if look.action.what == "follow" else item.every

    # -- what is told

    def status(self, item: Monitor, look: Look) -> Object:
        """The status's fields."""
        old, seen, run = item.status, look.seen, look.state.run
        fields: dict[str, Any] = {k: v for k, v in old.items() if k != "conditions"}
        if seen is not None and look.model is not None:
            fields |= {"version": look.model.version, "log": item.log, "memory": look.memory}
            fields |= {"rows": seen.rows, "windows": seen.windows, "labelled": seen.labelled}
            fields |= {"drift": "" if seen.drift is None else f"{seen.drift:.3g}", "feature": seen.feature}
            fields["quality"] = f"{seen.quality.metric} {seen.quality.value:.4g}" if seen.quality else ""
            if seen.newest is not None:
                fields["readTo"] = stamp(seen.newest)
            if seen.alarms:
                fields |= {"lastAlarm": stamp(seen.alarms[-1][0]), "alarm": seen.alarms[-1][1][:1000]}
        if run is not None:
            fields |= {"run": run.name, "made": look.made, "lastRetraining": stamp(run.at), "outcome": run.outcome or "running"}
            if run.ended is not None and item.state.run is not None and item.state.run.ended is None:
                counts = dict(old.get("retrainings") or {})
                key = f"{run.reason}/{run.outcome}"
                fields["retrainings"] = {**counts, key: int(counts.get(key, 0)) + 1}
        fields |= {
            "phase": "Watching" if seen is not None or look.fault is not None else "Waiting",
            "handled": look.handled,
            "retraining": look.state.to_dict(),
            "message": self.message(look),
        }
        return fields

    def message(self, look: Look) -> str:
        """The one thing to know."""
        run = look.state.run
        if look.fault is not None:
            return str(look.fault)
        if look.action.what in ("start", "follow") and run is not None:
            return f"retrains: {run.why}"
        judged = look.seen.quality if look.seen else None
        wrong = (judged.why if judged else "", judged.risen if judged else "", look.seen.drifted) if look.seen else ()
        return look.waits or look.action.told() or "; ".join(w for w in wrong if w)

    def conditions(self, item: Monitor, look: Look) -> list[tuple[str, str, str, str]]:
        """(type, status, reason, message)."""
        seen, state = look.seen, look.state
        found = [("Accepted", "True", "SpecIsUsable", "")]
        if look.fault is not None:
            found.append(("Synced", "False", type(look.fault).__name__, str(look.fault)))
        elif seen is not None:
            found.append(
                ("Synced", "True" if not seen.more else "False", "ReadToTheEnd" if not seen.more else "Behind", "; ".join(seen.faults[-3:]))
            )
            found.append(("Drifted", "True" if seen.drifted else "False", "Alarm" if seen.drifted else "NoAlarm", seen.drifted))
            found += [("Degraded", *_degraded(item, seen)), ("ErrorsRose", *_risen(seen))]
        if item.policy is not None:
            going = state.run is not None and state.run.ended is None
            held = look.action.told()
            reason = "Running" if going else "Held" if held else "BacksOff" if state.failed else "Idle"
            found.append(("Retraining", "True" if going else "False", reason, held or (state.run.why if going and state.run else "")))
        return found

    def tell_all(self, item: Monitor, look: Look) -> None:
        """Events of what this look has found."""
        for _, text in look.seen.alarms if look.seen else ():
            self.tell(item.raw, "Warning", "Drifted", text)
        judged = look.seen.quality if look.seen else None
        for kind, text in (("Degraded", judged.why), ("ErrorsRose", judged.risen)) if judged else ():
            was: Object = next((c for c in item.status.get("conditions") or () if c["type"] == kind), {})
            if text and was.get("status") != "True":
                self.tell(item.raw, "Warning", kind, text)
        before, run = item.state.run, look.state.run
        if run is not None and run.ended is not None and before is not None and before.ended is None:
            good = look.state.failed == 0
            text = f"{run.name} ended: {run.outcome}" + (f", {run.said}" if run.said else "")
            self.tell(item.raw, "Normal" if good else "Warning", "Retrained" if good else "RetrainingFailed", text)
        held = look.action.told()
        if held and held != item.status.get("message"):
            self.tell(item.raw, "Normal", "RetrainingHeld", held)

    def _store(self, raw: Object, fields: Object, said: list[tuple[str, str, str, str]]) -> bool:
        """Write the status where it says something new. False: someone was faster, and this look never happened."""
        old, now, generation = raw.get("status") or {}, self.clock(), raw["metadata"].get("generation", 0)
        known: list[Object] = list(old.get("conditions") or [])
        named = {kind for kind, *_ in said}
        conditions = [c for c in known if c["type"] not in named]
        conditions += [condition(known, *one, now=now, generation=generation) for one in said]
        status = {
            **fields,
            "message": str(fields.get("message") or "")[:1000],
            "observedGeneration": generation,
            "conditions": sorted(conditions, key=lambda c: str(c["type"])),
        }
        return status == old or self.store(raw, status)


def _degraded(item: Monitor, seen: Seen) -> tuple[str, str, str]:
    """(status, reason, message) of whether the answers are worse than the floor."""
    found = seen.quality
    if seen.unjudged:
        return "Unknown", "CannotBeJudged", seen.unjudged
    if found is None:
        return "Unknown", "FewLabels", f"{seen.labelled} labelled rows so far"
    if item.floor is None:
        return "Unknown", "NoFloor", "spec.quality.floor is not set"
    note = "predictions older than the last GiB of the log are not looked for; " if found.cut else ""
    share = "" if found.share is None else f"{100 * found.share:.3g} % of the predictions are labelled"
    return ("True", "BelowFloor", found.why) if found.below else ("False", "AboveFloor", note + share)


def _risen(seen: Seen) -> tuple[str, str, str]:
    """(status, reason, message) of whether answers are wrong more often than they were."""
    found = seen.quality
    if found is None or found.unwatched:
        return "Unknown", "FewLabels", found.unwatched if found else f"{seen.labelled} labelled rows so far"
    return ("True", "Alarm", found.risen) if found.risen else ("False", "Suspected" if found.maybe else "NoAlarm", found.maybe)
