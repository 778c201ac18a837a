"""The one way to an object store that speaks S3: every call with a limit on its waits, every failure of one kind that says what to do.

Credentials, region and endpoint are boto3's own (``AWS_ACCESS_KEY_ID``, ``AWS_ENDPOINT_URL_S3``, ``AWS_REGION``, profiles, roles).
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from sluice.core.errors import MissingExtra, SluiceError
from sluice.core.imports import ONE_AT_A_TIME

_CHUNK = 1 << 20
_TAKEN = ("PreconditionFailed", "412", "ConditionalRequestConflict", "409")
_MISSING = ("404", "NoSuchKey", "NotFound")
_FORBIDDEN = ("AccessDenied", "403", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken")

Kind = Literal["bucket", "missing", "refused", "credentials", "unreachable", "large"]


class StoreFault(Exception):
    """What an object store, or the way to it, answered instead.

    Attributes:
        kind: ``bucket`` (there is none of that name), ``missing`` (no such object), ``refused``, ``credentials`` (there are none), ``unreachable``,
            ``large`` (more bytes than allowed).
        message, fix: for a person.
    """

    def __init__(self, kind: Kind, message: str, fix: str):
        super().__init__(message)
        self.kind, self.message, self.fix = kind, message, fix

    def told(self, error: type[SluiceError], field: str, fix: str = "", **more: Any) -> SluiceError:
        """The same as an error of a setting's own type; `fix` takes the place of its own."""
        return error(self.message, field=field, fix=fix or self.fix, **more)


class Place:
    """A bucket, and the prefix under which everything asked of it lies.

    Args:
        uri: ``s3://bucket`` or ``s3://bucket/prefix``.
        field: the setting that names it, told where boto3 is missing.
        connect, read: seconds to connect, and to wait for the next bytes.
        attempts: how often a call is tried in all.

    Raises:
        ValueError: `uri` names no bucket.
        MissingExtra: boto3 is not installed.
        StoreFault: there are no credentials to be found.
    """

    def __init__(self, uri: str, field: str, *, connect: float = 5, read: float = 30, attempts: int = 4):
        bucket, _, prefix = uri.removeprefix("s3://").partition("/")
        if not uri.startswith("s3://") or not bucket:
            raise ValueError("names no bucket")
        self.bucket, self.prefix = bucket, prefix.strip("/")
        self._limits = f"an answer is awaited for {connect:g} s to connect and {read:g} s between bytes"
        with self._explained():
            self._client = client(field, connect=connect, read=read, attempts=attempts)

    @property
    def uri(self) -> str:
        """Its address."""
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    def key(self, name: str) -> str:
        """An object's key in the bucket, for its name below the prefix."""
        return f"{self.prefix}/{name}" if self.prefix else name

    def list(self, below: str = "", after: str = "") -> Iterator[tuple[str, int]]:
        """(name below the prefix, bytes) of every object whose name begins with `below` and comes behind `after`, in order. Raises `StoreFault`."""
        for name, size, _ in self.versions(below, after):
            yield name, size

    def versions(self, below: str = "", after: str = "") -> Iterator[tuple[str, int, str]]:
        """`list`, with what the store calls each object's version. Raises `StoreFault`."""
        whole = self.key(below)
        cut = len(self.prefix) + 1 if self.prefix else 0
        start = {"StartAfter": self.key(after)} if after else {}
        with self._explained():
            for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=whole, **start):
                for item in page.get("Contents", ()):
                    yield item["Key"][cut:], item["Size"], str(item.get("ETag", ""))

    def blocks(self, name: str, most: int | None = None) -> Iterator[bytes]:
        """An object's bytes, never more than `most`: what it says of its length is not relied on. Raises `StoreFault`."""
        with self._explained():
            answer = self._client.get_object(Bucket=self.bucket, Key=self.key(name))
            with contextlib.closing(answer["Body"]) as body:
                got = 0
                for block in body.iter_chunks(_CHUNK):
                    got += len(block)
                    if most is not None and got > most:
                        raise StoreFault("large", f"is larger than the {most} bytes it may have", "name a smaller one, or write it again")
                    yield block

    def part(self, name: str, first: int, last: int, etag: str) -> Iterator[bytes]:
        """The bytes of a version of an object from one place (0 is the first) up to another, which is left out. Raises `StoreFault`, also where it was replaced."""
        with self._explained():
            span = {"Range": f"bytes={first}-{last - 1}", "IfMatch": etag}
            with contextlib.closing(self._client.get_object(Bucket=self.bucket, Key=self.key(name), **span)["Body"]) as body:
                yield from body.iter_chunks(_CHUNK)

    def read(self, name: str, most: int) -> bytes:
        """A whole object of at most `most` bytes. Raises `StoreFault`."""
        return b"".join(self.blocks(name, most))

    def fetch(self, name: str, path: Path, most: int | None = None) -> None:
        """Write an object to a file whose folder is made. Raises `StoreFault`, also for more than `most` bytes."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            for block in self.blocks(name, most):
                file.write(block)

    def etag(self, name: str) -> tuple[str, int]:
        """An object's version as the store names it, and how many bytes it says it has. Raises `StoreFault`."""
        with self._explained():
            head = self._client.head_object(Bucket=self.bucket, Key=self.key(name))
            return str(head["ETag"]), int(head["ContentLength"])

    def upload(self, path: Path, name: str) -> None:
        """Write a file's bytes under a name. Raises `StoreFault`."""
        with self._explained():
            self._client.upload_file(str(path), self.bucket, self.key(name))

    def put(self, name: str, data: bytes) -> None:
        """Write bytes under a name. Raises `StoreFault`."""
        with self._explained():
            self._client.put_object(Bucket=self.bucket, Key=self.key(name), Body=data)

    def create(self, name: str, data: bytes, keep_until: datetime | None = None) -> bool:
        """Write bytes under a name that nothing has yet, which the store itself sees to; False where something has it.

        Args:
            keep_until: nobody may delete or replace it before then; the bucket has to have been made with object lock.

        Raises:
            StoreFault: the store refused, or did not answer.
        """
        lock = {"ObjectLockMode": "COMPLIANCE", "ObjectLockRetainUntilDate": keep_until} if keep_until else {}
        sums = {"ContentMD5": base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()} if keep_until else {}
        with self._explained():
            try:
                self._client.put_object(Bucket=self.bucket, Key=self.key(name), Body=data, IfNoneMatch="*", **lock, **sums)
            except Exception as e:
                if getattr(e, "response", {}).get("Error", {}).get("Code") in _TAKEN:
                    return False
                raise
            return True

    def locks(self) -> bool:
        """Whether the bucket can keep objects from being deleted or replaced (object lock). Raises `StoreFault`."""
        with self._explained():
            try:
                found = self._client.get_object_lock_configuration(Bucket=self.bucket)
            except Exception as e:
                if getattr(e, "response", {}).get("ResponseMetadata", {}).get("HTTPStatusCode") in (400, 404, 405, 501):
                    return False
                raise
            return bool((found.get("ObjectLockConfiguration") or {}).get("ObjectLockEnabled") == "Enabled")

    def delete(self, name: str) -> None:
        """Delete an object, if it is there. Raises `StoreFault`."""
        with self._explained():
            self._client.delete_object(Bucket=self.bucket, Key=self.key(name))

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (StoreFault, SluiceError):
            raise
        except Exception as e:
            from boto3.exceptions import Boto3Error
            from botocore.exceptions import BotoCoreError, ClientError

            if isinstance(e, ClientError):
                raise _refused(e, self.bucket) from e
            if isinstance(e, BotoCoreError | Boto3Error):
                raise _unreachable(e, self._limits) from e
            raise


