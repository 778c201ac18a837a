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

from sluice.core.errors import DataError
from sluice.core.s3 import Place, StoreFault

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
