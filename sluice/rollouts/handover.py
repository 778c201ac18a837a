"""Hand a package to the rollout controller of a cluster, and follow what it decides."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from sluice.core.errors import DeadlineError, ProjectError, SluiceError
from sluice.kube.client import KubeFault
from sluice.kube.objects import Objects
from sluice.rollouts.cluster import connect, plain
from sluice.rollouts.judge import with_intervals
from sluice.rollouts.local import RolloutResult
from sluice.rollouts.manifest import Target, manifest, model, plan_of
from sluice.rollouts.spec import RolloutSpec
from sluice.rollouts.state import ARMS, MEND, TERMINAL

_COUNTED = ("requests", "errors", "slow", "wrong")
_COUNTING = ("Shadow", "Step", "Paused")
#: Seconds a controller may take to look at what it was handed, how long the API server may be away, and how long the registry is waited for.
_UNSEEN, _AWAY, _REGISTRY = 300.0, 300.0, 60.0
#: Seconds of a step where the ModelRollout names none: the plan's own default.
_STEP_DEADLINE = float(RolloutSpec.model_fields["step_deadline_seconds"].default)


def hand_over(
    name: str,
    digest: str,
    uri: str,
    plan: RolloutSpec,
    where: Target,
    *,
    signature: str = "",
    logged: bool = False,
    on_event: Callable[[dict[str, Any]], None] = lambda _: None,
    objects: Objects | None = None,
    poll: float = 2.0,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> RolloutResult:
    """Ask the controller to serve a package, and wait for its verdict.

    A digest that was rolled back before is not tried again: the answer is the old one. One that could not be started, by no fault of its own,
    is.

    Args:
        signature: of the package, as it lies beside it; empty for none. logged: where it is the first one, its servers write predictions to `where.log`.
        on_event: called with ``{"kind": "phase", "phase", "weight", "text"}`` as the rollout goes on.
        objects: the cluster; default: the pod's own, else the kubeconfig's.
        poll: seconds between looks. clock, sleep: for tests.

    Raises:
        ProjectError: the project's plan or address cannot be rolled out there.
        SluiceError: no cluster, no CRD, no right, a spec the controller refuses, the ModelRollout was deleted, or the package could not be
            started, for want of a node, an image, credentials or the like.
        DeadlineError: the controller did not look at it, or the API server was away too long.
    """
    desired = manifest(name, digest, uri, plan, where, signature, logged=logged) if plan.business is None else {}
    resource = Resource(objects or connect(), where.namespace, name)
    order = resource.put(desired, model(name, digest, uri, signature), plan)
    return _Follower(resource, digest, plan.alpha, on_event, clock, order).run(poll, sleep)


def serving(name: str, where: Target, *, objects: Objects | None = None) -> str | None:
    """The digest that serves under a project's name there; None where none does. Raises `SluiceError` where it cannot be asked."""
    raw = Resource(objects or connect(), where.namespace, name).get()
    return (((raw or {}).get("status") or {}).get("state") or {}).get("stable")


class Away(SluiceError):
    """A failure of the API server that may pass."""


