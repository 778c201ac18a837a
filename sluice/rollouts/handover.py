"""Hand a package to the rollout controller of a cluster, and follow what it decides.

The ``ModelRollout`` is named after the project. The first hand-over makes it; later ones change the model, and of
strategy and analysis what the project file says: routes, gateway and predictor stay as the platform set them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sluice.core.errors import DeadlineError, ProjectError, SluiceError
from sluice.kube.site import NAMESPACE_ENV
from sluice.rollouts.cluster import _api, plain
from sluice.rollouts.judge import with_intervals
from sluice.rollouts.local import RolloutResult
from sluice.rollouts.spec import RolloutSpec
from sluice.rollouts.state import ARMS, MEND, TERMINAL

GROUP, VERSION, PLURAL = "sluice.dev", "v1alpha1", "modelrollouts"
#: Environment of a step beside the namespace models are served in: the gateway (``[namespace/]name``), and its domain.
GATEWAY_ENV, DOMAIN_ENV = "SLUICE_GATEWAY", "SLUICE_DOMAIN"

_NAME_LIMIT = 40
_STRATEGY = (
    "steps",
    "shadow",
    "minimum_requests",
    "settle_seconds",
    "step_deadline_seconds",
    "ready_seconds",
    "warmup_seconds",
    "verify_seconds",
    "keep_seconds",
    "hold_back",
    "unready_seconds",
    "restarts",
    "trouble_seconds",
)
_ANALYSIS = ("alpha", "latency_slo_ms", "errors", "error_ceiling", "slow", "wrong", "shift")
_MAY_BE_OFF = ("slow", "wrong", "shift")
_COUNTED = ("requests", "errors", "slow", "wrong")
_COUNTING = ("Shadow", "Step", "Paused")
#: Seconds a controller may take to look at what it was handed, how long the API server may be away, and how long the registry is waited for.
_UNSEEN, _AWAY, _REGISTRY = 300.0, 300.0, 60.0
#: Seconds of a step where the ModelRollout names none: the plan's own default.
_STEP_DEADLINE = float(RolloutSpec.model_fields["step_deadline_seconds"].default)
_TIMEOUT = 15


@dataclass(frozen=True)
class Target:
    """Where models of an environment are served.

    Attributes:
        namespace: of the environment. gateway: ``[namespace/]name``. domain: a model answers at ``<name>.<domain>``.
    """

    namespace: str
    gateway: str = "kserve/kserve-ingress-gateway"
    domain: str = "example.com"


def target(environ: Mapping[str, str] | None = None) -> Target | None:
    """The environment a step hands its models to; None where ``SLUICE_NAMESPACE`` is not set: the rollout is then done here."""
    env = os.environ if environ is None else environ
    if not env.get(NAMESPACE_ENV):
        return None
    given = {"gateway": env.get(GATEWAY_ENV), "domain": env.get(DOMAIN_ENV)}
    return Target(env[NAMESPACE_ENV], **{k: v for k, v in given.items() if v})


def plan_of(plan: RolloutSpec) -> tuple[dict[str, Any], dict[str, Any]]:
    """``(spec.strategy, spec.analysis)`` of what the project file sets; the controller's own defaults hold for the rest."""
    said = plan.model_dump(mode="json", include=plan.model_fields_set, exclude_unset=True)
    strategy = {_camel(k): said[k] for k in _STRATEGY if k in said}
    if "strategy" in said:
        strategy["kind"] = {"canary": "Canary", "ab": "AB"}[said["strategy"]]
    if "on_deadline" in said:
        strategy["onDeadline"] = said["on_deadline"].capitalize()
    analysis = {_camel(k): said[k] for k in _ANALYSIS if k in said}
    for name in _MAY_BE_OFF:
        if name in analysis:
            analysis[name] = {"off": True} if analysis[name] is None else {**analysis[name], "off": False}
    return strategy, analysis


