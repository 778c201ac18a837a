"""Benches find `uv` as the Makefile does, and say what is missing where there is none."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.bench import tools, training
from tests.bench.serving import measures


def program(path: Path) -> Path:
    path.parent.mkdir(parents=True)
    path.write_text("#!/bin/sh\nexit 3\n")
    path.chmod(0o755)
    return path


def test_uv_is_what_was_named_what_is_on_path_or_what_setup_brought(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UV", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(sys, "prefix", str(tmp_path / ".venv"))
    with pytest.raises(FileNotFoundError, match="make setup"):
        tools.uv()
    beside = program(tmp_path / ".venv-uv" / "bin" / "uv")
    assert tools.uv() == str(beside)
    on_path = program(tmp_path / "bin" / "uv")
    assert tools.uv() == str(on_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UV", ".venv-uv/bin/uv")
    assert tools.uv() == str(beside)


def test_a_peer_that_cannot_be_fetched_is_left_out_with_a_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(training.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("UV", str(program(tmp_path / "tools" / "uv")))
    assert training.peers(tmp_path / "into") is False
    assert "Trainer is left out" in capsys.readouterr().err
    monkeypatch.delenv("UV")
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "none"))
    assert training.peers(tmp_path / "into") is False
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="make setup"):
        measures.environment()


def test_the_makefile_tells_the_benches_its_uv() -> None:
    lines = (Path(__file__).parents[3] / "Makefile").read_text().splitlines()
    started = [line for line in lines if line.endswith(("-m tests.bench.serving", "-m tests.bench.training"))]
    assert len(started) == 2 and all("UV=$(UV)" in line for line in started)
