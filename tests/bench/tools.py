"""What benches need beside the project's environment."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path


def uv() -> str:
    """The `uv` that fetches peers, found as the Makefile does: ``$UV``, the one on PATH, the one `make setup` brought beside the environment.

    Raises:
        FileNotFoundError: there is none.
    """
    beside = Path(f"{sys.prefix}-uv") / "bin" / "uv"
    for found in (os.environ.get("UV"), "uv", str(beside)):
        path = shutil.which(found) if found else None
        if path:
            return str(Path(path).absolute())
    raise FileNotFoundError(f"no uv on PATH and none at {beside}: `make setup` brings it, or set UV")


def peak() -> int:
    """The most memory of this process so far, MB. (`getrusage` counts that of whoever started it.)"""
    line = next(x for x in Path("/proc/self/status").read_text().split("\n") if x.startswith("VmHWM"))
    return int(line.split()[1]) // 1024
