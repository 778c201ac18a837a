"""The SDK on this machine: whose folder paths start from, the order of runs, and what is only for an endpoint."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from sluice import Client, Project
from sluice.client import _opened
from sluice.core import files
from sluice.core.errors import DeadlineError, HomeError, ProjectError

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
    files.write_json(
        path, {"run": name, "project": name.rsplit("-", 3)[0], "outcome": "refused", "steps": [], "reasons": ["x"], "report": "r.html"}
    )
    os.utime(path, (at, at))


def test_history_is_newest_first_whatever_the_names(tmp_path: Path) -> None:
    for name, at in (("a-b-20260101-000000-ffff", 30), ("c-20260102-000000-0000", 10), ("a-b-20260103-000000-aaaa", 20)):
        write_run(tmp_path, name, at)
    client = Client(tmp_path)
    assert [r.id for r in client.history()] == ["a-b-20260101-000000-ffff", "a-b-20260103-000000-aaaa", "c-20260102-000000-0000"]
    assert [r.id for r in client.history("a-b", limit=1)] == ["a-b-20260101-000000-ffff"]
    assert client.report("c-20260102-000000-0000") == Path("r.html")
    assert client.status("c-20260102-000000-0000") == {
        "run": "c-20260102-000000-0000",
        "state": "finished",
        "outcome": "refused",
        "steps": {},
    }


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
    (tmp_path / "sluice.yaml").write_text(TEXT)
    with pytest.raises(ProjectError, match="endpoint"):
        Client(tmp_path).submit(tmp_path / "sluice.yaml", tune=True)
    with pytest.raises(HomeError, match="no run in the background"):
        Client(tmp_path).terminate("mine-1")
    with pytest.raises(ProjectError, match="no URL"):
        Client(tmp_path, endpoint="kubeflow")


def test_a_run_in_the_background_goes_on_past_the_clients_deadline_and_is_come_back_to(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "sluice.yaml").write_text("{name: mine, task: tabular, data: {source: nowhere.csv}}")
    client = Client(tmp_path / "home")
    started = client.submit(tmp_path / "sluice.yaml")
    assert client.status(started.run)["state"] == "running"
    assert client.get(started.run).outcome["outcome"] == "running"
    with pytest.raises(HomeError, match="in use"):
        client.submit(tmp_path / "sluice.yaml")
    with pytest.raises(DeadlineError, match="goes on") as told:
        client.wait(started.run, timeout=0)
    assert f'Client("{tmp_path}/home").wait("{started.run}")' in str(told.value.fix)
    run = Client(tmp_path / "home").wait(started.run)
    assert (run.id, run.outcome["outcome"], run.outcome["exit_code"]) == (started.run, "failed", 2)
    assert "nowhere.csv" in str(run.why) and "no such file" in capfd.readouterr().err, "its progress is shown to whoever waits"
    assert client.wait(started.run, quiet=True).outcome == run.outcome, "waiting for a run that has ended is over at once"


def test_a_run_in_the_background_can_be_ended(tmp_path: Path) -> None:
    (tmp_path / "sluice.yaml").write_text("{name: mine, task: tabular, data: {source: nowhere.csv}}")
    client = Client(tmp_path / "home")
    started = client.submit(tmp_path / "sluice.yaml")
    client.terminate(started.run)
    with pytest.raises(HomeError, match="process is gone"):
        client.wait(started.run, timeout=20, quiet=True)
    assert client.status(started.run)["state"] == "interrupted"


def test_a_wait_ends_once_the_home_is_free_for_the_next_run(tmp_path: Path) -> None:
    client = Client(tmp_path)
    run = "mine-20260101-000000-0000"
    write_run(tmp_path, run, 10)
    (tmp_path / "runs" / run / "pid").write_text(str(os.getpid()))
    held, free = threading.Event(), threading.Event()

    def hold() -> None:
        with client.home.create().lock("test"):
            held.set()
            free.wait(20)

    holder = threading.Thread(target=hold)
    holder.start()
    assert held.wait(20)
    threading.Timer(0.4, free.set).start()
    begun = time.monotonic()
    assert client.wait(run, timeout=30).id == run
    assert time.monotonic() - begun > 0.3 and not client.home.held(), "the process that holds the home has let it go"
    holder.join()
    (tmp_path / "runs" / run / "pid").unlink()
    assert client.wait(run).id == run
