"""The SDK on this machine: whose folder paths start from, the order of runs, and what is only for an endpoint."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sluice import Client, Project, files
from sluice.client import _opened
from sluice.errors import HomeError, ProjectError

TEXT = "{name: mine, task: tabular, data: {source: rows.csv}}"


def test_a_loaded_project_keeps_the_folder_of_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "sluice.yaml").write_text(TEXT)
    monkeypatch.chdir(tmp_path)
    loaded = Project.load("a/sluice.yaml", ["train.epochs=2"])
    assert _opened(loaded, (), None)[2] == tmp_path / "a"
    assert _opened(loaded, (), tmp_path)[2] == tmp_path
    assert _opened("a/sluice.yaml", (), None)[2] == tmp_path / "a"
    assert _opened(Project.model_validate(loaded.model_dump(mode="json", exclude_unset=True)), (), None)[2] == Path()
    assert _opened(loaded, (), None)[0].train.epochs == 2


def write_run(home: Path, name: str, at: int) -> None:
    path = home / "runs" / name / "outcome.json"
    files.write_json(path, {"run": name, "project": name.rsplit("-", 3)[0], "outcome": "refused", "steps": [], "reasons": ["x"], "report": "r.html"})
    os.utime(path, (at, at))


def test_history_is_newest_first_whatever_the_names(tmp_path: Path) -> None:
    for name, at in (("a-b-20260101-000000-ffff", 30), ("c-20260102-000000-0000", 10), ("a-b-20260103-000000-aaaa", 20)):
        write_run(tmp_path, name, at)
    client = Client(tmp_path)
    assert [r.id for r in client.history()] == ["a-b-20260101-000000-ffff", "a-b-20260103-000000-aaaa", "c-20260102-000000-0000"]
    assert [r.id for r in client.history("a-b", limit=1)] == ["a-b-20260101-000000-ffff"]
    assert client.report("c-20260102-000000-0000") == Path("r.html")
    assert client.status("c-20260102-000000-0000") == {"run": "c-20260102-000000-0000", "state": "finished", "outcome": "refused", "steps": {}}


def test_a_run_that_was_cut_off_and_one_that_never_was_are_told_apart(tmp_path: Path) -> None:
    client = Client(tmp_path)
    run = client.home.create().new_run("mine")
    assert client.status(run)["state"] == "interrupted"
    with client.home.lock("test"):
        assert client.status(run)["state"] == "running"
    with pytest.raises(HomeError, match="has not ended"):
        client.get(run)
    with pytest.raises(HomeError, match="no such run"):
        client.status("none")


def test_what_only_an_endpoint_can_do_says_so(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match="endpoint"):
        Client(tmp_path).submit("sluice.yaml")
    with pytest.raises(ProjectError, match="no URL"):
        Client(tmp_path, endpoint="kubeflow")
