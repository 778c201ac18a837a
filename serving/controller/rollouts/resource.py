"""The `ModelRollout` resource: reading its spec, writing its status."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, get_args

from pydantic import ValidationError

from serving.controller.rollouts.backends import BACKENDS
from sluice.core.errors import SluiceError
from sluice.kube.client import Object
from sluice.kube.objects import GROUP, VERSION
from sluice.rollouts.backend import MIRROR
from sluice.rollouts.spec import RolloutSpec
from sluice.rollouts.state import TERMINAL, Command, Note, State

#: Annotations that steer: ``sluice.dev/command: pause#1``; the part behind ``#`` makes it act again.
COMMAND = f"{GROUP}/command"
#: Why it was given, and by whom.
REASON, BY = f"{GROUP}/reason", f"{GROUP}/by"
FINALIZER = f"{GROUP}/rollout"
OWNER, DIGEST, ARM_VERSION = f"{GROUP}/rollout", f"{GROUP}/digest", f"{GROUP}/version"
_HISTORY = 40
#: The condition that says whether the registry has what serves as its champion.
REGISTERED = "Registered"
#: Characters of a condition's message: the reason, and the last lines of a container.
_MESSAGE = 3200
#: How the message of a rollout begins whose evidence does not come in.
UNMEASURED = "cannot be measured: "
_STRATEGY = {
    "kind": "strategy",
    "shadow": "shadow",
    "steps": "steps",
    "minimumRequests": "minimum_requests",
    "settleSeconds": "settle_seconds",
    "stepDeadlineSeconds": "step_deadline_seconds",
    "onDeadline": "on_deadline",
    "readySeconds": "ready_seconds",
    "warmupSeconds": "warmup_seconds",
    "verifySeconds": "verify_seconds",
    "keepSeconds": "keep_seconds",
    "holdBack": "hold_back",
    "troubleSeconds": "trouble_seconds",
    "unreadySeconds": "unready_seconds",
    "restarts": "restarts",
}
_ANALYSIS = {
    "alpha": "alpha",
    "latencySloMs": "latency_slo_ms",
    "errors": "errors",
    "errorCeiling": "error_ceiling",
    "slow": "slow",
    "wrong": "wrong",
    "shift": "shift",
    "cost": "cost",
    "business": "business",
}
#: On a cluster scrapes are seconds apart and pods come and go: slower than on one machine.
SHIPPED: dict[str, Any] = {
    "settle_seconds": 15,
    "warmup_seconds": 10,
    "verify_seconds": 120,
    "ready_seconds": 600,
    "unready_seconds": 5,
    "trouble_seconds": 45,
}


@dataclasses.dataclass(frozen=True)
class Rollout:
    """A `ModelRollout` as it was read.

    Attributes:
        raw: the whole object. name, namespace, uid: of it.
        digest, uri: of the model it asks for. model: the name in requests.
        backend: ``Gateway``, ``Serverless`` or ``KServeCanary``.
        plan: strategy and analysis. state: from its status. every: seconds between looks.
    """

    raw: Object
    name: str
    namespace: str
    uid: str
    digest: str
    uri: str
    model: str
    backend: str
    plan: RolloutSpec
    state: State
    every: float

    @property
    def spec(self) -> Object:
        """As it was written."""
        spec: Object = self.raw["spec"]
        return spec

    @property
    def models(self) -> dict[str, str]:
        """URI by digest of every model this rollout knows."""
        known = dict((self.raw.get("status") or {}).get("models") or {})
        known[self.digest] = self.uri
        return known

    @property
    def signatures(self) -> dict[str, str]:
        """Signature by digest of every model it knows one of."""
        known = dict((self.raw.get("status") or {}).get("signatures") or {})
        told = self.spec["model"].get("signature")
        return known | ({self.digest: told} if told else {})

    @property
    def signed(self) -> bool:
        """Whether its spec wants signed packages alone."""
        return bool(self.spec.get("requireSignature"))

    @property
    def idle(self) -> bool:
        """Nothing to do until the spec or a command changes."""
        s = self.state
        done = s.phase in TERMINAL and not s.retire and self.digest in (s.stable, *s.rejected)
        return done and not self.commands()

    @property
    def deleted(self) -> bool:
        """Whether it is being deleted."""
        return bool(self.raw["metadata"].get("deletionTimestamp"))

    def commands(self) -> tuple[tuple[str, str], ...]:
        """The command in the annotation, if it has not been acted on."""
        value = (self.raw["metadata"].get("annotations") or {}).get(COMMAND, "")
        command = value.partition("#")[0]
        if command.partition(":")[0] in get_args(Command) and value not in self.state.handled:
            return ((value, command),)
        return ()

    @property
    def reason(self) -> str:
        """Why the model or the command is as it is, and who says so; "" where the annotations say nothing."""
        noted = self.raw["metadata"].get("annotations") or {}
        why, who = str(noted.get(REASON) or "")[:1000], str(noted.get(BY) or "")[:200]
        return f"{why or 'no reason given'} ({who})" if who else why


def read(raw: Object) -> Rollout:
    """Raises `SluiceError` when the spec makes no sense beyond what the schema can check."""
    spec, meta = raw["spec"], raw["metadata"]
    strategy, analysis = spec.get("strategy") or {}, spec.get("analysis") or {}
    values = {**SHIPPED}
    values |= {ours: strategy[theirs] for theirs, ours in _STRATEGY.items() if strategy.get(theirs) is not None}
    values |= {ours: analysis[theirs] for theirs, ours in _ANALYSIS.items() if analysis.get(theirs) is not None}
    values["strategy"] = {"Canary": "canary", "AB": "ab"}[strategy.get("kind", "Canary")]
    values["on_deadline"] = {"Rollback": "rollback", "Pause": "pause"}[strategy.get("onDeadline", "Rollback")]
    values["dry_run"] = bool(spec.get("dryRun"))
    for name in ("slow", "wrong", "shift", "cost"):
        # YAML reads the key off without quotes as false
        if any((values.get(name) or {}).get(key) for key in ("off", "false")):
            values[name] = None
        elif name in values:
            values[name] = {k: v for k, v in values[name].items() if k not in ("off", "false")}
    if values.get("business"):
        b = values["business"]
        values["business"] = {
            "kind": b.get("kind", "Rate").lower(),
            "better": b.get("better", "Higher").lower(),
            "unit": b.get("unit", "User").lower(),
            "minimum_outcomes": b.get("minimumOutcomes", 200),
        }
    backend = spec["traffic"]["backend"]
    if MIRROR not in BACKENDS.get(backend, field="spec.traffic.backend").can:
        values["shadow"] = {"requests": 0}
    try:
        plan = RolloutSpec.model_validate(values)
    except ValidationError as e:
        first = e.errors()[0]
        raise SluiceError(
            first["msg"].removeprefix("Value error, "), field="spec." + ".".join(str(p) for p in first["loc"]), value=first.get("input")
        ) from e
    status = raw.get("status") or {}
    return Rollout(
        raw,
        meta["name"],
        meta["namespace"],
        meta["uid"],
        spec["model"]["digest"].removeprefix("sha256:"),
        spec["model"]["uri"],
        spec["model"].get("name", meta["name"]),
        backend,
        plan,
        State.from_dict(status.get("state") or {}),
        float(spec.get("intervalSeconds", 5)),
    )


def status(
    rollout: Rollout,
    state: State,
    notes: list[Note],
    *,
    now: float,
    error: str | None,
    routed: Mapping[str, int] | None,
    protocols: Sequence[str] = (),
    registered: tuple[str, str, str] | None = None,
) -> Object:
    """The status to write: what people read, and the state behind it. `registered` is of `conditions`."""
    old = rollout.raw.get("status") or {}
    history = [h for h in old.get("history") or [] if h["sequence"] not in {n.sequence for n in notes}]
    history += [
        {
            "sequence": n.sequence,
            "time": stamp(now),
            "kind": n.kind,
            "message": n.message[:1000],
            "checks": list(n.data.get("checks") or []),
        }
        for n in notes
    ]
    history = sorted(history, key=lambda h: h["sequence"])[-_HISTORY:]
    candidate = state.candidate or ""
    keep = {state.stable, state.previous, state.candidate, rollout.digest, *state.retire, *state.past}
    over = state.phase in TERMINAL
    # While the gateway takes a change, or could not be asked, what it did before is shown.
    before = old.get("weight", 0) if candidate and candidate[:12] == old.get("candidate") else 0
    weight = int(routed.get(candidate, 0)) if routed and candidate else before
    message = "; ".join(state.reasons) or (history[-1]["message"] if history else "")
    if error and not over:
        message = UNMEASURED + error
    return {
        "phase": state.phase,
        "stage": stage(state),
        "observedGeneration": rollout.raw["metadata"].get("generation", 0),
        "step": f"{state.step + 1}/{len(rollout.plan.steps)}" if state.phase in ("Step", "Paused") else "",
        "weight": weight,
        "requests": requests(rollout.plan, state),
        "stable": (state.stable or "")[:12],
        "candidate": candidate[:12],
        "verdict": state.verdict if candidate else "",
        "protocols": list(protocols) or old.get("protocols") or [],
        "message": message[:1000],
        "checks": [dict(c) for c in state.checks],
        "conditions": conditions(old.get("conditions") or [], rollout, state, message, now, registered),
        "history": history,
        "previous": (state.previous or "")[:12],
        "log": state.said,
        "models": {d: u for d, u in rollout.models.items() if d in keep},
        **({"signatures": kept} if (kept := {d: s for d, s in rollout.signatures.items() if d in keep}) else {}),
        "state": state.to_dict(),
    }


def stage(state: State) -> str:
    """Where within its phase a rollout is: ``full`` once all traffic is the candidate's; at its end, whether a model that is out is still there."""
    if state.phase in TERMINAL and state.retire:
        return "keeping" if state.phase == "Succeeded" else "removing"
    if state.phase == "Verifying" and state.weight == 100:
        return "full"
    return state.stage


