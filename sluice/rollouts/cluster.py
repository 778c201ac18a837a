"""The same questions and commands as `control`, for a ``ModelRollout`` on a cluster."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rich.console import Console

from sluice.core.errors import RolloutError, SluiceError
from sluice.kube.client import Kube, KubeFault
from sluice.kube.objects import Objects
from sluice.rollouts import control
from sluice.rollouts.state import TERMINAL
from sluice.rollouts.store import known, unknown

#: Seconds between two reads of a rollout that is watched, and to wait for an answer.
_EVERY, _READ = 2.0, 15.0


@dataclass(frozen=True)
class Serving:
    """What one ModelRollout serves, and what it says of the registry.

    Attributes:
        rollout: its name. model: that of the registered model. digest: what serves, None where nothing does.
        uri: where its package is. phase: of the rollout. follows: the controller keeps the registry in agreement. said: the condition's sentence.
    """

    rollout: str
    model: str
    digest: str | None
    uri: str
    phase: str
    follows: bool
    said: str

    @classmethod
    def of(cls, raw: dict[str, Any]) -> Serving:
        """From the resource."""
        status, spec, name = raw.get("status") or {}, raw["spec"], raw["metadata"]["name"]
        digest = (status.get("state") or {}).get("stable")
        condition: dict[str, Any] = next((c for c in status.get("conditions") or [] if c["type"] == "Registered"), {})
        model = (spec.get("registry") or {}).get("model") or spec["model"].get("name", name)
        return cls(
            name,
            model,
            digest,
            (status.get("models") or {}).get(digest, ""),
            status.get("phase", "Pending"),
            bool(condition),
            condition.get("message", ""),
        )


def connect() -> Objects:
    """The cluster of this pod, or the kubeconfig's.

    Raises:
        RolloutError: no cluster is configured. MissingExtra: the Kubernetes client is not installed.
    """
    try:
        return Objects(Kube(read=_READ))
    except KubeFault as e:
        raise RolloutError(e.message, field="--namespace", fix="set KUBECONFIG, or leave out --namespace") from e


def plain(value: Any) -> Any:
    """An object as it was written: an API server gives a float such as 1e99 back as a whole number, more than 64 bits hold."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, list):
        return [plain(v) for v in value]
    return float(value) if isinstance(value, int) and abs(value) >= 1 << 63 else value


def _fault(e: KubeFault, namespace: str) -> SluiceError:
    """What a person is told."""
    if e.status == 0:
        return SluiceError(e.message, field=e.field, fix=e.fix)
    return SluiceError(f"the cluster refused: {e.status} {e.message}", field="--namespace", value=namespace)


def _all(namespace: str) -> list[dict[str, Any]]:
    try:
        return [plain(item) for item in connect().list("ModelRollout", namespace)]
    except KubeFault as e:
        if e.status == 404:
            fix = "kubectl apply -k manifests/crds"
            raise RolloutError("this cluster knows no ModelRollouts", field="--namespace", value=namespace, fix=fix) from e
        raise _fault(e, namespace) from e


def names(namespace: str) -> list[str]:
    """Names of the ModelRollouts in a namespace. Raises `SluiceError`."""
    return sorted(item["metadata"]["name"] for item in _all(namespace))


def serving(namespace: str) -> list[Serving]:
    """What serves in a namespace, by every ModelRollout there. Raises as `names` does."""
    return [Serving.of(item) for item in _all(namespace)]


def _one(namespace: str, name: str) -> dict[str, Any]:
    try:
        found = connect().get("ModelRollout", namespace, name)
    except KubeFault as e:
        raise _fault(e, namespace) from e
    if found is None:
        raise unknown(name, names(namespace), f"namespace {namespace}")
    return dict(plain(found))


def status(namespace: str, name: str) -> dict[str, Any]:
    """What `control.status` gives, of a ModelRollout.

    Raises:
        RolloutError: no such resource, or no cluster. SluiceError: it does not answer. MissingExtra: the Kubernetes client is not installed.
    """
    return told(_one(namespace, name))


def told(raw: dict[str, Any]) -> dict[str, Any]:
    """What `control.status` gives, of a ModelRollout that was read."""
    found, spec, name = raw.get("status") or {}, raw["spec"], raw["metadata"]["name"]
    state = found.get("state") or {}
    events = [
        {
            "sequence": h["sequence"],
            "time": datetime.fromisoformat(h["time"]).timestamp(),
            "kind": h["kind"],
            "message": h["message"],
            "data": {"checks": h.get("checks", []), "verdict": h["message"].partition(":")[0]},
        }
        for h in found.get("history") or []
    ]
    phase = found.get("phase", "Pending")
    # A spec the controller has not looked at yet: what the status shows is of the one before.
    ahead = raw["metadata"].get("generation", 0) > found.get("observedGeneration", 0)
    refused = any(c["type"] == "Accepted" and c["status"] == "False" for c in found.get("conditions") or [])
    over = not ahead and (phase in TERMINAL or refused)
    return {
        "name": name,
        "running": not over,
        "interrupted": False,
        "phase": phase,
        "stage": found.get("stage", ""),
        "step": state.get("step", 0),
        "steps": (spec.get("strategy") or {}).get("steps") or [10, 50],
        "weight": found.get("weight", 0),
        "verdict": found.get("verdict", ""),
        "said": state.get("said") or "",
        "reasons": [found["message"]] if found.get("message") else [],
        "stable": found.get("stable"),
        "candidate": found.get("candidate"),
        "arms": state.get("window") or {},
        "tests": found.get("checks") or [],
        "ready": {},
        "load": None,
        "address": None,
        "started": events[0]["time"] if events else None,
        "updated": state.get("last_time") or time.time(),
        "outcome": {"Succeeded": "promoted", "RolledBack": "rolled_back"}.get(phase) if over and not refused else None,
        "events": events,
    }


def watch(namespace: str, name: str, *, console: Console | None = None) -> dict[str, Any]:
    """What `control.watch` does, for a ModelRollout. Raises as `status` does."""
    return control.follow(lambda: status(namespace, name), every=_EVERY, console=console)


def request(namespace: str, name: str, command: str) -> dict[str, Any]:
    """Ask the controller to pause, resume, abort, promote or retry, by the annotation it watches.

    Returns:
        ``{name, command, id}``.

    Raises:
        RolloutError: not a command, no such resource, or no cluster. SluiceError: it does not answer.
    """
    known(command)
    ident = f"{command}#{time.time_ns()}"
    patch = {"metadata": {"annotations": {"sluice.dev/command": ident}}}
    try:
        # A field manager of its own: Flux takes back what one whose name begins with kubectl wrote.
        connect().merge("ModelRollout", namespace, name, patch, query={"fieldManager": "sluice"})
    except KubeFault as e:
        if e.status == 404:
            raise unknown(name, names(namespace), f"namespace {namespace}") from e
        raise _fault(e, namespace) from e
    return {"name": name, "command": command, "id": ident}
