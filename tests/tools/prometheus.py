"""Where promtool and prometheus are, and the alert rules of the tree in the form they read."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
RULES = ("manifests/monitoring/rules.yaml", "manifests/monitoring/cluster/rules.yaml")


def program(name: str) -> str:
    """The path of a program that `make tools` brings; skips the test where there is none."""
    found = shutil.which(name) or shutil.which(str(ROOT / "build/tools/usr/bin" / name))
    if not found:
        pytest.skip(f"{name} is not on PATH, and `make tools` could not fetch it")
    return found


def groups() -> list[dict[str, Any]]:
    """Every rule group of manifests/monitoring."""
    return [g for path in RULES for g in yaml.safe_load((ROOT / path).read_text())["spec"]["groups"]]
