"""`sluice tune`, killed between two trials' ends, and started again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml

from sluice import project
from sluice.core.home import Home
from sluice.data.dataset import Dataset
from sluice.tuning.study import ended, open_study

TUNE = {
    "trials": 3,
    "parallel": 1,
    "pruner": "none",
    "space": {
        "train.learning_rate": {"type": "float", "low": 0.001, "high": 0.1, "log": True},
        "model.dropout": {"type": "float", "low": 0.0, "high": 0.3},
    },
}


def trials(home: Path, file: Path) -> list:
    if not list(home.glob("studies/*.journal")):
        return []
    return open_study(project.load(file), Dataset.open(home / "studies/data/small", verify=False), Home(home)).trials


@pytest.mark.timeout(1500)
def test_a_killed_study_goes_on_and_tries_what_was_cut_off_again(tmp_path):
    rows = "\n".join(f"{i * 0.37 % 5:.3f},{i * 0.73 % 7:.3f},{'yes' if i * 0.37 % 5 > 2.5 else 'no'}" for i in range(300))
    (tmp_path / "rows.csv").write_text(f"a,b,label\n{rows}\n")
    file, home = tmp_path / "sluice.yaml", tmp_path / "home"
    file.write_text(
        json.dumps(
            {"name": "small", "task": "tabular", "data": {"source": "rows.csv"}, "train": {"epochs": 4, "device": "cpu"}, "tune": TUNE}
        )
    )
    command = [sys.executable, "-m", "sluice", "tune", str(file), "--home", str(home), "--json"]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    first = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 500
    while not (sum(map(ended, found := trials(home, file))) >= 1 and any(t.state.name == "RUNNING" and len(t.params) == 2 for t in found)):
        assert first.poll() is None and time.monotonic() < end
        time.sleep(0.1)
    below = psutil.Process(first.pid).children(recursive=True)
    first.send_signal(signal.SIGKILL)
    first.wait(30)
    assert psutil.wait_procs(below, timeout=60)[1] == []
    cut_off = [t.params for t in trials(home, file) if t.state.name == "RUNNING"]
    assert len(cut_off) == 1
    done = subprocess.run(command, env=env, capture_output=True, timeout=800)
    assert done.returncode == 0, done.stderr.decode()
    told = json.loads(done.stdout)
    complete = [t for t in trials(home, file) if t.state.name == "COMPLETE"]
    assert told["trials"] == len(complete) == 3
    assert cut_off[0] in [t.params for t in complete]
    merged = yaml.safe_load(Path(told["project"]).read_text())
    assert merged["train"]["learning_rate"] == told["best"]["params"]["train.learning_rate"] and "tune" not in merged
    assert "trial" in Path(told["report"]).read_text()
