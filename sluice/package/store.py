"""Which store a package is in: the home's folder, or an object store."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlparse

from sluice.core.errors import PackageError
from sluice.core.home import Home
from sluice.package.package import Package, Store

#: Where a claim is mounted, unless the variable says otherwise.
MOUNT_ENV, MOUNT = "SLUICE_STORE_MOUNT", "/store"


class PackageStore(Protocol):
    """Content-addressed packages. All methods raise `PackageError`."""

    def add(self, package: Package) -> Package: ...
    def get(self, digest: str) -> Package: ...
    def digests(self) -> list[str]: ...
    def uri(self, digest: str) -> str: ...
    def add_proof(self, digest: str, found: Mapping[str, bytes]) -> None: ...
    def proof(self, digest: str) -> dict[str, bytes] | None: ...


class ClaimStore(Store):
    """A store on a PersistentVolumeClaim (``pvc://CLAIM[/folder]``), mounted where ``$SLUICE_STORE_MOUNT`` says (``/store``).

    Steps see the folder; what is registered is the claim's address, which KServe mounts for a model server.

    Raises:
        PackageError: nothing is mounted there.
    """

    def __init__(self, root: str):
        claim, _, folder = root.removeprefix("pvc://").partition("/")
        mount = Path(os.environ.get(MOUNT_ENV) or MOUNT)
        if not claim or not mount.is_dir():
            raise PackageError(
                "nothing is mounted where it is looked for" if claim else "names no claim",
                field="SLUICE_STORE",
                value=root,
                fix=f"volumes: [{{claim: {claim or 'CLAIM'}, mount: {mount}}}] below cluster.defaults, or {MOUNT_ENV}",
            )
        super().__init__(mount / folder)
        self._root = root.rstrip("/")

    def uri(self, digest: str) -> str:
        """The ``pvc://`` address of a stored package."""
        return f"{self._root}/sha256/{self.path(digest).name}"


def default_store(home: Home) -> PackageStore:
    """`$SLUICE_STORE` (``s3://bucket/prefix``, ``pvc://claim[/folder]`` or a folder), or the home's own."""
    return _store(os.environ.get("SLUICE_STORE") or str(home.store), home)


def open_store(uri: str, home: Home) -> PackageStore:
    """The store that a package's registered `uri` (``.../sha256/<digest>``) lies in.

    A folder that is not there any more is looked for in the home: a home that was moved keeps its packages.
    """
    root, found, _ = uri.rpartition("/sha256/")
    if not found:
        raise PackageError("is not the address of a stored package", field="uri", value=uri, fix="it ends in /sha256/<digest>")
    return _store(root, home)


def _store(root: str, home: Home) -> PackageStore:
    if root.startswith("s3://"):
        from sluice.package.s3 import S3Store

        return S3Store(root, cache=home.store)
    if root.startswith("pvc://"):
        return ClaimStore(root)
    if "://" in root and not root.startswith("file://"):
        raise PackageError(
            "stores of this kind are not known", field="store", value=root, fix="use a folder, s3://bucket/prefix or pvc://claim"
        )
    path = Path(unquote(urlparse(root).path)) if root.startswith("file://") else Path(root)
    return Store(path if (path / "sha256").is_dir() else home.store) if root.startswith("file://") else Store(path)
