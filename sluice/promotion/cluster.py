"""What promotions and the way back ask of a cluster: a ModelRollout's model, the word to go back, and what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from sluice.audit.record import user
from sluice.core.errors import DeadlineError, RolloutError, SluiceError
from sluice.kube.client import Kube, KubeFault
from sluice.kube.objects import GROUP, Objects
from sluice.rollouts.cluster import plain
from sluice.rollouts.state import TERMINAL

#: Annotations: what is asked, why, and by whom.
COMMAND, REASON, BY = f"{GROUP}/command", f"{GROUP}/reason", f"{GROUP}/by"
#: Seconds between two looks; that a rollout may take (it has deadlines of its own); and characters of a reason.
_EVERY, _ROLLOUT, _REASON = 1.0, 86_400.0, 1000


def objects(context: str | None = None) -> Objects:
    """The cluster. Raises `RolloutError`, `MissingExtra`."""
    try:
        return Objects(Kube(context))
    except KubeFault as e:
        raise RolloutError(e.message, field="namespace", fix="set KUBECONFIG, or `context` of the environment") from e


def read(kube: Objects, namespace: str, name: str) -> dict[str, Any]:
    """A ModelRollout. Raises `RolloutError` where there is none, `SluiceError` where it cannot be read."""
    try:
        found = kube.get("ModelRollout", namespace, name)
    except KubeFault as e:
        raise _fault(e, namespace, name, "read") from e
    if found is None:
        raise RolloutError(
            "there is no such ModelRollout",
            field=f"ModelRollout {namespace}/{name}",
            fix="apply one for the first model: docs/kubernetes.md",
        )
    return dict(plain(found))


def state_of(raw: dict[str, Any]) -> dict[str, Any]:
    """What its controller remembers; empty before it has looked."""
    return (raw.get("status") or {}).get("state") or {}


def patch(kube: Objects, namespace: str, name: str, change: dict[str, Any]) -> None:
    """Change it, as no kubectl: Flux takes back what one whose name begins so wrote. Raises `SluiceError`."""
    try:
        kube.merge("ModelRollout", namespace, name, change, query={"fieldManager": "sluice"})
    except KubeFault as e:
        raise _fault(e, namespace, name, "change") from e


def _fault(e: KubeFault, namespace: str, name: str, what: str) -> SluiceError:
    where = f"ModelRollout {namespace}/{name}"
    if e.status == 404:
        return RolloutError("there is no such ModelRollout", field=where, fix="apply one for the first model: docs/kubernetes.md")
    if e.status == 403:
        return RolloutError(
            f"the cluster does not let you {what} it: {e.message}", field=where, fix="ask an approver: docs/environments.md says who may"
        )
    return SluiceError(f"cannot {what} it: {e.status or ''} {e.message}".replace("  ", " "), field=where, fix=e.fix)


def said(reason: str) -> dict[str, str]:
    """The annotations that keep why, and who."""
    return {REASON: reason[:_REASON], BY: user()[:200]}


def change_model(kube: Objects, namespace: str, name: str, wanted: dict[str, str], reason: str) -> None:
    """Have another model rolled out. `wanted` is of `sluice.rollouts.manifest.model`. Raises as `patch`."""
    # What is not named in a merge stays: the signature of the model before this one must not.
    change = {"metadata": {"annotations": said(reason)}, "spec": {"model": {"signature": None, **wanted}}}
    patch(kube, namespace, name, change)


def follow(
    kube: Objects,
    namespace: str,
    name: str,
    digest: str,
    *,
    seconds: float = _ROLLOUT,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, Any]:
    """Wait until a digest serves, or does not. Returns ``{outcome, reasons}``: ``promoted``, ``rolled_back`` or ``failed``.

    Raises:
        DeadlineError: it is not over after `seconds`.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        raw = read(kube, namespace, name)
        status, state = raw.get("status") or {}, state_of(raw)
        seen = raw["metadata"].get("generation", 0) <= status.get("observedGeneration", 0)
        if seen and status.get("phase") in TERMINAL:
            outcome = (
                "promoted" if state.get("stable") == digest else "rolled_back" if digest in (state.get("rejected") or ()) else "failed"
            )
            return {"outcome": outcome, "reasons": list(state.get("reasons") or ())}
        sleep(_EVERY)
    raise DeadlineError(f"is not over after {seconds:g} s", field=f"ModelRollout {namespace}/{name}", fix="`sluice rollout watch`")
