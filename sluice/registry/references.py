"""What a person's words for a model mean: ``NAME@champion``, ``NAME@3``, a digest, a folder."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from sluice.core import sqlite
from sluice.core.errors import PackageError, ProjectError
from sluice.core.home import Home
from sluice.package.package import MANIFEST
from sluice.registry.versions import Registry, Version

if TYPE_CHECKING:
    from sluice.project import Project

#: What MLflow allows in no model's name; the digits of a digest that a person writes.
_NO_NAME, _DIGITS = re.compile("[/:]"), re.compile(r"[0-9a-f]{6,64}")


def registry_of(home: Home) -> Registry:
    """The registry the environment names, or the home's own. Raises `ProjectError` where there is none yet."""
    uri = os.environ.get("MLFLOW_TRACKING_URI") or home.tracking_uri
    database = sqlite.path_of(uri)
    if database is not None and not database.exists():
        raise ProjectError("nothing was run in this home yet", field="--home", value=str(home.root), fix="`sluice run PROJECT.yaml` first")
    return Registry(uri)


def _some(names: list[str]) -> str:
    """Names for a sentence."""
    return (", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")) or "none"


def find_version(reference: str, registry: Registry) -> Version:
    """``NAME@ALIAS``, ``NAME@NUMBER`` or a digest's first digits. Raises `ProjectError`."""
    name, at, which = reference.partition("@")
    if at:
        if not name or _NO_NAME.search(name):
            raise ProjectError("is no model's name", field="model", value=name, fix=f"there is models: {_some(registry.models())}")
        versions = registry.versions(name)
        for v in versions:
            if which in (v.number, *v.aliases):
                return v
        there = ", ".join(f"{name}@{v.number}" for v in versions) or f"models: {_some(registry.models())}"
        raise ProjectError("no such version", value=reference, field="model", fix=f"there is {there}")
    digits = reference.removeprefix("sha256:")
    found = registry.of_digest(digits) if len(digits) >= 6 else []
    if len(found) != 1:
        if reference in (known := registry.models()):
            raise ProjectError(
                "is a model, of which a version is meant",
                field="model",
                value=reference,
                fix=f"write {reference}@champion or {reference}@NUMBER",
            )
        if not _DIGITS.fullmatch(digits):
            raise ProjectError(
                "is no version", field="model", value=reference, fix=f"write NAME@champion, NAME@NUMBER or a digest; models: {_some(known)}"
            )
        raise ProjectError(
            "no version, or more than one, has this digest",
            field="model",
            value=reference,
            fix="write NAME@champion, NAME@VERSION or more of the digest",
        )
    return found[0]


def _project_of(path: Path) -> Project | None:
    """The project a folder or file is, if it is one. Raises `ProjectError` where its file is wrong."""
    file = path / "sluice.yaml" if path.is_dir() else path
    if not (file.is_file() and file.suffix in (".yaml", ".yml")):
        return None
    from sluice import project as projects

    return projects.load(file)


def locate(reference: str, home: Home, registry: Registry | None = None) -> Path:
    """The directory a package reference means: a path, a digest (or its first six or more digits), ``NAME`` or ``NAME@ALIAS``,
    or a project, which is its champion: a folder with a ``sluice.yaml``, or such a file.

    `registry` is asked for names in place of the home's own.

    Raises:
        PackageError: nothing of that name, or more than one digest begins so.
        ProjectError: no such version, or the project file is wrong.
    """
    from sluice.package.store import default_store, open_store

    path = Path(reference)
    if (path / MANIFEST).is_file():
        return path
    project = _project_of(path)
    if project is not None:
        version = find_version(
            f"{project.name}@champion", registry or (Registry(project.tracking.uri) if project.tracking.uri else registry_of(home))
        )
        return open_store(version.uri, home).get(version.digest).root
    if path.is_dir() and "/" in reference:
        return path
    digits = reference.removeprefix("sha256:")
    if _DIGITS.fullmatch(digits):
        found = [d for d in default_store(home).digests() if d.startswith(digits)]
        if len(found) == 1:
            return default_store(home).get(found[0]).root
        what = "no package in the store begins so" if not found else f"{len(found)} packages begin so"
        raise PackageError(what, field="PACKAGE", value=reference, fix="`sluice models` lists the digests")
    if reference.startswith("sha256:"):
        raise PackageError("is no digest", field="PACKAGE", value=reference, fix="write six or more of its digits, 0 to 9 and a to f")
    if "/" in reference:
        raise PackageError(
            "no such folder or file", field="PACKAGE", value=reference, fix="name a package's folder, a project file, or NAME@champion"
        )
    version = find_version(reference if "@" in reference else f"{reference}@champion", registry or registry_of(home))
    return open_store(version.uri, home).get(version.digest).root
