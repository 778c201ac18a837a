"""The profile of a package's training rows, out of the store and without the rest of the package."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import orjson

from serving.controller.monitors.seen import Watched
from sluice.core.errors import SluiceError
from sluice.core.s3 import Place, StoreFault
from sluice.package import manifest as manifests
from sluice.package.manifest import LIMIT_MANIFEST, MANIFEST
from sluice.package.package import PROFILE
from sluice.problems import decision
from sluice.problems.decision import Rule

if TYPE_CHECKING:
    from sluice.monitor.quality import Judge

#: Bytes of a profile.
_MOST = 64 << 20


class NoReference(SluiceError):
    """The package that is watched has no profile that can be read now."""


def profile_of(model: Watched) -> dict[str, Any]:
    """The profile, verified: the manifest by the model's digest, the profile by the manifest.

    Raises:
        NoReference: it cannot be read, is not what the digest says, or the package has none.
    """
    listed = (orjson.loads(_manifest(model)).get("files") or {}).get(PROFILE)
    if listed is None:
        raise NoReference("has no profile of its training rows", field="spec.package", value=model.uri, fix="train again with this version")
    found = _read(model, PROFILE, _MOST)
    if hashlib.sha256(found).hexdigest() != listed["sha256"]:
        raise NoReference("is not what the package lists", field=f"{model.uri}/{PROFILE}", value=model.digest)
    profile: dict[str, Any] = orjson.loads(found)
    return profile


def judge_of(model: Watched, profile: Mapping[str, Any], metric: str | None) -> Judge:
    """By what the package's answers are judged.

    Args:
        profile: `profile_of` it. metric: None: the one that such problems are judged by.

    Raises:
        NoReference: its manifest cannot be read now.
        SluiceError: its answers cannot be judged by the log, or there is no such metric.
    """
    from sluice.monitor.quality import Judge

    m = manifests.parse(_manifest(model), f"{model.uri}/{MANIFEST}")
    return Judge.of(_Told(m["objective"], tuple(m["labels"]), decision.read(m.get("decision"), m["labels"]), m["metrics"], profile), metric)


@dataclasses.dataclass(frozen=True)
class _Told:
    """What a package says of its answers (`sluice.monitor.quality.Answering`)."""

    objective: str
    labels: tuple[str, ...]
    rule: Rule | None
    metrics: Mapping[str, Any]
    found: Mapping[str, Any]

    def profile(self) -> Mapping[str, Any]:
        """Of the training rows."""
        return self.found


def _manifest(model: Watched) -> bytes:
    raw = _read(model, MANIFEST, LIMIT_MANIFEST)
    if hashlib.sha256(raw).hexdigest() != model.digest:
        raise NoReference("is not the package of this digest", field=f"{model.uri}/{MANIFEST}", value=model.digest)
    return raw


def _read(model: Watched, name: str, most: int) -> bytes:
    try:
        if model.uri.startswith("s3://"):
            return Place(model.uri, "spec.package.uri", connect=5, read=30, attempts=2).read(name, most)
        if "://" not in model.uri or model.uri.startswith("file://"):
            root = Path(unquote(urlsplit(model.uri).path)) if model.uri.startswith("file://") else Path(model.uri)
            return (root / name).read_bytes()
    except StoreFault as e:
        # read once, when the controller starts
        keys = "put the store's keys into the Secret sluice-store, then: kubectl -n NAMESPACE rollout restart deployment/sluice-controller"
        raise e.told(NoReference, "package", keys if e.kind == "credentials" else "", value=f"{model.uri}/{name}") from e
    except OSError as e:
        raise NoReference(f"cannot be read: {e.strerror or e}", field="package", value=f"{model.uri}/{name}") from e
    raise NoReference(
        "is where the controller cannot read",
        field="package",
        value=model.uri,
        fix="keep packages in an object store (SLUICE_STORE=s3://...), or watch it by the pipeline sluice-monitoring, whose steps mount the claim",
    )
