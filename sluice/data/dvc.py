"""Data under DVC as a source: ``dvc://data/train.csv``, ``dvc://data/train.csv?rev=v1.2``, ``dvc://data?repo=https://host/repo&rev=main``.

The version that the repository tracks is fetched by DVC's own API, from its cache or remote, whatever lies in the working folder.
"""

from __future__ import annotations

import urllib.parse
from pathlib import Path
from typing import Any

from sluice.core.errors import DataError, MissingExtra, first_line
from sluice.data.scheme import Asked, Found


def fetch(asked: Asked) -> list[Found]:
    """The file or folder at a path of a repository (default: the one the project lies in), into the source's folder.

    Raises:
        DataError: no such path, revision or repository, or its remote cannot be reached.
        MissingExtra: DVC is not installed.
    """
    path, _, query = asked.rest.partition("?")
    given = dict(urllib.parse.parse_qsl(query))
    unknown = sorted(set(given) - {"rev", "repo"})
    name = Path(path).name
    if unknown or not name or path.startswith("/") or ".." in Path(path).parts:
        fix = "dvc://data/train.csv?rev=v1.2&repo=https://host/repo; the path is one of the repository"
        raise DataError(f"has no {unknown[0]}" if unknown else "names no path", field="data.source", value=asked.uri, fix=fix)
    files = _files(given.get("repo") or str(asked.base_dir), given.get("rev"))
    target = asked.folder / name
    try:
        whole = bool(files.isdir(path))
        files.get(path, str(target), recursive=whole)
    except Exception as e:  # DVC's own and those of every remote it knows
        fix = "check path, rev and repo; `dvc get` with the same says more"
        raise DataError(
            f"cannot be fetched by DVC: {type(e).__name__}: {first_line(e)}", field="data.source", value=asked.uri, fix=fix
        ) from e
    if not target.exists():
        raise DataError("DVC brought nothing", field="data.source", value=asked.uri, fix="check path, rev and repo")
    return [Found(target, asked.uri)]


def _files(repo: str, rev: str | None) -> Any:
    try:
        from dvc.api import DVCFileSystem
    except ImportError as e:
        raise MissingExtra("a source under DVC needs dvc", field="data.source", fix="pip install dvc, with its remote: 'dvc[s3]'") from e
    try:
        return DVCFileSystem(repo, rev=rev)
    except Exception as e:
        raise DataError(
            f"is no repository of DVC: {type(e).__name__}: {first_line(e)}", field="data.source", value=repo, fix="name one: ?repo=..."
        ) from e
