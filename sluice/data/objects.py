"""Objects of S3 as a source: ``s3://bucket/key``, where the key may be a glob, or end with ``/`` for all below it."""

from __future__ import annotations

import fnmatch
import re
from concurrent.futures import ThreadPoolExecutor

from sluice.core.errors import DataError
from sluice.core.s3 import Place, StoreFault
from sluice.data.scheme import Asked, Found

#: Seconds to connect, and to wait for the next bytes, before a request to S3 is tried again (3 times in all).
CONNECT_SECONDS, READ_SECONDS = 5, 30

_GLOB = re.compile(r"[*?\[]")


def fetch(asked: Asked) -> list[Found]:
    """The objects that a source names, brought into its folder: 8 at a time, by their names below the first wildcard.

    Raises:
        DataError: nothing there, or S3 refuses or does not answer in time.
        MissingExtra: boto3 is not installed.
    """
    uri, tmp = asked.uri, asked.folder
    bucket, _, key = asked.rest.partition("/")
    try:
        place = Place(f"s3://{bucket}", "data.source", connect=CONNECT_SECONDS, read=READ_SECONDS, attempts=3)
        keys, folder = _keys(place, key, uri)
        root = tmp.resolve()
        targets = {k: (tmp / k[len(folder) :].lstrip("/")).resolve() for k in keys}
        for k, target in targets.items():
            if not target.is_relative_to(root) or target == root:
                raise DataError(
                    "has a key that leads out of its folder", field="data.source", value=f"s3://{bucket}/{k}", fix="rename the object"
                )
        with ThreadPoolExecutor(8) as pool:
            for done in [pool.submit(place.fetch, k, t) for k, t in targets.items()]:
                done.result()
    except ValueError as e:
        raise DataError(str(e), field="data.source", value=uri, fix="s3://bucket/key") from e
    except StoreFault as e:
        raise e.told(DataError, "data.source", value=uri) from e
    if not key or key.endswith("/"):
        return [Found(tmp, uri)]
    return [Found(t, f"s3://{bucket}/{k}") for k, t in targets.items()]


def _keys(place: Place, key: str, uri: str) -> tuple[list[str], str]:
    """The keys a source names, sorted, and the prefix to take off for names here."""
    mark = _GLOB.search(key)
    whole = not key or key.endswith("/")
    if not mark and not whole:
        return [key], key.rpartition("/")[0]
    prefix = key if mark is None else key[: mark.start()]
    found = sorted(name for name, _ in place.list(prefix) if not name.endswith("/"))
    if mark:
        found = [k for k in found if fnmatch.fnmatchcase(k, key)]
    if not found:
        raise DataError("matches no object", field="data.source", value=uri, fix="check the bucket, the prefix and the pattern")
    return found, prefix.rpartition("/")[0]
