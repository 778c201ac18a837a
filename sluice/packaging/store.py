"""Which store a package is in: the home's folder, or an object store."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlparse

from sluice.errors import PackageError
from sluice.home import Home
from sluice.packaging.package import Package, Store


class PackageStore(Protocol):
    """Content-addressed packages. All methods raise `PackageError`."""

    def add(self, package: Package) -> Package: ...
    def get(self, digest: str) -> Package: ...
    def digests(self) -> list[str]: ...
    def uri(self, digest: str) -> str: ...


def default_store(home: Home) -> PackageStore:
    """`$SLUICE_STORE` (``s3://bucket/prefix`` or a folder), or the home's own."""
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
        from sluice.packaging.s3 import S3Store

        return S3Store(root, cache=home.store)
    if "://" in root and not root.startswith("file://"):
        raise PackageError("stores of this kind are not known", field="store", value=root, fix="use a folder or s3://bucket/prefix")
    path = Path(unquote(urlparse(root).path)) if root.startswith("file://") else Path(root)
    return Store(path if (path / "sha256").is_dir() else home.store) if root.startswith("file://") else Store(path)
