"""Killed, stopped, told to end, or with a broken disk: the weights are those of a run that nothing happened to."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import orjson
import psutil
import pytest

from sluice.core import files
from sluice.learners.errors import ProcessDied
from sluice.learners.fit import fit
from tests.tools.long import long

#: For those that harm a process of the training, or look at which there are; the others' begin as a run's do.
plain = pytest.mark.usefixtures("plain_processes")
HERE = Path(__file__).parent
MODEL = {"seconds_a_step": 0.03}
#: Over a million parameters: two processes of one machine have them in common memory, where gloo carries the small model's.
LARGE = {"hidden": 160_000}
TRAIN = {
    "epochs": 8,
    "processes": 2,
    "ema": 0.9,
    "checkpoint": {"every_seconds": 0.05},
    "early_stopping": {"metric": "loss", "patience": 8},
}

#: Runs `fit` in a process that can be killed whole; its events come out as lines.
RUNNER = """
import sys, orjson
from pathlib import Path
from sluice.data.dataset import Dataset
from sluice.project import parse
from sluice.learners.fit import fit
raw, data, out, base, checkpoints = orjson.loads(sys.argv[1]), *map(Path, sys.argv[2:])
fit(parse(raw, base_dir=base), Dataset.open(data), out, base_dir=base, checkpoints=checkpoints,
    on_event=lambda e: print(orjson.dumps(e).decode(), flush=True))
