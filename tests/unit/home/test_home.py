"""`$SLUICE_HOME`: one run at a time, clear refusals, and nothing half-written read."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from sluice.core import files
from sluice.core.errors import HomeError
from sluice.core.home import Home, explain_os_error, is_storage_fault


def test_a_second_run_on_one_home_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    code = f"""
        import time
        from sluice.core.home import Home
        with Home({str(tmp_path)!r}).lock("sluice run first.yaml"):
            print("held", flush=True)
            time.sleep(60)
    """
    holder = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(HomeError, match=rf"first\.yaml.*pid {holder.pid}"), Home(tmp_path).lock("second"):
            pass
    finally:
        holder.kill()
        holder.wait()
    with Home(tmp_path).lock("after the first was killed"):
        pass


@pytest.mark.skipif(not Path("/proc").exists(), reason="needs a file system that takes no directories")
def test_a_home_that_cannot_be_made_is_named_with_the_fix() -> None:
    with pytest.raises(HomeError, match="--home DIR") as caught:
        Home("/proc/sluice-home").create()
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EACCES, "cannot be written"),
        (errno.EROFS, "cannot be written"),
        (errno.ENOSPC, "no space left"),
        (errno.EDQUOT, "no space left"),
    ],
)
def test_what_the_disk_answers_is_told_as_what_it_means(tmp_path: Path, number: int, words: str) -> None:
    error = OSError(number, os.strerror(number), str(tmp_path / "x"))
    assert is_storage_fault(error, tmp_path)
    assert words in str(explain_os_error(error, tmp_path))


def test_a_network_s_fault_or_a_file_elsewhere_is_not_the_home_s(tmp_path: Path) -> None:
    assert not is_storage_fault(ConnectionRefusedError(errno.ECONNREFUSED, "refused"), tmp_path)
    assert not is_storage_fault(PermissionError(errno.EACCES, "denied", "/elsewhere/x"), tmp_path)


def test_a_registry_of_the_project_s_own_is_remembered(tmp_path: Path) -> None:
    home = Home(tmp_path).create()
    assert home.tracking_uri == f"sqlite:///{tmp_path}/mlflow.db"
    home.note_tracking("http://mlflow.example:5000")
    assert Home(tmp_path).create().tracking_uri == "http://mlflow.example:5000"


def test_a_file_where_the_home_is_meant_is_refused(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    with pytest.raises(HomeError, match="is a file"):
        Home(tmp_path / "home").create()


def test_what_killed_runs_left_is_swept_and_finished_runs_stay(tmp_path: Path) -> None:
    home = Home(tmp_path).create()
    killed, done = home.new_run("a"), home.new_run("b")
    for run in (killed, done):
        (home.artifacts / "pipelines" / run).mkdir(parents=True)
    files.write_json(home.runs / done / "outcome.json", {})
    (home.store / f"{files.PARTIAL}x").mkdir(parents=True)
    home.sweep()
    assert {p.name for p in (home.artifacts / "pipelines").iterdir()} == {done}
    assert not list(home.root.rglob(f"{files.PARTIAL}*"))


def test_the_environment_names_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_HOME", str(tmp_path / "there"))
    assert Home().root == tmp_path / "there"
    assert Home(tmp_path / "here").root == tmp_path / "here"


def test_a_child_ends_with_the_run_it_belongs_to(tmp_path: Path) -> None:
    """As `sluice run` killed by SIGKILL: its step is behind a shell, and still ends."""
    step = "import time; from sluice.core.processes import die_with; import os; die_with(int(os.environ['R'])); print(os.getpid(), flush=True); time.sleep(60)"
    runner = f"""
        import os, subprocess, sys
        env = {{**os.environ, "R": str(os.getpid())}}
        subprocess.run(["sh", "-c", "{sys.executable} -c \\"$0\\"; true", {step!r}], env=env)
    """
    parent = subprocess.Popen([sys.executable, "-c", textwrap.dedent(runner)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    end = time.monotonic() + 20
    while time.monotonic() < end and _alive(child):
        time.sleep(0.05)
    assert not _alive(child)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
