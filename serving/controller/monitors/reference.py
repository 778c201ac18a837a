"""The profile of a package's training rows, out of the store and without the rest of the package."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import orjson

from serving.controller.monitors.seen import Watched
from sluice.core.errors import SluiceError
from sluice.core.s3 import Place, StoreFault
from sluice.package.manifest import LIMIT_MANIFEST, MANIFEST
from sluice.package.package import PROFILE

#: Bytes of a profile.
_MOST = 64 << 20


class NoReference(SluiceError):
    """The package that is watched has no profile that can be read now."""


def profile_of(model: Watched) -> dict[str, Any]:
    """The profile, verified: the manifest by the model's digest, the profile by the manifest.

    Raises:
        NoReference: it cannot be read, is not what the digest says, or the package has none.
    """
    raw = _read(model, MANIFEST, LIMIT_MANIFEST)
    if hashlib.sha256(raw).hexdigest() != model.digest:
        raise NoReference("is not the package of this digest", field=f"{model.uri}/{MANIFEST}", value=model.digest)
    listed = (orjson.loads(raw).get("files") or {}).get(PROFILE)
    if listed is None:
        raise NoReference("has no profile of its training rows", field="spec.package", value=model.uri, fix="train again with this version")
    found = _read(model, PROFILE, _MOST)
    if hashlib.sha256(found).hexdigest() != listed["sha256"]:
        raise NoReference("is not what the package lists", field=f"{model.uri}/{PROFILE}", value=model.digest)
    profile: dict[str, Any] = orjson.loads(found)
    return profile


def _read(model: Watched, name: str, most: int) -> bytes:
    try:
        if model.uri.startswith("s3://"):
            return Place(model.uri, "spec.package.uri", connect=5, read=30, attempts=2).read(name, most)
        if "://" not in model.uri or model.uri.startswith("file://"):
            root = Path(unquote(urlsplit(model.uri).path)) if model.uri.startswith("file://") else Path(model.uri)
            return (root / name).read_bytes()
    except StoreFault as e:
        raise e.told(NoReference, "package", value=f"{model.uri}/{name}") from e
    except OSError as e:
        raise NoReference(f"cannot be read: {e.strerror or e}", field="package", value=f"{model.uri}/{name}") from e
    raise NoReference(
        "is where the controller cannot read",
        field="package",
        value=model.uri,
        fix="keep packages in an object store: SLUICE_STORE=s3://...",
    )
