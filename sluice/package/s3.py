"""Packages in an object store: ``s3://bucket/prefix/sha256/<digest>/``, content-addressed like the local store.

Credentials, region and endpoint are boto3's own (``AWS_ACCESS_KEY_ID``, ``AWS_ENDPOINT_URL_S3``,
``AWS_REGION``, profiles, roles). ``model.json`` is uploaded last, so a package is in the store
whole or not at all; every download is verified before it appears in the cache.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
from collections.abc import Iterator
from pathlib import Path

from sluice.core import files, s3
from sluice.core.errors import PackageError
from sluice.package import manifest as manifests
from sluice.package.manifest import LIMIT_MANIFEST, MANIFEST
from sluice.package.package import Package, Store, move_in, read

_CHUNK = 1 << 20
_MISSING = frozenset({"404", "NoSuchKey", "NotFound"})


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
        bucket, _, prefix = root.removeprefix("s3://").partition("/")
        if not root.startswith("s3://") or not bucket:
            raise PackageError("names no bucket", field="store", value=root, fix="use s3://bucket/prefix")
        self.bucket, self.prefix = bucket, prefix.strip("/")
        self.root = f"s3://{bucket}/{self.prefix}".rstrip("/")
        self.cache = Store(cache)
        self._client = s3.client("store")

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
            for name in sorted(listed):
                self._upload(kept.root / name, self._key(kept.digest, name))
            self._upload(kept.root / MANIFEST, self._key(kept.digest, MANIFEST))
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
                self._download(self._key(digest, name), tmp / name, entry["size"])
            files.write_bytes(tmp / MANIFEST, raw)
            read(tmp, digest)
        move_in(ready, target, digest)
        return read(target, digest)

    def digests(self) -> list[str]:
        """Digests of the packages that are there whole. Raises `PackageError`."""
        found = set()
        with self._explained():
            for key, _ in self._list(self._key("", "")):
                parts = key.rsplit("/", 2)
                if len(parts) == 3 and parts[2] == MANIFEST:
                    found.add(parts[1])
        return sorted(found)

    def _key(self, digest: str, name: str) -> str:
        return "/".join(p for p in (self.prefix, "sha256", digest) if p) + f"/{name}"

    def _list(self, prefix: str) -> Iterator[tuple[str, int]]:
        for part in self._client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix):
            for item in part.get("Contents", ()):
                yield item["Key"], item["Size"]

    def _sizes(self, digest: str) -> dict[str, int]:
        prefix = self._key(digest, "")
        return {key.removeprefix(prefix): size for key, size in self._list(prefix)}

    def _upload(self, path: Path, key: str) -> None:
        self._client.upload_file(str(path), self.bucket, key)

    def _manifest(self, digest: str) -> bytes:
        """``model.json``'s bytes: its digest is the package's, so nothing else has to be trusted."""
        raw = b"".join(self._body(self._key(digest, MANIFEST), LIMIT_MANIFEST))
        if hashlib.sha256(raw).hexdigest() != digest:
            raise PackageError(
                "model.json in the store does not have the digest it lies under", field=self.uri(digest), fix="register the model again"
            )
        return raw

    def _download(self, key: str, path: Path, size: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as f:
            for block in self._body(key, size):
                f.write(block)

    def _body(self, key: str, most: int) -> Iterator[bytes]:
        """An object's bytes, never more than `most`: what it says of its length is not relied on."""
        answer = self._client.get_object(Bucket=self.bucket, Key=key)
        with contextlib.closing(answer["Body"]) as body:
            got = 0
            for block in body.iter_chunks(_CHUNK):
                got += len(block)
                if got > most:
                    raise PackageError(
                        f"is larger than the {most} bytes it may have", field=f"s3://{self.bucket}/{key}", fix="register the model again"
                    )
                yield block

    @contextlib.contextmanager
    def _explained(self, digest: str = "") -> Iterator[None]:
        """Turn boto3's errors into one that says what to do."""
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError

        where = self.uri(digest) if digest else self.root
        try:
            yield
        except ClientError as e:
            code = str(e.response.get("Error", {}).get("Code", ""))
            if code == "NoSuchBucket":
                raise PackageError("there is no such bucket", field=where, value=self.bucket, fix="create it, or name another store") from e
            if code in _MISSING:
                raise PackageError("is not in the store", field=where, fix="register the model again, or look at `sluice models`") from e
            raise PackageError(f"the store refused: {e}", field=where, fix="look at the credentials and the bucket's policy") from e
        except (BotoCoreError, Boto3Error) as e:
            raise PackageError(
                f"the store cannot be reached: {e}",
                field=where,
                fix="look at AWS_ENDPOINT_URL_S3, the network, and AWS_ACCESS_KEY_ID or the role",
            ) from e
