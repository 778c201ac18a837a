"""`sluice run` in a process of its own, as a person starts it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson

from sluice.core.home import Home
from sluice.package.package import Package, Store
from sluice.registry.versions import CHAMPION, Registry


def run(folder: Path, *settings: str, seconds: float = 400) -> tuple[int, dict[str, Any], str]:
    """``sluice.yaml`` of a folder, run with its home beside it: the status, the outcome, and what was said on stderr."""
    command = [sys.executable, "-m", "sluice", "run", str(folder / "sluice.yaml"), "--home", str(folder / "home"), "--json"]
    command += [a for s in settings for a in ("--set", s)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=seconds, check=False)
    assert done.stdout, done.stderr
    return done.returncode, orjson.loads(done.stdout), done.stderr


def promoted(folder: Path, *settings: str, seconds: float = 400) -> tuple[dict[str, Any], Package]:
    """The outcome and the package of a run that ends promoted, the champion of its registry."""
    status, outcome, said = run(folder, *settings, seconds=seconds)
    assert (status, outcome["outcome"]) == (0, "promoted"), (outcome, said)
    version = Registry(Home(folder / "home").tracking_uri).by_alias(outcome["project"], CHAMPION)
    assert version is not None and version.digest == outcome["digest"]
    return outcome, Store(folder / "home" / "store").get(outcome["digest"])
