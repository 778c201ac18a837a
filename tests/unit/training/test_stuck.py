"""Who is named when processes wait for each other."""

from __future__ import annotations

import os
import struct
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from sluice.learners.torch.distributed import Heartbeat
from sluice.learners.torch.launch import Child, Launcher, culprit


def beat_at(beats: Heartbeat, rank: int, seconds_ago: float) -> None:
    struct.pack_into("dq", beats._map, 16 * rank, time.monotonic() - seconds_ago, 7)


@pytest.mark.parametrize(("ago", "named"), [((1.6, 1.4), "0, 1"), ((1.4, 1.6), "0, 1"), ((1.6, 0.2), "0")])
def test_all_whose_last_step_was_the_same_are_stuck(tmp_path: Path, ago: tuple[float, float], named: str) -> None:
    train = SimpleNamespace(hang_seconds=1.5, checkpoint=SimpleNamespace(store=None))
    job = SimpleNamespace(root=tmp_path, checkpoints=tmp_path / "checkpoints", project=SimpleNamespace(train=train))
    launcher = Launcher(job, fork=True)  # type: ignore[arg-type]
    told: list[dict] = []
    launcher.emit = told.append
    launcher.beats = Heartbeat(tmp_path / "beats", 2, create=True)
    pids = [os.posix_spawnp("sleep", ["sleep", "60"], os.environ) for _ in range(2)]
    launcher.children = [Child(rank, pid) for rank, pid in enumerate(pids)]
    # No one is stuck sooner than 1.5 s after the start, so the beats are moved by as much.
    for rank, seconds in enumerate(ago):
        beat_at(launcher.beats, rank, seconds - 1.5)
    why = launcher._watch()
    assert why is not None and f"training process {named} is stuck: no step was finished for 1.5 s" in why
    assert [e["rank"] for e in told if e["kind"] == "stack"] == [int(n) for n in named.split(", ")]
    assert all(subprocess.run(["kill", "-0", str(pid)], capture_output=True).returncode for pid in pids)


def test_a_killed_process_is_the_culprit_and_not_one_that_missed_it() -> None:
    well, failed, killed, running = Child(0, 10, 0), Child(0, 11, 3 << 8), Child(1, 12, 9), Child(2, 13, None)
    assert culprit([failed, killed, running]) is killed
    assert culprit([well, failed, running]) is failed
    assert culprit([well, running]) is None