class Resource:
    """One ModelRollout, as a step changes and reads it.

    Raises (all methods):
        Away: the API server is busy, or does not answer. SluiceError: it refused.
    """

    def __init__(self, objects: Objects, namespace: str, name: str):
        self._objects, self.namespace, self.name = objects, namespace, name
        #: What was handed over is what served already.
        self.unchanged = False

    def put(self, desired: dict[str, Any], wanted: dict[str, str], plan: RolloutSpec) -> str | None:
        """Make it, or change the model of the one that is there. Returns the command that has what failed before tried again, if there is one."""
        found = self.get()
        if found is None:
            if not desired:
                raise ProjectError(
                    "needs a ModelRollout whose users stay with a model, and there is none",
                    field="rollout.business",
                    fix=f"apply a ModelRollout {self.name} with spec.traffic.sticky and spec.analysis.business in namespace {self.namespace}",
                )
            try:
                self._objects.create("ModelRollout", self.namespace, desired)
                return None
            except KubeFault as e:
                if e.status != 409:  # made by another meanwhile: changed below
                    raise self._fault("create", e) from e
        patch, order = self._patch((found or {}).get("status") or {}, wanted, plan)
        try:
            self._objects.merge("ModelRollout", self.namespace, self.name, patch)
        except KubeFault as e:
            raise self._fault("change", e) from e
        return order

    def _patch(self, status: dict[str, Any], wanted: dict[str, str], plan: RolloutSpec) -> tuple[dict[str, Any], str | None]:
        strategy, analysis = plan_of(plan)
        # What is not named in a merge stays: the signature of the model before this one must not.
        patch: dict[str, Any] = {"spec": {"model": {"signature": None, **wanted}, "dryRun": plan.dry_run}}
        patch["spec"] |= {k: v for k, v in (("strategy", strategy), ("analysis", analysis)) if v}
        state, order = status.get("state") or {}, None
        self.unchanged = status.get("phase") == "Succeeded" and state.get("stable") == wanted["digest"]
        if status.get("phase") == "Failed" and state.get("candidate") == wanted["digest"]:
            order = f"retry#{time.time_ns()}"
            patch["metadata"] = {"annotations": {"sluice.dev/command": order}}
        return patch, order

    def get(self) -> dict[str, Any] | None:
        """The object, None where there is none."""
        try:
            found: dict[str, Any] | None = plain(self._objects.get("ModelRollout", self.namespace, self.name))
            return found
        except KubeFault as e:
            raise self._fault("read", e) from e

    def _fault(self, what: str, e: KubeFault) -> SluiceError:
        where = f"ModelRollout {self.namespace}/{self.name}"
        if e.status == 0:
            return Away(e.message, field=where, fix="look at the cluster, then retry the step")
        if e.passing:
            return Away(f"the API server is busy: {e.status} {e.message}", field=where)
        fix = {
            403: "bind the Role sluice-pipeline to the step's service account (manifests/components/kfp)",
            404: "apply manifests/crds, and look at SLUICE_NAMESPACE",
        }.get(e.status)
        return SluiceError(f"cannot {what} it: {e.status} {e.message}", field=where, fix=fix)


