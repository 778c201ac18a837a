"""MLflow's tables, written down: those that its own migrations make, and used for that MLflow alone."""

from __future__ import annotations

import contextlib
import importlib.metadata
import sqlite3
from pathlib import Path

import pytest

from sluice.tracking import mlflow, schema


def text_of(path: Path) -> str:
    with contextlib.closing(sqlite3.connect(path)) as database:
        return schema.written(database, importlib.metadata.version("mlflow"))


def parts(text: str) -> list[list[str]]:
    """The statements, sorted: indexes and a table's constraints come in any order, as a set of Python's has them."""
    return sorted(sorted(line.strip().removesuffix(",") for line in s.strip().removesuffix(")").split("\n")) for s in text.split(";\n"))


def test_what_is_written_down_is_what_the_installed_mlflow_makes(tmp_path: Path) -> None:
    mlflow.make_tables(tmp_path / "its.db")
    assert parts(schema.FILE.read_text()) == parts(text_of(tmp_path / "its.db")), "python -m sluice.tracking.schema"


def test_a_new_database_is_the_same_with_it_and_without_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for name in ("with", "without"):
        path = tmp_path / name / "mlflow.db"
        client = mlflow.client(f"sqlite:///{path}")
        assert [e.name for e in client.search_experiments()] == ["Default"]
        assert not list(path.parent.glob(".partial*"))
        found.append(text_of(path))
        monkeypatch.setattr(schema, "FILE", tmp_path / "none.sql")
    assert parts(found[0]) == parts(found[1])


def test_for_another_mlflow_it_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda _: "99.0")
    assert not schema.fill(tmp_path / "new.db")
    assert not (tmp_path / "new.db").exists()
