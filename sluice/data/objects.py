"""Objects of S3 as a source: ``s3://bucket/key``, where the key may be a glob, or end with ``/`` for all below it."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sluice.core.errors import DataError
from sluice.core.s3 import Place, StoreFault
from sluice.data import ranges
from sluice.data.parts import Parts, parts
from sluice.data.scheme import Asked, Found

#: Seconds to connect, and to wait for the next bytes, before a request to S3 is tried again (3 times in all).
CONNECT_SECONDS, READ_SECONDS = 5, 30

_GLOB = re.compile(r"[*?\[]")


def fetch(asked: Asked) -> list[Found]:
    """The objects that a source names, brought into its folder: 8 at a time, by their names below the first wildcard; large ones by ranges.

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
        kept = parts()
        large = [k for k, (size, _) in keys.items() if size is None or size > ranges.PART]
        with ThreadPoolExecutor(8) as pool:
            for done in [pool.submit(_brought, place, bucket, k, t, kept, *keys[k]) for k, t in targets.items() if k not in large]:
                done.result()
        for k in large:
            _brought(place, bucket, k, targets[k], kept, *keys[k])
    except ValueError as e:
        raise DataError(str(e), field="data.source", value=uri, fix="s3://bucket/key") from e
    except StoreFault as e:
        raise e.told(DataError, "data.source", value=uri) from e
    if not key or key.endswith("/"):
        return [Found(tmp, uri)]
    return [Found(t, f"s3://{bucket}/{k}") for k, t in targets.items()]


def _brought(place: Place, bucket: str, key: str, target: Path, kept: Parts | None, size: int | None, version: str) -> None:
    """One object, fetched, or as it is kept."""

    def fetch(to: Path) -> None:
        if size is None or size > ranges.PART:
            _by_ranges(place, key, to)
        else:
            place.fetch(key, to)

    if kept is None or size is None or not version:
        fetch(target)
    else:
        kept.bring(f"s3://{bucket}/{key}", size, version, target, fetch)


def _by_ranges(place: Place, key: str, target: Path) -> None:
    """One object, several ranges of it at a time, of the version it has now. Raises `StoreFault`."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        etag, size = place.etag(key)
    except StoreFault as e:
        if e.kind != "missing":
            raise
        etag, size = "", 0  # what is missing, object or bucket, says an answer that may have a text
    if size <= ranges.PART:
        place.fetch(key, target)
        return
    last: StoreFault | None = None

    def read(first: int, end: int) -> Iterator[bytes]:
        nonlocal last
        try:
            yield from place.part(key, first, end, etag)
        except StoreFault as e:
            if e.kind != "unreachable":
                raise
            last = e
            raise ranges.Broken(e.message) from e

    try:
        ranges.in_parts(target, size, read)
    except ranges.Broken as e:
        raise last or StoreFault("unreachable", f"an object does not come whole: {e}", "check the network, and try again") from e


def _keys(place: Place, key: str, uri: str) -> tuple[dict[str, tuple[int | None, str]], str]:
    """The keys a source names, sorted, with the bytes and the version each has where that is known, and the prefix to take off for names here."""
    mark = _GLOB.search(key)
    whole = not key or key.endswith("/")
    if not mark and not whole:
        return {key: _version(place, key) if parts() is not None else (None, "")}, key.rpartition("/")[0]
    prefix = key if mark is None else key[: mark.start()]
    listed = sorted((name, size, version) for name, size, version in place.versions(prefix) if not name.endswith("/"))
    found: dict[str, tuple[int | None, str]] = {
        name: (size, version) for name, size, version in listed if not mark or fnmatch.fnmatchcase(name, key)
    }
    if not found:
        raise DataError("matches no object", field="data.source", value=uri, fix="check the bucket, the prefix and the pattern")
    return found, prefix.rpartition("/")[0]


def _version(place: Place, key: str) -> tuple[int | None, str]:
    try:
        version, size = place.etag(key)
    except StoreFault as e:
        if e.kind != "missing":
            raise
        return None, ""  # the answer to a request for its bytes says what is missing
    return size, version