def requests(plan: RolloutSpec, state: State) -> str:
    """How many requests the candidate answered in the window that runs, of those it must, if it must: ``212/300``. Empty where none are counted."""
    needed = {"Shadow": plan.shadow.requests, "Step": plan.minimum_requests}.get(
        str(state.resume if state.phase == "Paused" else state.phase)
    )
    answered = f"{state.window.get('candidate', {}).get('requests', 0):.0f}"
    return f"{answered}/{needed}" if needed is not None else answered if state.phase == "Verifying" else ""


def conditions(
    old: list[Object], rollout: Rollout, state: State, message: str, now: float, registered: tuple[str, str, str] | None = None
) -> list[Object]:
    """``Progressing``, ``Succeeded``, ``Accepted`` and, where there is a registry to follow, ``Registered``, each with the time it last changed.

    Args:
        registered: status, reason and message of the last of them.
    """
    over = state.phase in TERMINAL
    if state.said and state.phase != "Succeeded":
        message = f"{message[:1000]}\n{state.said}"
    want = [
        ("Accepted", "True", "SpecIsUsable", ""),
        ("Progressing", "False" if over or state.phase == "Paused" else "True", state.phase, message),
        ("Succeeded", "True" if state.phase == "Succeeded" else "False" if over else "Unknown", state.phase, message if over else ""),
        *([(REGISTERED, *registered)] if registered else []),
    ]
    return [condition(old, *w, now=now, generation=rollout.raw["metadata"].get("generation", 0)) for w in want]


