"""What a record says of where a package was made: the installed distributions, the machine, the project's code, and who."""

from __future__ import annotations

import getpass
import os
import platform
import re
import subprocess
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from sluice.core import files
from sluice.core.processes import cpu_name

#: Whose run it is, where the machine's account does not say.
BY_ENV = "SLUICE_BY"
_SECONDS = 10
#: Files that differ from the commit, named at most.
_CHANGED = 20


def installed() -> dict[str, str]:
    """Every installed distribution: normalised name (PEP 503) -> version, sorted."""
    found: dict[str, str] = {}
    for each in metadata.distributions():
        name = str(each.metadata["Name"] or "") if each.metadata else ""
        if name:  # of a name that is there twice the first on the path is imported
            found.setdefault(re.sub(r"[-_.]+", "-", name).lower(), each.version)
    return dict(sorted(found.items()))


def lock() -> dict[str, Any]:
    """The environment: ``python``, ``packages`` and ``digest``, sha256 over both; ``machine`` beside it, which may differ from run to run."""
    locked = {"python": platform.python_version(), "packages": installed()}
    machine = {"system": f"{platform.system()} {platform.machine()}", "cpu": cpu_name(), "threads": os.environ.get("OMP_NUM_THREADS", "")}
    return locked | {"digest": files.digest_of(locked), "machine": machine}


def by() -> str:
    """Who runs this: ``$SLUICE_BY``, else the account."""
    try:
        return os.environ.get(BY_ENV) or getpass.getuser()
    except (KeyError, OSError):  # a container's user has no name
        return f"uid {os.getuid()}"


def code(folder: Path) -> dict[str, Any]:
    """The git repository a project lies in: ``commit``, ``clean`` (no tracked file of the folder differs), ``changed``, ``remote``, ``folder``.

    Empty outside git, or where git is not there.
    """
    commit = _git(folder, "rev-parse", "HEAD").strip()
    if not commit:
        return {}
    changed = [line[3:] for line in _git(folder, "status", "--porcelain", "--untracked-files=no", ".").split("\n") if line]
    found = {"commit": commit, "clean": not changed, "folder": _git(folder, "rev-parse", "--show-prefix").strip().rstrip("/")}
    if changed:
        found["changed"] = changed[:_CHANGED] + ([f"and {len(changed) - _CHANGED} more"] if len(changed) > _CHANGED else [])
    if remote := without_credentials(_git(folder, "remote", "get-url", "origin").strip()):
        found["remote"] = remote
    return found


def git_tag(found: Mapping[str, Any]) -> str:
    """A commit in a word, ``-dirty`` where files differ from it; empty where there is none."""
    return f"{found['commit']}{'' if found['clean'] else '-dirty'}" if found else ""


def without_credentials(url: str) -> str:
    """An address without the user and password in it."""
    if "://" not in url:
        return url
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _git(folder: Path, *args: str) -> str:
    try:
        done = subprocess.run(["git", *args], cwd=folder, capture_output=True, text=True, errors="replace", timeout=_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""
