"""Where a source lies: a path or glob beside the project file, or behind a scheme."""

from __future__ import annotations

import contextlib
import difflib
import glob
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from sluice.core.errors import DataError
from sluice.data.config import Columns
from sluice.data.parts import Parts, parts
from sluice.data.scheme import Asked, Found, bring, scheme_of

if TYPE_CHECKING:
    import pyarrow as pa

    from sluice.fields import Field

_GLOB = re.compile(r"[*?\[]")
#: Braces that stand for several names, the first ones that hold no others, and how many these may be.
_BRACES, _MOST = re.compile(r"\{(?:(\d+)\.\.(\d+)|([^{}]*,[^{}]*))\}"), 100_000


@contextlib.contextmanager
def brought(uri: str, base_dir: Path, columns: Columns | None = None, value: Field | None = None) -> Iterator[list[Found] | pa.Table]:
    """What a source names: files and folders, or its rows as a table; what was brought here is gone when the block ends.

    Args:
        uri: a path, a glob, or an address with a scheme of `sluice.data.scheme.SOURCES`.
        base_dir: where relative paths start, and modules of the user's own may lie.
        columns, value: see `Asked`.

    Raises:
        DataError: nothing there, an unknown scheme, or what the source says.
        MissingExtra: an optional package is needed.
    """
    if scheme_of(uri) is None:
        found_here = find(uri, base_dir)
        if (kept := parts()) is not None:
            _seen(kept, found_here)
        yield found_here
        return
    with tempfile.TemporaryDirectory(prefix="sluice-source-") as folder:
        found = bring(Asked(uri, uri.partition("://")[2], Path(folder), columns or Columns(), value, base_dir), base_dir)
        if isinstance(found, list) and not found:
            raise DataError("brings no file", field="data.source", value=uri, fix="let the source raise DataError with what is missing")
        yield found


def _seen(kept: Parts, found: list[Found]) -> None:
    """Note what there is: the files, or those of a folder."""
    for file in found:
        inside = sorted(p for p in file.path.rglob("*") if p.is_file()) if file.path.is_dir() else [file.path]
        for path in inside:
            name = f"{file.where.rstrip('/')}/{path.relative_to(file.path)}" if file.path.is_dir() else file.where
            kept.see(name, path, str(path.stat().st_mtime_ns))


@contextlib.contextmanager
def files_of(uri: str, base_dir: Path) -> Iterator[list[Found]]:
    """As `brought`, for what reads files alone. Raises `DataError` for a source that is a table."""
    with brought(uri, base_dir) as found:
        if not isinstance(found, list):
            raise DataError("names no file", field="data.source", value=uri, fix="name a file, a glob, or files in an object store")
        yield found


def find(uri: str, base_dir: Path) -> list[Found]:
    """The files (or the one folder) that a path or glob names, in the order of their names.

    Args:
        uri: a path, a glob (``data/*.csv``, ``**`` for any depth), or several in braces (``train-{000000..000146}.tar``, ``{a,b}.csv``).
        base_dir: where relative paths start.

    Raises:
        DataError: nothing there, for one of those in braces.
    """
    if not uri.strip() or "\0" in uri:
        raise DataError("names no file", field="data.source", value=uri, fix="name a file, glob, folder, s3://bucket/key or sklearn://name")
    path = base_dir / Path(uri).expanduser()
    if path.exists():
        return [Found(path, uri)]
    if (each := spread_out(uri)) != [uri]:
        return [found for one in each for found in find(one, base_dir)]
    if _GLOB.search(uri):
        names = sorted(glob.glob(str(Path(uri).expanduser()), root_dir=base_dir, recursive=True))  # noqa: PTH207 - the pattern may be absolute
        dead = next((n for n in names if (base_dir / n).is_symlink() and not (base_dir / n).exists()), None)
        if dead is not None:  # not left out in silence: its rows are missing
            raise DataError("is a link to nothing", field="data.source", value=dead, fix="put the file back, or remove the link")
        hits = [base_dir / n for n in names if (base_dir / n).is_file()]
        if hits:
            return [Found(p, _shown(p, base_dir)) for p in hits]
        raise DataError(
            "matches no file", field="data.source", value=uri, fix=f"relative paths start in {base_dir.resolve()}; {_nearby(path)}"
        )
    what = "is a link to nothing" if path.is_symlink() else "no such file"
    raise DataError(what, field="data.source", value=uri, fix=f"it was looked for at {path.absolute()}; {_nearby(path)}")


def spread_out(uri: str) -> list[str]:
    """The names that braces stand for, in their order: ``{08..11}`` counts, with as many digits as it is written with, ``{a,b}`` lists.

    Raises:
        DataError: they stand for more than a source may have, or for none.
    """
    found = _BRACES.search(uri)
    if found is None:
        return [uri]
    first, last, listed = found.groups()
    if listed is not None:
        each = listed.split(",")
    else:
        count = int(last) - int(first) + 1
        if not 0 < count <= _MOST:
            fix = f"write the smaller number first, and no more than {_MOST:,} files"
            raise DataError(f"stands for {max(count, 0):,} files", field="data.source", value=uri, fix=fix)
        each = [str(n).zfill(len(first)) for n in range(int(first), int(last) + 1)]
    made = [name for one in each for name in spread_out(uri[: found.start()] + one + uri[found.end() :])]
    if len(made) > _MOST:
        raise DataError(f"stands for {len(made):,} files", field="data.source", value=uri, fix=f"name no more than {_MOST:,}, or a glob")
    return made


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
