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
from urllib.parse import unquote, urlparse

import orjson

from sluice.core import files
from sluice.core.errors import PackageError, SluiceError
from sluice.core.s3 import Place, StoreFault
from sluice.package import beside
from sluice.package import package as packages
from sluice.package.manifest import LIMIT_MANIFEST
from sluice.proof import bundle

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
    address, _, name = uri.rstrip("/").rpartition("/") if uri.endswith(".onnx") else (uri, "", "")
    root = cache_root()
    root.mkdir(parents=True, exist_ok=True)
    try:
        place = Place(address, "PACKAGE")
        with (root / ".lock").open("w") as lock:  # workers that start together download once
            fcntl.flock(lock, fcntl.LOCK_EX)
            return _object(place, name, root, max_bytes) if name else _package(place, root, digest, max_bytes)
    except ValueError as e:
        raise PackageError(str(e), field=uri, fix="s3://bucket/prefix of a package, or an .onnx object") from e
    except StoreFault as e:
        raise e.told(PackageError, uri) from e


def _object(place: Place, name: str, root: Path, max_bytes: int) -> Path:
    version, size = place.etag(name)
    if size > max_bytes:
        raise PackageError(f"is larger than {max_bytes} bytes", field=f"{place.uri}/{name}", value=size)
    target = root / "onnx" / hashlib.sha256(f"{place.bucket}/{place.key(name)}/{version}".encode()).hexdigest()
    if not (target / _checked(name)).exists():
        with files.new_dir(target) as tmp:
            place.fetch(name, tmp / name, max_bytes)
    return target / name


def _package(place: Place, root: Path, digest: str | None, max_bytes: int) -> Path:
    raw = place.read(packages.MANIFEST, LIMIT_MANIFEST)
    found = hashlib.sha256(raw).hexdigest()
    if digest and found != digest.removeprefix("sha256:"):
        raise PackageError(f"digest is {found}, not the one asked for", field=place.uri, value=digest, fix="register the package again")
    store = packages.Store(root)
    target = store.path(found)
    _signature(place, found, store)
    if target.exists():
        try:
            return store.get(found).root
        except PackageError:
            pass
    try:
        listed = {str(n): int(e["size"]) for n, e in orjson.loads(raw)["files"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as e:
        raise PackageError("is no package's manifest", field=f"{place.uri}/{packages.MANIFEST}", value=str(e)) from e
    if sum(listed.values()) > max_bytes:
        raise PackageError(f"is larger than {max_bytes} bytes", field=place.uri, value=sum(listed.values()))
    with files.new_dir(target) as tmp:
        (tmp / packages.MANIFEST).write_bytes(raw)
        for name, size in listed.items():
            place.fetch(name, tmp.joinpath(*map(_checked, name.split("/"))), size)
        packages.read(tmp, found)
    return target


def _signature(place: Place, digest: str, store: packages.Store) -> None:
    """Bring a package's signature with it, where the store it lies in has one; whether one is required is asked by whoever opens the package."""
    above, _, below = place.prefix.rpartition("sha256/")
    if below.strip("/") != digest:
        return
    beside_it = Place(f"s3://{place.bucket}/{above}{beside.FOLDER}/{digest}", "PACKAGE")
    try:
        raw = beside_it.read(beside.SIGNATURE, bundle.LIMIT)
    except StoreFault as e:
        if e.kind not in ("missing", "refused"):
            raise
        return
    kept = store.proof_path(digest) / beside.SIGNATURE
    kept.parent.mkdir(parents=True, exist_ok=True)
    files.write_bytes(kept, raw)


def _checked(part: str) -> str:
    if not _PART.fullmatch(part) or part in (".", ".."):
        raise PackageError("is not a file's plain name", field="PACKAGE", value=part)
    return part


if __name__ == "__main__":
    try:
        print(orjson.dumps({"path": str(download(sys.argv[1], sys.argv[2] or None, int(sys.argv[3])))}).decode())
    except SluiceError as e:
        print(orjson.dumps({"message": e.message, "field": e.field, "fix": e.fix}).decode())
