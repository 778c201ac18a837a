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

from sluice.package.package import Store

#: A table that a network learns.
TABLE = Path(__file__).resolve().parents[3] / "examples" / "breast_cancer"

COMMAND = [sys.executable, "-m", "sluice", "run", str(TABLE / "sluice.yaml"), "--set", "train.epochs=4", "--json"]
ENV = {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.mark.timeout(600)
def test_after_sigkill_at_any_moment_the_next_run_works(tmp_path: Path) -> None:
    home = tmp_path / "home"
    pick = random.Random(20)
    moments = [pick.uniform(lo, lo + 4) for lo in (2, 8, 14, 20)]
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
    assert killed >= 2
    begun = time.time()
    last = subprocess.run([*COMMAND, "--home", str(home)], env=ENV, capture_output=True, text=True, timeout=240, check=False)
    assert last.returncode == 0, last.stdout + last.stderr
    outcome = orjson.loads(last.stdout)
    assert outcome["outcome"] == "promoted"
    assert Store(home / "store").get(outcome["digest"])
    assert not [p for p in home.rglob(".partial-*") if p.stat().st_mtime < begun]
    assert not left_over(str(home)), "no process of a killed run is left"


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
