"""Packages in an object store: ``s3://bucket/prefix/sha256/<digest>/``, content-addressed like the local store.

``model.json`` is uploaded last, so a package is in the store
whole or not at all; every download is verified before it appears in the cache.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path

from sluice.core import files
from sluice.core.errors import PackageError
from sluice.core.s3 import Place, StoreFault
from sluice.package import beside
from sluice.package import manifest as manifests
from sluice.package.manifest import LIMIT_MANIFEST, MANIFEST
from sluice.package.package import Package, Store, move_in, read


class S3Store:
    """A content-addressed store of packages behind the S3 protocol.

    Args:
        root: ``s3://bucket`` or ``s3://bucket/prefix``.
        cache: a local store's folder; what was fetched once is kept there, and needs no network again.

    Raises:
        PackageError: `root` names no bucket.
        MissingExtra: boto3 is not installed.
    """

    def __init__(self, root: str, cache: Path):
        try:
            self._place = Place(root, "store")
        except ValueError as e:
            raise PackageError(str(e), field="store", value=root, fix="use s3://bucket/prefix") from e
        except StoreFault as e:
            raise e.told(PackageError, "store", value=root) from e
        self.root = self._place.uri
        self.cache = Store(cache)

    def uri(self, digest: str) -> str:
        """The address of a stored package: KServe's ``storageUri``. Raises `PackageError` for what is no digest."""
        return f"{self.root}/sha256/{self.cache.path(digest).name}"

    def add(self, package: Package) -> Package:
        """Upload a package, verified first; one already there whole is left as it is. Returns the cached copy.

        Raises:
            PackageError: damaged, or the store refuses or does not answer.
        """
        kept = self.cache.add(package)
        with self._explained(package.digest):
            listed = kept.manifest["files"]
            there = self._sizes(kept.digest)
            if all(there.get(name) == entry["size"] for name, entry in listed.items()) and MANIFEST in there:
                return kept
            for name in [*sorted(listed), MANIFEST]:
                self._place.upload(kept.root / name, f"sha256/{kept.digest}/{name}")
        return kept

    def get(self, digest: str) -> Package:
        """A package by its digest: from the cache, or downloaded and verified.

        Raises:
            PackageError: not in the store, damaged there, or the store refuses or does not answer.
        """
        target = self.cache.path(digest)
        digest = target.name
        with contextlib.suppress(PackageError):
            return self.cache.get(digest)
        ready = target.with_name(f"{files.PARTIAL}{digest}.{secrets.token_hex(4)}")
        with self._explained(digest), files.new_dir(ready) as tmp:
            raw = self._manifest(digest)
            for name, entry in manifests.parse(raw, self.uri(digest))["files"].items():
                self._place.fetch(f"sha256/{digest}/{name}", tmp / name, entry["size"])
            files.write_bytes(tmp / MANIFEST, raw)
            read(tmp, digest)
        move_in(ready, target, digest)
        return read(target, digest)

    def digests(self) -> list[str]:
        """Digests of the packages that are there whole. Raises `PackageError`."""
        with self._explained():
            names = [name.split("/") for name, _ in self._place.list("sha256/")]
        return sorted({digest for _, digest, *rest in names if rest == [MANIFEST]})

    def add_proof(self, digest: str, found: Mapping[str, bytes]) -> None:
        """Upload a package's proof, its index last: until then the one before it is read, or none.

        Raises:
            PackageError: the store refuses or does not answer.
        """
        digest = self.cache.path(digest).name
        with self._explained(digest):
            for name, data in [*found.items(), (beside.INDEX, beside.index_of(digest, found))]:
                self._place.put(f"{beside.FOLDER}/{digest}/{name}", data)
        self.cache.add_proof(digest, found)

    def proof(self, digest: str) -> dict[str, bytes] | None:
        """A package's proof as the store has it now, None where it has none: one that was signed since is another.

        Raises:
            PackageError: damaged there, or the store refuses or does not answer.
        """
        digest = self.cache.path(digest).name
        below = f"{beside.FOLDER}/{digest}"
        where = f"{self.root}/{below}"
        try:
            raw = self._place.read(f"{below}/{beside.INDEX}", beside.LIMIT_INDEX)
        except StoreFault as e:
            if e.kind == "missing":
                return None
            raise e.told(PackageError, where) from e
        found = {}
        for name, entry in beside.listed(raw, digest, f"{where}/{beside.INDEX}").items():
            try:
                found[name] = self._place.read(f"{below}/{name}", entry["size"])
            except StoreFault as e:
                raise e.told(PackageError, f"{where}/{name}") from e
            beside.check_file(found[name], entry, f"{where}/{name}")
        return found

    def _sizes(self, digest: str) -> dict[str, int]:
        below = f"sha256/{digest}/"
        return {name.removeprefix(below): size for name, size in self._place.list(below)}

    def _manifest(self, digest: str) -> bytes:
        """``model.json``'s bytes: its digest is the package's, so nothing else has to be trusted."""
        raw = self._place.read(f"sha256/{digest}/{MANIFEST}", LIMIT_MANIFEST)
        if hashlib.sha256(raw).hexdigest() != digest:
            raise PackageError(
                "model.json in the store does not have the digest it lies under", field=self.uri(digest), fix="register the model again"
            )
        return raw

    @contextlib.contextmanager
    def _explained(self, digest: str = "") -> Iterator[None]:
        """A store's failure as one of the package."""
        where = self.uri(digest) if digest else self.root
        try:
            yield
        except StoreFault as e:
            if e.kind == "missing":
                raise PackageError("is not in the store", field=where, fix="register the model again, or look at `sluice models`") from e
            raise e.told(PackageError, where, fix="register the model again" if e.kind == "large" else "") from e