class _Follower:
    """Reads the status until the rollout of one digest is over."""

    def __init__(
        self,
        resource: Resource,
        digest: str,
        alpha: float,
        on_event: Callable[[dict[str, Any]], None],
        clock: Callable[[], float],
        order: str | None = None,
    ):
        self.resource, self.digest, self.alpha, self.on_event, self.clock, self.order = resource, digest, alpha, on_event, clock, order
        self.started = self.answered = clock()
        #: Since when it has been held for want of traffic.
        self.held: float | None = None
        self.timeline: list[dict[str, Any]] = []
        self.last: tuple[Any, ...] | None = None

    def run(self, poll: float, sleep: Callable[[float], None]) -> RolloutResult:
        while (result := self.look()) is None:
            sleep(poll)
        end = self.clock() + _REGISTRY
        while (registry := self._registry(result)) is not None and registry["agrees"] is None and self.clock() < end:
            sleep(poll)
        return replace(result, evidence={**result.evidence, "registry": registry})

    def _registry(self, result: RolloutResult) -> dict[str, Any] | None:
        """What the controller says of the registry: whether it has what serves as its champion (null: not yet), and why not. None: it follows none."""
        try:
            raw = self.resource.get() or {}
        except Away:
            raw = {}
        said = next((c for c in (raw.get("status") or {}).get("conditions") or [] if c["type"] == "Registered"), None)
        if said is None:
            return None
        waits = result.outcome == "promoted" and (said["status"] == "Unknown" or said["reason"] == "RegistryAway")
        return {"agrees": None if waits else said["status"] == "True", "message": said.get("message", "")}

    def look(self) -> RolloutResult | None:
        """One look; the result when it is over. The rollout's own deadlines bound how long that takes, and people's pauses."""
        where = f"ModelRollout {self.resource.namespace}/{self.resource.name}"
        try:
            raw = self.resource.get()
        except Away as e:
            if self.clock() - self.answered > _AWAY:
                raise DeadlineError(
                    f"the API server was away for {_AWAY:g} s: {e.message}", field=where, fix="retry the step: it takes the rollout up"
                ) from e
            return None
        self.answered = self.clock()
        if raw is None:
            raise SluiceError("was deleted before the controller decided", field=where, fix="run the pipeline again")
        status = raw.get("status") or {}
        state = status.get("state") or {}
        unseen = status.get("observedGeneration", 0) < raw["metadata"].get("generation", 0)
        ordered = self.order is not None and self.order not in (state.get("handled") or [])
        if ordered or (unseen and (status.get("phase") == "Failed" or not self._settled(status, state))):
            if self.clock() - self.started > _UNSEEN:
                raise DeadlineError(
                    f"no controller has looked at it for {_UNSEEN:g} s",
                    field=where,
                    fix=f"kubectl -n {self.resource.namespace} get deployment sluice-controller",
                )
            return None
        refused = next((c for c in status.get("conditions") or [] if c["type"] == "Accepted" and c["status"] == "False"), None)
        if refused:
            raise SluiceError(
                f"the controller cannot use it: {refused.get('message', '')}", field=where, fix="mend `rollout:` in the project file"
            )
        self._tell(status, state)
        newer = raw["spec"]["model"]["digest"].removeprefix("sha256:")
        if newer != self.digest:
            if state.get("stable") == self.digest:
                return self._result("promoted", ("ready and answering",), status, state)
            return self._result("rolled_back", (f"superseded: {newer[:12]} was handed over meanwhile",), status, state)
        if state.get("reported"):
            return self._result(
                "rolled_back", ("a dry run: stopped before the first live request", *(state.get("reasons") or ())), status, state
            )
        return self._settled(status, state) or self._waiting(raw["spec"].get("strategy") or {}, status, state)

    def _waiting(self, strategy: dict[str, Any], status: dict[str, Any], state: dict[str, Any]) -> RolloutResult | None:
        """A rollout held for want of traffic may wait for days. A run waits for it as long as for a step, and leaves it going."""
        if status.get("phase") != "Paused" or not state.get("held"):
            self.held = None
            return None
        self.held = self.clock() if self.held is None else self.held
        if self.clock() - self.held <= (strategy.get("stepDeadlineSeconds") or _STEP_DEADLINE):
            return None
        left = "this run ends without a verdict: the model before serves on, nothing is rejected, and the rollout goes on by itself when there is traffic"
        return self._result("rolled_back", (*(state.get("reasons") or ()), left), status, state)

    def _settled(self, status: dict[str, Any], state: dict[str, Any]) -> RolloutResult | None:
        """What a finished rollout says of this digest, if it speaks of it."""
        if status.get("phase") not in TERMINAL:
            return None
        if status["phase"] == "Succeeded" and state.get("stable") == self.digest:
            return self._result("promoted", tuple(state.get("reasons") or ()) or ("ready and answering",), status, state)
        if status["phase"] == "Failed" and state.get("candidate") == self.digest:
            reasons: list[str] = state.get("reasons") or []
            mend = next((r.removeprefix(MEND) for r in reasons if r.startswith(MEND)), None)
            said = f"\n{state['said']}" if state.get("said") else ""
            raise SluiceError(
                "; ".join(r for r in reasons if not r.startswith(MEND)) + said,
                field=f"ModelRollout {self.resource.namespace}/{self.resource.name}",
                fix=mend,
            )
        rejected: list[str] = state.get("rejected") or []
        if self.digest in rejected or state.get("candidate") == self.digest:
            latest = self.digest == (state.get("candidate") or rejected[-1])
            why = tuple(state.get("reasons") or ()) if latest else ()
            return self._result("rolled_back", why or ("this package was rolled back before",), status, state)
        return None

    def _tell(self, status: dict[str, Any], state: dict[str, Any]) -> None:
        phase, window = status.get("phase", "Pending"), state.get("window") or {}
        arms = {arm: {k: window.get(arm, {}).get(k, 0) for k in _COUNTED} for arm in ARMS} if phase in _COUNTING else {}
        weight = 100 if state.get("stable") == self.digest else status.get("weight", 0)
        at = {
            "t": round(self.clock() - self.started, 1),
            "phase": phase,
            "weight": weight,
            "arms": arms,
            "tests": with_intervals(tuple(status.get("checks") or ()), self.alpha),
        }
        # the timeline has each change, and the last look at each stretch between
        here = (at["phase"], at["weight"], status.get("stage"), state.get("step"))
        if here != self.last:
            self.last = here
            self.timeline.append(at)
            self.on_event({"kind": "phase", "phase": at["phase"], "weight": at["weight"], "text": status.get("message", "")})
        else:
            self.timeline[-1:] = [at | {"t": self.timeline[-1]["t"]}]

    def _result(self, outcome: Any, reasons: tuple[str, ...], status: dict[str, Any], state: dict[str, Any]) -> RolloutResult:
        events = [{k: h.get(k) for k in ("sequence", "time", "kind", "message")} for h in status.get("history") or []]
        before = state.get("previous") if outcome == "promoted" else state.get("stable")
        evidence = {
            "stable": before,
            "unchanged": outcome == "promoted" and self.resource.unchanged,
            "candidate": self.digest,
            "phase": status.get("phase"),
            "seconds": round(self.clock() - self.started, 3),
            "timeline": self.timeline,
            "events": events,
            "load": None,
            "said": state.get("said") or "",
            "resource": {"namespace": self.resource.namespace, "name": self.resource.name},
        }
        return RolloutResult(outcome, reasons, evidence)
