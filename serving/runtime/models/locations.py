"""Where models lie: a folder, an ONNX file, ``file://``, ``s3://``; ``/mnt/models`` is a folder like another.

``python -m serving.runtime.models.locations URI`` downloads and prints the local path: workers call it so,
that the object store's client takes none of their memory.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import orjson

from sluice.core import files
from sluice.core.errors import PackageError, SluiceError
from sluice.package import package as packages

_SECONDS = 1800.0
_PART = re.compile(r"[A-Za-z0-9._@+-]{1,200}")


def local(uri: str, digest: str | None, max_bytes: int) -> Path:
    """A local path to what `uri` names, downloaded if need be.

    Raises:
        PackageError: nothing there, a kind of place that is not known, or too large.
    """
    if uri.startswith("s3://"):
        return _in_process(uri, digest, max_bytes)
    if uri.startswith("file://"):
        uri = unquote(urlparse(uri).path)
    elif "://" in uri:
        raise PackageError("models are not loaded from such a place", field="PACKAGE", value=uri, fix="use a folder, or s3://bucket/key")
    path = Path(uri).absolute()
    if not path.exists():
        raise PackageError("is not there", field=str(path), fix="name a package directory or an .onnx file")
    return path


def cache_root() -> Path:
    """`$SLUICE_MODEL_CACHE`, or a folder among the temporary ones."""
    return Path(os.environ.get("SLUICE_MODEL_CACHE") or Path(tempfile.gettempdir()) / f"sluice-models-{os.getuid()}")


def _in_process(uri: str, digest: str | None, max_bytes: int) -> Path:
    command = [sys.executable, "-m", "serving.runtime.models.locations", uri, digest or "", str(max_bytes)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_SECONDS, check=False)
        found = orjson.loads(done.stdout)
    except (subprocess.TimeoutExpired, orjson.JSONDecodeError) as e:
        raise PackageError("cannot be downloaded", field="PACKAGE", value=uri, fix="see the server's log") from e
    if "path" not in found:
        raise PackageError(found["message"], field=found["field"] or uri, fix=found["fix"])
    return Path(found["path"])


def download(uri: str, digest: str | None, max_bytes: int) -> Path:
    """Fetch a package (a prefix with ``model.json``) or one ``.onnx`` object, each file into a folder that appears whole.

    A package already there whole is not fetched again. What is fetched is verified by whoever opens it.

    Raises:
        PackageError: not there, not allowed, too large, or a name that would leave the folder.
    """
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    bucket, _, key = uri.removeprefix("s3://").partition("/")
    key = key.strip("/")
    root = cache_root()
    root.mkdir(parents=True, exist_ok=True)
    try:
        client = boto3.client("s3")
        with (root / ".lock").open("w") as lock:  # workers that start together download once
            fcntl.flock(lock, fcntl.LOCK_EX)
            if key.endswith(".onnx"):
                return _object(client, bucket, key, root, max_bytes)
            return _package(client, bucket, key, root, digest, max_bytes)
    except (BotoCoreError, ClientError) as e:
        raise PackageError(f"cannot be read: {e}", field=uri, fix="check the address, AWS_ENDPOINT_URL and the credentials") from e


def _object(client: Any, bucket: str, key: str, root: Path, max_bytes: int) -> Path:
    head = client.head_object(Bucket=bucket, Key=key)
    if head["ContentLength"] > max_bytes:
        raise PackageError(f"is larger than {max_bytes} bytes", field=f"s3://{bucket}/{key}", value=head["ContentLength"])
    target = root / "onnx" / hashlib.sha256(f"{bucket}/{key}/{head['ETag']}".encode()).hexdigest()
    name = _checked(key.rsplit("/", 1)[-1])
    if not (target / name).exists():
        with files.new_dir(target) as tmp:
            client.download_file(bucket, key, str(tmp / name))
    return target / name


def _package(client: Any, bucket: str, key: str, root: Path, digest: str | None, max_bytes: int) -> Path:
    base = f"{key}/" if key else ""
    raw = client.get_object(Bucket=bucket, Key=f"{base}{packages.MANIFEST}")["Body"].read(8 << 20)
    found = hashlib.sha256(raw).hexdigest()
    if digest and found != digest.removeprefix("sha256:"):
        raise PackageError(
            f"digest is {found}, not the one asked for", field=f"s3://{bucket}/{key}", value=digest, fix="register the package again"
        )
    store = packages.Store(root)
    target = store.path(found)
    if target.exists():
        try:
            return store.get(found).root
        except PackageError:
            pass
    try:
        listed = {str(n): int(e["size"]) for n, e in orjson.loads(raw)["files"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as e:
        raise PackageError("is no package's manifest", field=f"s3://{bucket}/{base}{packages.MANIFEST}", value=str(e)) from e
    if sum(listed.values()) > max_bytes:
        raise PackageError(f"is larger than {max_bytes} bytes", field=f"s3://{bucket}/{key}", value=sum(listed.values()))
    with files.new_dir(target) as tmp:
        (tmp / packages.MANIFEST).write_bytes(raw)
        for name in listed:
            place = tmp.joinpath(*map(_checked, name.split("/")))
            place.parent.mkdir(parents=True, exist_ok=True)
            client.download_file(bucket, f"{base}{name}", str(place))
        packages.read(tmp, found)
    return target


def _checked(part: str) -> str:
    if not _PART.fullmatch(part) or part in (".", ".."):
        raise PackageError("is not a file's plain name", field="PACKAGE", value=part)
    return part


if __name__ == "__main__":
    try:
        print(orjson.dumps({"path": str(download(sys.argv[1], sys.argv[2] or None, int(sys.argv[3])))}).decode())
    except SluiceError as e:
        print(orjson.dumps({"message": e.message, "field": e.field, "fix": e.fix}).decode())
