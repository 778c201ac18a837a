"""A run killed at any moment: the next one works, and nothing half-written is ever read."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import orjson
import pytest

from sluice.core.processes import wait_until
from sluice.core.warm.client import PLACE
from sluice.package.package import Store

#: A table that a network learns.
TABLE = Path(__file__).resolve().parents[3] / "examples" / "breast_cancer"

COMMAND = [sys.executable, "-m", "sluice", "run", str(TABLE / "sluice.yaml"), "--set", "train.epochs=4", "--json"]
#: Each run with a warm process of its own, as a person's, which has to end with it.
ENV = {k: v for k, v in os.environ.items() if k != PLACE} | {"OMP_NUM_THREADS": "1"}


@pytest.mark.timeout(600)
def test_after_sigkill_at_any_moment_the_next_run_works(tmp_path: Path) -> None:
    home = tmp_path / "home"
    pick = random.Random(20)
    moments = [pick.uniform(lo, lo + 4) for lo in (2, 9)]
    killed = 0
    for moment in moments:
        child = subprocess.Popen(
            [*COMMAND, "--home", str(home)], env=ENV, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
        )
        time.sleep(moment)
        if child.poll() is None:
            child.send_signal(signal.SIGKILL)
            killed += 1
        child.wait(60)
        store = Store(home / "store")
        for digest in store.digests():
            assert store.get(digest).digest == digest, "what is in the store is whole"
    assert killed >= 1
    begun = time.time()
    shared = {**os.environ, "OMP_NUM_THREADS": "1"}
    last = subprocess.run([*COMMAND, "--home", str(home)], env=shared, capture_output=True, text=True, timeout=240, check=False)
    assert last.returncode == 0, last.stdout + last.stderr
    outcome = orjson.loads(last.stdout)
    assert outcome["outcome"] == "promoted"
    assert Store(home / "store").get(outcome["digest"])
    assert not [p for p in home.rglob(".partial-*") if p.stat().st_mtime < begun]
    assert not left_over(str(home)), "no process of a killed run is left"


@pytest.mark.parametrize("to_all", [True, False], ids=["ctrl-c", "the runner alone"])
@pytest.mark.timeout(300)
def test_an_interrupted_run_ends_with_all_its_processes(tmp_path: Path, to_all: bool) -> None:
    home = tmp_path / "home"
    with subprocess.Popen(
        [*COMMAND, "--home", str(home)],
        env=ENV,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # a shell that runs these tests in the background has them ignore it
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as child:
        logs = home / "runs"
        wait_until(lambda: any("'train'" in p.read_text() for p in logs.glob("*/log.txt")), what="the training", seconds=200)
        if to_all:  # as the terminal does
            os.killpg(child.pid, signal.SIGINT)
        else:
            child.send_signal(signal.SIGINT)
        _, said = child.communicate(timeout=60)
    assert child.returncode == 130
    assert said.endswith("sluice: interrupted\n")
    wait_until(lambda: not of_session(child.pid), what="its last process", seconds=40)
    assert not left_over(str(home))


def of_session(leader: int) -> list[str]:
    """The processes that a session's leader has left behind."""
    return [
        line
        for line in subprocess.run(["ps", "-s", str(leader), "-o", "pid=,args="], capture_output=True, text=True).stdout.split("\n")
        if line
    ]


def left_over(mark: str) -> list[str]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if mark in words:
            found.append(words)
    return found