def _refused(error: Any, bucket: str) -> StoreFault:
    code = str(error.response.get("Error", {}).get("Code", ""))
    if code == "NoSuchBucket":
        return StoreFault("bucket", f"there is no bucket {bucket}", "check its name and AWS_ENDPOINT_URL, or create it")
    if code in _MISSING:
        return StoreFault("missing", "no such object", "check bucket and key; end the key with / for a folder")
    if code in _FORBIDDEN:
        fix = "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and that they may list, read and write the bucket"
        return StoreFault("refused", f"S3 refuses the request ({code})", fix)
    return StoreFault("refused", f"S3 answers {code or error}", "try again; look at the bucket's policy and the store's own log")


def _unreachable(error: Exception, limits: str) -> StoreFault:
    kind = type(error).__name__
    if "Credentials" in kind or "Token" in kind or "Profile" in kind:
        return StoreFault("credentials", f"no credentials for S3: {error}", "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile")
    return StoreFault("unreachable", f"S3 cannot be reached: {error}", f"check AWS_ENDPOINT_URL and the network; {limits}")


def client(field: str, *, connect: float = 5, read: float = 30, attempts: int = 4) -> Any:
    """boto3's client, with limits on every wait; `Place` is what to use of it.

    Args:
        field: the setting that asked for it, named where boto3 is missing.
        connect, read: seconds to connect, and to wait for the next bytes.
        attempts: how often a call is tried in all.

    Raises:
        MissingExtra: boto3 is not installed.
    """
    try:
        with ONE_AT_A_TIME:
            import boto3
            from botocore.config import Config
    except ModuleNotFoundError as e:
        raise MissingExtra("s3:// needs boto3", field=field, fix="pip install 'sluice-ml[s3]'") from e
    own = bool(os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL"))
    config = Config(
        connect_timeout=connect,
        read_timeout=read,
        retries={"total_max_attempts": attempts, "mode": "standard"},
        # Servers other than AWS's know neither buckets as host names nor the newer checksums; digests are checked by whoever reads.
        s3={"addressing_style": "path" if own else "auto"},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or ("us-east-1" if own else None)
    return boto3.session.Session().client("s3", region_name=region, config=config)
