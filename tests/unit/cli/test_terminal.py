"""The terminal: a run's report opened, the command line completed, this machine looked at, what to do after a refusal."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from sluice.cli import main
from sluice.client import advice
from sluice.commands.run import show_conclusion
from sluice.core import files
from sluice.doctor import machine


def ended(home: Path, run: str, project: str, at: float, report: bool = True) -> Path:
    """A run that has ended in a home, as `sluice run` leaves it."""
    page = home / "reports" / run / "index.html"
    if report:
        files.write_text(page, "<html></html>")
    (home / "runs" / run).mkdir(parents=True)
    outcome = home / "runs" / run / "outcome.json"
    files.write_json(outcome, {"run": run, "project": project, "outcome": "promoted", "report": str(page)})
    os.utime(outcome, (at, at))
    return page


@pytest.fixture
def home(tmp_path: Path) -> Path:
    now = time.time()
    ended(tmp_path, "a-1", "a", now - 30)
    ended(tmp_path, "a-2", "a", now - 20)
    ended(tmp_path, "b-1", "b", now - 10)
    return tmp_path


@pytest.mark.parametrize(("named", "run"), [([], "b-1"), (["a"], "a-2"), (["a-1"], "a-1")])
def test_open_finds_the_report_of_a_run_a_project_or_the_last_of_all(
    home: Path, named: list[str], run: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["open", *named, "--print", "--home", str(home)]) == 0
    assert capsys.readouterr().out.strip() == str(home / "reports" / run / "index.html")


def test_open_shows_it_in_the_browser_that_is_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = home / "seen"
    browser = home / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {seen}.part; mv {seen}.part {seen}\n')
    browser.chmod(0o755)
    monkeypatch.setenv("BROWSER", str(browser))
    assert main(["open", "a-1", "--home", str(home)]) == 0
    deadline = time.monotonic() + 20
    while not seen.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert seen.read_text().strip() == (home / "reports" / "a-1" / "index.html").as_uri()


def test_open_says_what_there_is(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["open", "c", "--json", "--home", str(home)]) == 2
    assert "there is: a, b" in capsys.readouterr().err
    assert main(["open", "--home", str(tmp_path / "empty")]) == 2
    assert "no run has ended" in capsys.readouterr().err
    (home / "reports" / "a-1" / "index.html").unlink()
    assert main(["open", "a-1", "--home", str(home)]) == 2
    assert "not there any more" in capsys.readouterr().err


@pytest.mark.parametrize("typed", ["sluice rol", "sluice rollout ab", "sluice run --ho"])
def test_bash_completes_commands_and_options(typed: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["completion", "bash"]) == 0
    script = tmp_path / "completion"
    script.write_text(capsys.readouterr().out)
    words = " ".join(typed.split())
    done = subprocess.run(
        [
            shutil.which("bash") or "bash",
            "-c",
            f'. {script}; COMP_WORDS=({words}); COMP_CWORD={len(typed.split()) - 1}; COMP_LINE="{typed}"; COMP_POINT={len(typed)}; '
            f'_shtab_sluice sluice {typed.split()[-1]} {typed.split()[-2]}; printf "%s\\n" "${{COMPREPLY[@]}}"',
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert {"rol": "rollout", "ab": "abort", "--ho": "--home"}[typed.split()[-1]] in done.stdout.split(), done.stderr


def test_completion_knows_which_arguments_are_files(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "bash", "--json"]) == 0
    script = json.loads(capsys.readouterr().out)["script"]
    assert "_shtab_sluice_run_pos_0_COMPGEN=_shtab_compgen_files" in script


def limited(root: Path, most: str, used: int) -> Path:
    (root / "memory.max").write_text(most + "\n")
    (root / "memory.current").write_text(f"{used}\n")
    return root


def test_memory_is_what_the_container_may_still_take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine._limit_left(limited(tmp_path, "max", 5)) is None
    assert machine._limit_left(limited(tmp_path, str(3 << 30), 1 << 30)) == 2 << 30
    monkeypatch.setattr(machine, "_available", lambda: 20 << 30)
    for left, state in ((None, "ok"), (2 << 30, "note"), (1 << 29, "fault")):
        monkeypatch.setattr(machine, "_limit_left", lambda left=left: left)
        found = machine.memory()
        assert found.state == state, found
        assert ("container" in found.said) is (left is not None)


def test_an_envoy_that_does_not_start_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sluice.rollouts import envoy

    broken = tmp_path / "envoy"
    broken.write_text("#!/bin/sh\necho 'no such library' >&2; exit 127\n")
    broken.chmod(0o755)
    monkeypatch.setattr(envoy, "binary", lambda: broken)
    found = machine.envoy()
    assert found.state == "fault"
    assert "no such library" in found.said
    assert "sluice-ml[local]" in found.fix
    monkeypatch.undo()
    assert machine.envoy().state == "ok"


def test_a_port_that_is_taken_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setattr(machine, "_PORT", taken.getsockname()[1])
        found = machine.ports()
    assert found.state == "note"
    assert str(machine._PORT) in found.said


def test_a_refusal_ends_with_what_to_do_next(capsys: pytest.CaptureFixture[str]) -> None:
    outcome = {
        "outcome": "refused",
        "gate": "evaluate",
        "reasons": ["too low"],
        "project": "a",
        "seconds": 1.0,
        "run": "a-1",
        "report": "r",
    }
    show_conclusion(outcome)
    assert f"next: {advice.after_refusal(outcome)}" in capsys.readouterr().out
    assert "evaluate.minimum" in advice.after_refusal(outcome)
    assert advice.after_refusal(outcome | {"next": ["mend a", "mend b"]}) == "mend a; mend b; and run again"