"""


def weights(out: Path) -> str:
    return files.sha256_file(out / "model.safetensors")


@pytest.fixture(scope="module")
def undisturbed(points, tmp_path_factory):
    """sha256 of the weights of a run that nothing happened to."""
    from sluice.project import parse

    made = parse(
        {
            "name": "points",
            "task": "points_task:PointsTask",
            "data": {"source": "x"},
            "model": MODEL,
            "train": {"batch_size": 40, "learning_rate": 0.02, "device": "cpu", **TRAIN},
        },
        base_dir=HERE,
    )
    return weights(fit(made, points, tmp_path_factory.mktemp("undisturbed") / "out", base_dir=HERE).root)


def ranks() -> list[psutil.Process]:
    """The training processes below this one, in the order of their ranks; fewer while they come and go."""
    found = []
    for p in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            if "sluice.learners.torch.launch" in " ".join(p.cmdline()):
                found += p.children()
    return sorted(found, key=lambda p: p.pid)


class Running:
    """`fit` in a thread, its events at hand."""

    def __init__(self, made, points, out, **arguments):
        self.events: list[dict] = []
        self.error: BaseException | None = None

        def work():
            try:
                fit(made, points, out, base_dir=HERE, on_event=self.events.append, **arguments)
            except BaseException as e:
                self.error = e

        self.thread = threading.Thread(target=work)
        self.thread.start()

    def wait_for(self, what, seconds=120):
        end = time.monotonic() + seconds
        while not (found := what()):
            assert self.thread.is_alive(), f"it ended first: {self.error}"
            assert time.monotonic() < end, "waited in vain"
            time.sleep(0.005)
        return found

    def texts(self):
        return [e.get("text", "") for e in self.events]

    def end(self):
        self.thread.join(200)
        assert not self.thread.is_alive()
        if self.error:
            raise self.error


def step_of(running) -> int:
    return max((e["step"] for e in running.events if e["kind"] in ("step", "epoch")), default=0)


def kill_at_random(running: Running, chance: random.Random, kills: int, longest: float) -> None:
    """Kill one of two processes `kills` times, up to `longest` seconds after the job has made a step since the last time."""
    killed = 0
    while running.thread.is_alive() and killed < kills:
        restarts, steps = sum("starting again" in t for t in running.texts()), sum(e["kind"] == "step" for e in running.events)
        if restarts < killed or steps <= killed or len(found := ranks()) < 2:
            time.sleep(0.01)
            continue
        time.sleep(chance.uniform(0, longest))
        with contextlib.suppress(psutil.Error):
            found[chance.randrange(2)].kill()
            killed += 1


@plain
@pytest.mark.parametrize(("model", "kills", "way"), [(MODEL, 2, "gloo"), pytest.param(LARGE, 2, "shared memory", marks=long)])
def test_processes_killed_at_random_moments_change_nothing(points, project, tmp_path, undisturbed, model, kills, way):
    made = project(model, **TRAIN, restarts=8)
    running = Running(made, points, tmp_path / "out")
    kill_at_random(running, random.Random(1), kills=kills, longest=0.3)
    running.end()
    assert sum("starting again" in t for t in running.texts()) >= 1, running.texts()
    assert any("was killed by SIGKILL" in t for t in running.texts())
    wanted = undisturbed if model is MODEL else weights(fit(made, points, tmp_path / "undisturbed", base_dir=HERE).root)
    assert weights(tmp_path / "out") == wanted
    assert files.read_json(tmp_path / "out" / "training.json")["gradients"] == way


def start(made, points, out, checkpoints) -> subprocess.Popen:
    raw = made.model_dump(mode="json")
    return subprocess.Popen(
        [sys.executable, "-c", RUNNER, orjson.dumps(raw).decode(), str(points.root), str(out), str(HERE), str(checkpoints)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def read_until(process, step) -> list[dict]:
    events = []
    for line in process.stdout:
        events.append(orjson.loads(line))
        if events[-1].get("step", 0) >= step:
            break
    return events


def gone(pids, seconds=60) -> bool:
    end = time.monotonic() + seconds
    while any(psutil.pid_exists(p) and psutil.Process(p).status() != psutil.STATUS_ZOMBIE for p in pids):
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


@plain
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_whole_job_that_is_ended_goes_on_where_it_was(points, project, tmp_path, undisturbed, how):
    made = project(MODEL, **TRAIN)
    first = start(made, points, tmp_path / "out", tmp_path / "checkpoints")
    read_until(first, 20)
    below = [p.pid for p in psutil.Process(first.pid).children(recursive=True)]
    assert len(below) == 3
    first.send_signal(how)
    first.communicate(timeout=100)
    assert gone(below)
    assert not (tmp_path / "out").exists()
    if how == signal.SIGTERM:
        assert first.returncode == 128 + signal.SIGTERM
    resumed: list[dict] = []
    fit(made, points, tmp_path / "out", base_dir=HERE, checkpoints=tmp_path / "checkpoints", on_event=resumed.append)
    notes = [e["text"] for e in resumed if "resumed from" in e.get("text", "")]
    assert len(notes) == 1
    assert weights(tmp_path / "out") == undisturbed
    assert list((tmp_path / "checkpoints").iterdir()) == []


@plain
def test_a_stopped_process_is_found_and_the_run_finished(points, project, tmp_path, undisturbed):
    running = Running(project(MODEL, **TRAIN, hang_seconds=2), points, tmp_path / "out")
    running.wait_for(lambda: step_of(running) > 10)
    os.kill(ranks()[1].pid, signal.SIGSTOP)
    running.end()
    assert any("training process 1 is stopped (SIGSTOP)" in t for t in running.texts())
    assert any(e["kind"] == "stack" and e["rank"] == 1 and "File" in e["text"] for e in running.events)
    assert weights(tmp_path / "out") == undisturbed


def test_a_corrupt_newest_checkpoint_is_refused_and_the_one_before_used(points, project, tmp_path, undisturbed):
    made = project(MODEL, **TRAIN)
    first = start(made, points, tmp_path / "out", tmp_path / "checkpoints")
    read_until(first, 30)
    first.terminate()
    first.communicate(timeout=100)
    newest = sorted((tmp_path / "checkpoints").glob("*/step-*"))
    assert len(newest) == 2
    with (newest[-1] / "model.safetensors").open("r+b") as f:
        f.seek(-1, os.SEEK_END)
        f.write(b"\xff")
    events: list[dict] = []
    fit(made, points, tmp_path / "out", base_dir=HERE, checkpoints=tmp_path / "checkpoints", on_event=events.append)
    texts = [e.get("text", "") for e in events]
    assert any(f"{newest[-1].name} is refused" in t for t in texts)
    assert any(f"resumed from {newest[0].name}" in t for t in texts)
    assert weights(tmp_path / "out") == undisturbed


def test_another_number_of_processes_may_resume_and_says_it_is_not_identical(points, project, tmp_path):
    first = start(project(MODEL, **TRAIN), points, tmp_path / "out", tmp_path / "checkpoints")
    read_until(first, 20)
    first.terminate()
    first.communicate(timeout=100)
    events: list[dict] = []
    result = fit(
        project(MODEL, **{**TRAIN, "processes": 1}),
        points,
        tmp_path / "out",
        base_dir=HERE,
        checkpoints=tmp_path / "checkpoints",
        on_event=events.append,
    )
    assert any("written by 2 processes, now 1: not bit-identical" in e.get("text", "") for e in events)
    assert [h["step"] for h in result.history] == [10 * (i + 1) for i in range(8)]


@plain
def test_a_disk_that_takes_no_checkpoint_only_warns(points, project, tmp_path, undisturbed):
    """The kernel refuses every file above 2 KiB: checkpoints fail, and the events tell."""
    limit = tmp_path / "checkpoints"
    limit.mkdir()
    blocked = limit / "key"
    made = project(MODEL, **TRAIN)
    events: list[dict] = []

    def on_event(event):
        events.append(event)
        if event["kind"] != "note" and not any(e["kind"] != "note" for e in events[:-1]):  # of the plan, before there are any processes
            for p in ranks():
                psutil.Process(p.pid).rlimit(resource.RLIMIT_FSIZE, (2048, resource.RLIM_INFINITY))
        if event["kind"] == "epoch" and event["epoch"] == 5:
            for p in ranks():
                psutil.Process(p.pid).rlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    fit(made, points, tmp_path / "out", base_dir=HERE, checkpoints=limit, on_event=on_event)
    assert any("could NOT be written" in e.get("text", "") and "Training goes on" in e["text"] for e in events)
    assert not blocked.exists()
    assert weights(tmp_path / "out") == undisturbed


@plain
def test_a_process_killed_too_often_ends_the_run(points, project, tmp_path):
    running = Running(project({"seconds_a_step": 0.05}, processes=2, epochs=50, restarts=1), points, tmp_path / "out")
    for kill in range(2):
        found = running.wait_for(
            lambda: step_of(running) > 0 and sum("starting again" in t for t in running.texts()) == kill and ranks()[1:]
        )
        found[0].kill()
    with pytest.raises(ProcessDied, match="was killed by SIGKILL"):
        running.end()
