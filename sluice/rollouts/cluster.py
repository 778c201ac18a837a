"""The same questions and commands as `control`, for a ``ModelRollout`` on a cluster."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any, get_args

from sluice.errors import MissingExtra, SluiceError
from sluice.rollouts.state import TERMINAL, Command

_GROUP = ("sluice.dev", "v1alpha1")
_PLURAL = "modelrollouts"


def _api() -> Any:
    try:
        from kubernetes import client, config
    except ImportError:
        raise MissingExtra("a rollout on a cluster needs the Kubernetes client", field="kubernetes", fix="pip install 'sluice-ml[cluster]'") from None
    try:
        config.load_incluster_config()
    except config.ConfigException:
        try:
            config.load_kube_config()
        except config.ConfigException as e:
            raise SluiceError(f"no cluster is configured: {e}", field="kubeconfig", fix="set KUBECONFIG, or leave out --namespace") from e
    return client.CustomObjectsApi()


def _call(what: str, *args: Any) -> Any:
    from kubernetes.client import ApiException
    from urllib3.exceptions import HTTPError

    try:
        return getattr(_api(), what)(*_GROUP, *args, _request_timeout=15)
    except ApiException as e:
        if e.status == 404:
            raise SluiceError("no such ModelRollout", field="name", value=args[2], fix=f"kubectl get modelrollouts -n {args[0]}") from e
        raise SluiceError(f"the cluster refused: {e.status} {e.reason}", field="name", value=args[2]) from e
    except (HTTPError, OSError) as e:
        raise SluiceError(f"the cluster does not answer: {e}", field="kubeconfig") from e


def status(namespace: str, name: str) -> dict[str, Any]:
    """What `control.status` gives, of a ModelRollout.

    Raises:
        SluiceError: no such resource, or no cluster. MissingExtra: the Kubernetes client is not installed.
    """
    raw = _call("get_namespaced_custom_object", namespace, _PLURAL, name)
    found, spec = raw.get("status") or {}, raw["spec"]
    state = found.get("state") or {}
    events = [{"sequence": h["sequence"], "time": datetime.fromisoformat(h["time"]).timestamp(), "kind": h["kind"],
               "message": h["message"], "data": {"checks": h.get("checks", []), "verdict": h["message"].partition(":")[0]}}
              for h in found.get("history") or []]  # fmt: skip
    phase = found.get("phase", "Pending")
    return {"name": name, "running": phase not in TERMINAL, "interrupted": False, "phase": phase, "stage": found.get("stage", ""),
            "step": state.get("step", 0), "steps": (spec.get("strategy") or {}).get("steps") or [10, 50], "weight": found.get("weight", 0),
            "verdict": found.get("verdict", ""), "reasons": [found["message"]] if found.get("message") else [],
            "stable": found.get("stable"), "candidate": found.get("candidate"), "arms": state.get("window") or {},
            "tests": found.get("checks") or [], "ready": {}, "load": None, "address": None,
            "started": events[0]["time"] if events else None, "updated": state.get("last_time") or time.time(),
            "outcome": {"Succeeded": "promoted", "RolledBack": "rolled_back"}.get(phase), "events": events}  # fmt: skip


def request(namespace: str, name: str, command: str) -> dict[str, Any]:
    """Ask the controller to pause, resume, abort, promote or retry, by the annotation it watches.

    Returns:
        ``{name, command, id}``.

    Raises:
        SluiceError: not a command, no such resource, or no cluster.
    """
    if command not in get_args(Command):
        raise SluiceError("is not a command", field="command", value=command, fix="one of " + ", ".join(get_args(Command)))
    ident = f"{command}#{time.time_ns()}"
    _call("patch_namespaced_custom_object", namespace, _PLURAL, name, {"metadata": {"annotations": {"sluice.dev/command": ident}}})
    return {"name": name, "command": command, "id": ident}