def condition(old: list[Object], kind: str, value: str, reason: str, message: str, *, now: float, generation: int) -> Object:
    """A condition, with the time of its last change."""
    before = next((c for c in old if c["type"] == kind), None)
    since = before["lastTransitionTime"] if before and before["status"] == value else stamp(now)
    return {
        "type": kind,
        "status": value,
        "reason": reason,
        "message": message[:_MESSAGE],
        "lastTransitionTime": since,
        "observedGeneration": generation,
    }


def refused(raw: Object, why: SluiceError, now: float) -> Object:
    """The status of a spec that cannot be used: everything as it was, and the reason."""
    old = raw.get("status") or {}
    others = [c for c in old.get("conditions") or [] if c["type"] != "Accepted"]
    said = condition(
        old.get("conditions") or [],
        "Accepted",
        "False",
        "SpecIsUnusable",
        str(why),
        now=now,
        generation=raw["metadata"].get("generation", 0),
    )
    return {**old, "observedGeneration": said["observedGeneration"], "message": str(why)[:1000], "conditions": [said, *others]}


def stamp(now: float) -> str:
    """A moment as Kubernetes writes it."""
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def owner(rollout: Rollout) -> Object:
    """An owner reference: what carries it goes with the rollout."""
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "ModelRollout",
        "name": rollout.name,
        "uid": rollout.uid,
        "controller": True,
        "blockOwnerDeletion": False,
    }
