"""What a run on this machine gives its steps beside the project."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from pipelines import local
from sluice.home import Home


@pytest.mark.parametrize(("forbidden", "compiled", "shared"), [(True, False, True), (True, True, False), (False, False, False)])
def test_steps_share_compiled_modules_only_where_nobody_else_keeps_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forbidden: bool, compiled: bool,
                                                                        shared: bool) -> None:  # fmt: skip
    cached = tmp_path / "kfp.pyc"
    if compiled:
        cached.write_bytes(b"")
    monkeypatch.setattr(sys, "dont_write_bytecode", forbidden)
    monkeypatch.setattr(importlib.util, "cache_from_source", lambda _: str(cached))
    found = local._bytecode(Home(tmp_path / "home"))
    assert found == ({"PYTHONPYCACHEPREFIX": str(tmp_path / "home" / "cache" / "bytecode"), "PYTHONDONTWRITEBYTECODE": ""} if shared else {})
