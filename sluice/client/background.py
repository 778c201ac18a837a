"""A run of this machine in a process of its own (``python -m sluice.client``), which outlives whoever started it.

What a person would see of it goes into the run's ``progress.txt``, so that a wait for it, from any process, shows the same lines.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from sluice import project as projects
from sluice.cli import checkout_command
from sluice.core import files
from sluice.core.errors import HomeError, SluiceError
from sluice.core.home import Home

PROGRESS, PID = "progress.txt", "pid"
#: Seconds the process may take to hold the home: imports on a machine that is busy.
_BEGINS = 120.0


def start(home: Home, name: str, text: str, base_dir: Path) -> str:
    """Start it, and return its id once it holds the home.

    Raises:
        HomeError: the home is in use or cannot be written. SluiceError: the process ended before it began.
    """
    with home.lock("Client.submit"):  # in use: said here and now, and not in a file
        run = home.new_run(name)
    folder = home.runs / run
    files.write_text(folder / "project.yaml", text + "\n")
    with (folder / PROGRESS).open("wb") as out:
        # A session of its own: the signal that stops a notebook's cell is not for it.
        child = subprocess.Popen(
            [sys.executable, "-m", "sluice.client", str(home.root), run, str(base_dir.resolve())],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    end = time.monotonic() + _BEGINS
    while home.holder() != child.pid and child.poll() is None and time.monotonic() < end:
        time.sleep(0.05)
    if child.poll() is not None and not (folder / "outcome.json").exists():
        raise SluiceError(
            f"the run ended before it began: {last_line(folder) or 'it said nothing'}",
            field=run,
            fix=f"all it said is in {folder / PROGRESS}",
        )
    return run


def stop(home: Home, run: str) -> None:
    """End a run in the background, with all its processes. Raises `HomeError` for one that does not go on, or was not started here."""
    pid = home.holder()
    path = home.runs / run / PID
    if pid is None or not run or not path.is_file() or path.read_text() != str(pid):
        raise HomeError(
            "is no run in the background that goes on",
            field="run",
            value=run,
            fix="a run of `sluice run` or Client.run ends with its caller",
        )
    os.killpg(pid, signal.SIGTERM)


def last_line(folder: Path) -> str:
    """The last thing a run in the background said; empty for nothing."""
    path = folder / PROGRESS
    said = path.read_text(errors="replace").strip().splitlines() if path.exists() else []
    return said[-1].strip() if said else ""


def main(home: str, run: str, base_dir: str) -> int:
    """The whole run; its exit status is that of ``sluice run``."""
    place = Home(home)
    path = place.runs / run / "project.yaml"
    files.write_text(path.with_name(PID), str(os.getpid()))
    try:
        project = projects.parse(projects.read_text(path.read_text(), str(path)), base_dir=Path(base_dir))
        outcome = checkout_command("run")(
            project, text=path.read_text().rstrip("\n"), base_dir=Path(base_dir), home=place, command="Client.submit", name=run
        )
    except SluiceError as e:
        print(f"sluice: {e}", file=sys.stderr)
        return e.exit_code
    return int(outcome["exit_code"])