def manifest(name: str, digest: str, uri: str, plan: RolloutSpec, where: Target) -> dict[str, Any]:
    """The ``ModelRollout`` of a project's first model.

    Raises:
        ProjectError: the name is too long, the package lies where KServe cannot fetch it, or `plan` needs what only a person can write.
    """
    if len(name) > _NAME_LIMIT:
        raise ProjectError(
            f"has more than the {_NAME_LIMIT} characters a rollout's name may have on a cluster",
            field="name",
            value=name,
            fix="choose a shorter one",
        )
    if plan.business is not None:
        raise ProjectError(
            "needs users who stay with a model, which a project file has no place for",
            field="rollout.business",
            fix=f"apply a ModelRollout {name} with spec.traffic.sticky and spec.analysis.business once; runs then change its model",
        )
    strategy, analysis = plan_of(plan)
    space, _, gateway = where.gateway.rpartition("/")
    restricted = {"runAsNonRoot": True, "runAsUser": 65532, "fsGroup": 65532, "seccompProfile": {"type": "RuntimeDefault"}}
    predictor = {
        "minReplicas": 1,
        "serviceAccountName": "sluice-predictor",
        "automountServiceAccountToken": False,
        "priorityClassName": "sluice-serving",
        "securityContext": restricted,
        "model": {"args": ["--digest=$(DIGEST)", "--name=$(NAME)"]},
    }
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "ModelRollout",
        "metadata": {"name": name, "namespace": where.namespace, "labels": {"app.kubernetes.io/part-of": "sluice"}},
        "spec": {
            "model": model(name, digest, uri),
            "strategy": strategy,
            "analysis": analysis,
            "dryRun": plan.dry_run,
            "traffic": {
                "backend": "Gateway",
                "gateway": {"name": gateway} | ({"namespace": space} if space else {}),
                "hostname": f"{name}.{where.domain}",
            },
            "serving": {"predictor": predictor},
        },
    }


def model(name: str, digest: str, uri: str) -> dict[str, str]:
    """``spec.model``. Raises `ProjectError` when KServe cannot fetch from `uri`."""
    if uri.partition("://")[0] not in ("s3", "gs", "https", "pvc", "hf", "oci"):
        raise ProjectError(
            "is not an address KServe can fetch a package from",
            field="SLUICE_STORE",
            value=uri,
            fix="give the steps SLUICE_STORE=s3://bucket/prefix",
        )
    return {"name": name, "digest": digest, "uri": uri}


