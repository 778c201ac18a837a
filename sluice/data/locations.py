"""Where a source lies: a path or glob beside the project file, or objects in S3 brought here first."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import fnmatch
import glob
import re
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from sluice.core import s3
from sluice.core.errors import DataError

#: Seconds to connect, and to wait for the next bytes, before a request to S3 is tried again (3 times in all).
CONNECT_SECONDS, READ_SECONDS = 5, 30

_SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*)://")
_GLOB = re.compile(r"[*?\[]")


@dataclasses.dataclass(frozen=True)
class Found:
    """A file or folder of a source: where it lies here, and what to call it in messages."""

    path: Path
    where: str


@contextlib.contextmanager
def find(uri: str, base_dir: Path) -> Iterator[list[Found]]:
    """The files (or the one folder) a source names, in the order of their names. Objects of S3 are there until the block ends.

    Args:
        uri: a path, a glob (``data/*.csv``, ``**`` for any depth), or ``s3://bucket/key``, where the key
            may be a glob, or end with ``/`` for all below it.
        base_dir: where relative paths start.

    Raises:
        DataError: nothing there, an unknown scheme, or S3 refuses or does not answer in time.
        MissingExtra: S3 without boto3.
    """
    scheme = _SCHEME.match(uri)
    if scheme is None:
        yield _local(uri, base_dir)
    elif scheme[1].lower() == "s3":
        with tempfile.TemporaryDirectory(prefix="sluice-s3-") as tmp:
            yield _s3(uri, Path(tmp))
    else:
        near = "download the file and name its path" if scheme[1].lower() in ("http", "https", "ftp") else "name a path without a scheme"
        raise DataError(
            "unknown scheme", field="data.source", value=uri, fix=f"{near}; known: a path, a glob, s3://bucket/key, sklearn://name"
        )


def _local(uri: str, base_dir: Path) -> list[Found]:
    if not uri.strip() or "\0" in uri:
        raise DataError("names no file", field="data.source", value=uri, fix="name a file, glob, folder, s3://bucket/key or sklearn://name")
    path = base_dir / Path(uri).expanduser()
    if path.exists():
        return [Found(path, uri)]
    if _GLOB.search(uri):
        names = sorted(glob.glob(str(Path(uri).expanduser()), root_dir=base_dir, recursive=True))  # noqa: PTH207 - the pattern may be absolute
        hits = [base_dir / n for n in names if (base_dir / n).is_file()]
        if hits:
            return [Found(p, _shown(p, base_dir)) for p in hits]
        raise DataError(
            "matches no file", field="data.source", value=uri, fix=f"relative paths start in {base_dir.resolve()}; {_nearby(path)}"
        )
    what = "is a link to nothing" if path.is_symlink() else "no such file"
    raise DataError(what, field="data.source", value=uri, fix=f"it was looked for at {path.absolute()}; {_nearby(path)}")


def _shown(path: Path, base_dir: Path) -> str:
    with contextlib.suppress(ValueError):
        return str(path.relative_to(base_dir))
    return str(path)


def _nearby(path: Path) -> str:
    folder = path.parent
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    try:
        names = sorted(p.name for p in folder.iterdir() if not p.name.startswith("."))
    except OSError:
        names = []
    near = difflib.get_close_matches(path.name, names, 3, 0.5) if folder == path.parent else []
    if near:
        return f"did you mean {' or '.join(map(repr, near))}?"
    return f"{folder} holds {', '.join(names[:5])}" + (", ..." if len(names) > 5 else "") if names else f"{folder} is empty"


def _s3(uri: str, tmp: Path) -> list[Found]:
    bucket, _, key = uri[len("s3://") :].partition("/")
    if not bucket:
        raise DataError("names no bucket", field="data.source", value=uri, fix="s3://bucket/key")
    client = s3.client("data.source", connect=CONNECT_SECONDS, read=READ_SECONDS, attempts=3)
    from boto3.exceptions import Boto3Error
    from boto3.s3.transfer import TransferConfig
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        keys, folder = _keys(client, bucket, key, uri)
        root = tmp.resolve()
        targets = {k: (tmp / k[len(folder) :].lstrip("/")).resolve() for k in keys}
        for k, target in targets.items():
            if not target.is_relative_to(root) or target == root:
                raise DataError(
                    "has a key that leads out of its folder", field="data.source", value=f"s3://{bucket}/{k}", fix="rename the object"
                )
            target.parent.mkdir(parents=True, exist_ok=True)
        once = TransferConfig(num_download_attempts=1)  # the client itself tries again
        with ThreadPoolExecutor(8) as pool:
            for done in [pool.submit(client.download_file, bucket, k, str(t), Config=once) for k, t in targets.items()]:
                done.result()
    except ClientError as e:
        raise _refused(e, bucket, uri) from e
    except (BotoCoreError, Boto3Error, OSError) as e:
        raise _unreachable(e, uri) from e
    if not key or key.endswith("/"):
        return [Found(tmp, uri)]
    return [Found(t, f"s3://{bucket}/{k}") for k, t in targets.items()]


def _keys(client: Any, bucket: str, key: str, uri: str) -> tuple[list[str], str]:
    """The keys a source names, sorted, and the prefix to take off for names here."""
    mark = _GLOB.search(key)
    whole = not key or key.endswith("/")
    if not mark and not whole:
        return [key], key.rpartition("/")[0]
    prefix = key if mark is None else key[: mark.start()]
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    found = sorted(o["Key"] for page in pages for o in page.get("Contents", ()) if not o["Key"].endswith("/"))
    if mark:
        found = [k for k in found if fnmatch.fnmatchcase(k, key)]
    if not found:
        raise DataError("matches no object", field="data.source", value=uri, fix="check the bucket, the prefix and the pattern")
    return found, prefix.rpartition("/")[0]


def _refused(error: Any, bucket: str, uri: str) -> DataError:
    code = str(error.response.get("Error", {}).get("Code", ""))
    if code in ("NoSuchBucket",):
        return DataError(f"there is no bucket {bucket}", field="data.source", value=uri, fix="check its name and AWS_ENDPOINT_URL")
    if code in ("NoSuchKey", "404"):
        return DataError("no such object", field="data.source", value=uri, fix="check bucket and key; end the key with / for a folder")
    if code in ("AccessDenied", "403", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken"):
        return DataError(
            f"S3 refuses the request ({code})",
            field="data.source",
            value=uri,
            fix="check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and that they may list and read the bucket",
        )
    return DataError(f"S3 answers {code or error}", field="data.source", value=uri, fix="try again, or download the file and name its path")


def _unreachable(error: Exception, uri: str) -> DataError:
    kind = type(error).__name__
    if "Credentials" in kind or "Token" in kind or "Profile" in kind:
        return DataError(
            f"no credentials for S3: {error}",
            field="data.source",
            value=uri,
            fix="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile",
        )
    return DataError(
        f"S3 cannot be read: {error}",
        field="data.source",
        value=uri,
        fix="check AWS_ENDPOINT_URL and the network; an answer is awaited for "
        f"{CONNECT_SECONDS} s to connect and {READ_SECONDS} s between bytes",
    )
