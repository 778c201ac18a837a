"""A process under torchrun that stands still, or is told to go."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from sluice.learners.torch.watchdog import STUCK

CODE = """
import sys, time, signal, types
from pathlib import Path
from sluice.learners.torch import watchdog
rank, limit, root = int(sys.argv[1]), float(sys.argv[2]), Path(sys.argv[3])
signal.signal(signal.SIGTERM, lambda *_: (print("told to stop", flush=True), sys.exit(143)))
train = types.SimpleNamespace(hang_seconds=limit)
watch = watchdog.Guard(types.SimpleNamespace(stop=root / "stop", project=types.SimpleNamespace(train=train)), rank)
watch.beat()
print("beating", flush=True)
def stand_still():
    time.sleep(60)
stand_still()
"""


def start(tmp_path: Path, rank: int, limit: float) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", CODE, str(rank), str(limit), str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "beating\n"
    return process


def test_a_process_that_stands_still_writes_its_stack_and_ends(tmp_path):
    process = start(tmp_path, 1, 0.2)
    _, told = process.communicate(timeout=60)
    assert process.returncode == STUCK
    assert "training process 1 is stuck" in told and "stand_still" in told


def test_a_rank_that_is_told_to_go_leaves_word_and_the_first_hears_it(tmp_path):
    second = start(tmp_path, 1, 60)
    second.terminate()
    first = start(tmp_path, 0, 60)
    out, _ = first.communicate(timeout=60)
    assert first.returncode == 143 and "told to stop" in out
    assert second.poll() is None  # it goes on until the first has written what all of them have done
    second.kill()
    second.communicate(timeout=60)