def hand_over(
    name: str,
    digest: str,
    uri: str,
    plan: RolloutSpec,
    where: Target,
    *,
    on_event: Callable[[dict[str, Any]], None] = lambda _: None,
    custom: Any = None,
    poll: float = 2.0,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> RolloutResult:
    """Ask the controller to serve a package, and wait for its verdict.

    A digest that was rolled back before is not tried again: the answer is the old one. One that could not be started, by no fault of its own,
    is.

    Args:
        on_event: called with ``{"kind": "phase", "phase", "weight", "text"}`` as the rollout goes on.
        custom: a `CustomObjectsApi`; made from the pod's service account, else the kubeconfig.
        poll: seconds between looks. clock, sleep: for tests.

    Raises:
        ProjectError: the project's plan or address cannot be rolled out there.
        SluiceError: no cluster, no CRD, no right, a spec the controller refuses, the ModelRollout was deleted, or the package could not be
            started, for want of a node, an image, credentials or the like.
        DeadlineError: the controller did not look at it, or the API server was away too long.
    """
    desired = manifest(name, digest, uri, plan, where) if plan.business is None else {}
    api = _Api(custom if custom is not None else _api(), where.namespace, name)
    order = api.put(desired, model(name, digest, uri), plan)
    return _Follower(api, digest, plan.alpha, on_event, clock, order).run(poll, sleep)


def serving(name: str, where: Target, *, custom: Any = None) -> str | None:
    """The digest that serves under a project's name there; None where none does. Raises `SluiceError` where it cannot be asked."""
    raw = _Api(custom if custom is not None else _api(), where.namespace, name).get()
    return (((raw or {}).get("status") or {}).get("state") or {}).get("stable")


class _Api:
    """One ModelRollout."""

    def __init__(self, custom: Any, namespace: str, name: str):
        self._custom, self.namespace, self.name = custom, namespace, name
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
            if self._call("create", self._custom.create_namespaced_custom_object, desired, allow=(409,)) is not None:
                return None
        strategy, analysis = plan_of(plan)
        patch: dict[str, Any] = {"spec": {"model": wanted, "dryRun": plan.dry_run}}
        patch["spec"] |= {k: v for k, v in (("strategy", strategy), ("analysis", analysis)) if v}
        status = (found or {}).get("status") or {}
        order = None
        self.unchanged = status.get("phase") == "Succeeded" and (status.get("state") or {}).get("stable") == wanted["digest"]
        if status.get("phase") == "Failed" and (status.get("state") or {}).get("candidate") == wanted["digest"]:
            order = f"retry#{time.time_ns()}"
            patch["metadata"] = {"annotations": {"sluice.dev/command": order}}
        self._call("change", self._custom.patch_namespaced_custom_object, self.name, patch)
        return order

    def get(self) -> dict[str, Any] | None:
        """The object, None where there is none."""
        found: dict[str, Any] | None = self._call("read", self._custom.get_namespaced_custom_object, self.name, allow=(404,))
        return found

    def _call(self, what: str, method: Callable[..., Any], *args: Any, allow: tuple[int, ...] = ()) -> Any:
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        where = f"ModelRollout {self.namespace}/{self.name}"
        try:
            return plain(method(GROUP, VERSION, self.namespace, PLURAL, *args, _request_timeout=_TIMEOUT))
        except ApiException as e:
            if e.status in allow and not (e.status == 404 and "page not found" in str(e.body)):
                return None
            if e.status in (429, 500, 502, 503, 504):
                raise _Away(f"the API server is busy: {e.status} {e.reason}", field=where) from e
            fix = {
                403: "bind the Role sluice-pipeline to the step's service account (manifests/components/kfp)",
                404: "apply manifests/crds, and look at SLUICE_NAMESPACE",
            }.get(e.status)
            raise SluiceError(f"cannot {what} it: {e.status} {str(e.body or e.reason)[:500]}", field=where, fix=fix) from e
        except (HTTPError, OSError) as e:
            raise _Away(f"the API server does not answer: {e}", field=where, fix="look at the cluster, then retry the step") from e


class _Away(SluiceError):
    """A failure that may pass."""


class _Follower:
    """Reads the status until the rollout of one digest is over."""

    def __init__(
        self,
        api: _Api,
        digest: str,
        alpha: float,
        on_event: Callable[[dict[str, Any]], None],
        clock: Callable[[], float],
        order: str | None = None,
    ):
        self.api, self.digest, self.alpha, self.on_event, self.clock, self.order = api, digest, alpha, on_event, clock, order
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
            raw = self.api.get() or {}
        except _Away:
            raw = {}
        said = next((c for c in (raw.get("status") or {}).get("conditions") or [] if c["type"] == "Registered"), None)
        if said is None:
            return None
        waits = result.outcome == "promoted" and (said["status"] == "Unknown" or said["reason"] == "RegistryAway")
        return {"agrees": None if waits else said["status"] == "True", "message": said.get("message", "")}

    def look(self) -> RolloutResult | None:
        """One look; the result when it is over. The rollout's own deadlines bound how long that takes, and people's pauses."""
        where = f"ModelRollout {self.api.namespace}/{self.api.name}"
        try:
            raw = self.api.get()
        except _Away as e:
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
                    fix=f"kubectl -n {self.api.namespace} get deployment sluice-controller",
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
                field=f"ModelRollout {self.api.namespace}/{self.api.name}",
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
            "unchanged": outcome == "promoted" and self.api.unchanged,
            "candidate": self.digest,
            "phase": status.get("phase"),
            "seconds": round(self.clock() - self.started, 3),
            "timeline": self.timeline,
            "events": events,
            "load": None,
            "said": state.get("said") or "",
            "resource": {"namespace": self.api.namespace, "name": self.api.name},
        }
        return RolloutResult(outcome, reasons, evidence)


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
