"""An environment's own objects on a cluster, with their status: what is served, how far a rollout came, what is scheduled and watched."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from sluice import __version__
from sluice.backup import archive
from sluice.core import files
from sluice.core.errors import HomeError, SluiceError
from sluice.kube.client import KubeFault, Object
from sluice.kube.objects import GROUP, KINDS, VERSION, Objects

#: Of metadata: what a person wrote, and nothing the API server did.
_KEPT = ("name", "labels", "annotations", "finalizers")
_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_LIMIT_OBJECT = 8 << 20


class Acting(SluiceError):
    """A controller acts on the environment."""

    exit_code = 2


def kinds() -> list[str]:
    """Of our own resources, in the order they are put back: a run that is there is not begun again by its schedule."""
    own = [k for k, (prefix, _) in KINDS.items() if prefix == f"/apis/{GROUP}/{VERSION}"]
    return sorted(own, key=lambda k: ("PipelineRun", "ModelRollout").index(k) if k in ("PipelineRun", "ModelRollout") else 9)


def save(objects: Objects, namespace: str, out: Path) -> dict[str, Any]:
    """Save an environment's objects.

    Returns:
        The backup's list.

    Raises:
        KubeFault: the API server refused. HomeError: there is nothing to save.
    """
    with tempfile.TemporaryDirectory(prefix="sluice-backup-") as work:
        found: dict[str, Path] = {}
        for kind in kinds():
            try:
                items = objects.list(kind, namespace)
            except KubeFault as e:
                if e.status == 404:  # an older installation does not know the kind
                    continue
                raise
            for item in items:
                name = f"{KINDS[kind][1]}/{item['metadata']['name']}.json"
                found[name] = Path(work) / name
                files.write_json(found[name], _plain(kind, item))
        if not found:
            raise HomeError("has no object of Sluice", field="--namespace", value=namespace, fix="kubectl get modelrollouts -A")
        told = {
            "what": "cluster",
            "namespace": namespace,
            "sluice": __version__,
            "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "elsewhere": ["registry: MLflow's database", "store: the bucket that packages are in"],
        }
        return archive.write(out, told, found)


def _plain(kind: str, item: Object) -> Object:
    """An object without what belongs to this cluster."""
    meta = {k: item["metadata"][k] for k in _KEPT if k in item["metadata"]}
    if "annotations" in meta:
        meta["annotations"] = {k: v for k, v in meta["annotations"].items() if k != _APPLIED}
    kept = {"apiVersion": f"{GROUP}/{VERSION}", "kind": kind, "metadata": meta, "spec": item.get("spec") or {}}
    return {**kept, "status": item["status"]} if item.get("status") else kept


def restore(
    objects: Objects,
    namespace: str,
    source: Path,
    *,
    lease: str = "sluice-rollout",
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> dict[str, Any]:
    """Put an environment's objects back, each with its status, so that no rollout that has ended begins again.

    Objects that are there keep what they are.

    Returns:
        The backup's list, with what was ``made`` and what was ``there``.

    Raises:
        Acting: a controller holds the environment's lease: between an object and its status it would begin a rollout.
        HomeError: no whole backup. KubeFault: the API server refused.
    """
    with archive.opened(source) as (head, tar), tempfile.TemporaryDirectory(prefix="sluice-restore-") as work:
        if head.get("what") != "cluster":
            raise HomeError("is a backup of a home", field=str(source), fix="sluice restore FILE --home DIR")
        archive.unpack(head, tar, Path(work), str(source))
        _still(objects, namespace, lease, clock())
        made: list[str] = []
        there: list[str] = []
        for kind in kinds():
            for path in sorted((Path(work) / KINDS[kind][1]).glob("*.json")):
                item = _read(path, str(source))
                name = f"{kind}/{item['metadata']['name']}"
                (made if _put(objects, namespace, kind, item) else there).append(name)
        return {**head, "made": made, "there": there}


def _still(objects: Objects, namespace: str, lease: str, now: datetime) -> None:
    spec = (objects.get("Lease", namespace, lease) or {}).get("spec") or {}
    renewed = str(spec.get("renewTime") or "")
    if not spec.get("holderIdentity") or not renewed:
        return
    age = (now - datetime.fromisoformat(renewed.replace("Z", "+00:00"))).total_seconds()
    if age < float(spec.get("leaseDurationSeconds") or 15) * 2:
        raise Acting(
            "a controller acts on this environment: between an object and its status it would begin a rollout",
            field="--namespace",
            value=namespace,
            fix=f"kubectl -n {namespace} scale deployment sluice-controller --replicas=0, restore, and scale it back",
        )


def _read(path: Path, where: str) -> Object:
    if path.stat().st_size > _LIMIT_OBJECT:
        raise HomeError(f"is larger than {_LIMIT_OBJECT} bytes", field=f"{where}: {path.name}", value=path.stat().st_size)
    found: Object = orjson.loads(path.read_bytes())
    return found


def _put(objects: Objects, namespace: str, kind: str, item: Object) -> bool:
    """Make an object and give it its status; False where it was there, with a status of its own."""
    name = item["metadata"]["name"]
    there = objects.get(kind, namespace, name)
    if there is not None and there.get("status"):
        return False
    spec = {k: v for k, v in item.items() if k != "status"}
    spec["metadata"] = {**spec["metadata"], "namespace": namespace}
    if there is None:
        there = objects.create(kind, namespace, spec)
    if item.get("status"):
        # what the controller has seen is a generation of this cluster's object, not of the one that was saved
        status = {**item["status"]}
        if "observedGeneration" in status:
            status["observedGeneration"] = there["metadata"].get("generation", 1)
        objects.merge(kind, namespace, name, {"status": status}, "status")
    return True
