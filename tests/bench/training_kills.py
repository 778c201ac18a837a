"""A training of two processes killed at 25 moments: the table of what was hit, and whether the weights are those of a run nothing happened to.

``python -m tests.bench.training_kills [--kills N] [--seed S] [--large]``. Every kill is SIGKILL: of one process
or of the whole job (the parent, its launcher and both processes), at a random moment, while a
checkpoint is being written, or at an epoch's edge. Ends with status 1 where a single bit differs.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import queue
import random
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import psutil

from sluice.core import files
from sluice.data.dataset import Dataset
from sluice.project import Project, parse
from tests.integration.training.conftest import points_dataset
from tests.integration.training.test_survival import HERE, LARGE, MODEL, RUNNER

EPOCHS, RESTARTS = 60, 60
#: Seconds a wait may take before the bench gives up.
PATIENCE = 300


def project(large: bool) -> Project:
    train = {
        "epochs": EPOCHS,
        "batch_size": 40,
        "learning_rate": 0.02,
        "device": "cpu",
        "processes": 2,
        "ema": 0.9,
        "restarts": RESTARTS,
        "checkpoint": {"every_seconds": 0.05},
        "early_stopping": {"metric": "loss", "patience": EPOCHS},
    }
    return parse(
        {"name": "points", "task": "points_task:PointsTask", "data": {"source": "x"}, "model": LARGE if large else MODEL, "train": train},
        base_dir=HERE,
    )


class Job:
    """A training in a process of its own, and the lines it says."""

    def __init__(self, made: Project, points: Dataset, root: Path):
        self.checkpoints = root / "checkpoints"
        arguments = [
            orjson.dumps(made.model_dump(mode="json")).decode(),
            str(points.root),
            str(root / "out"),
            str(HERE),
            str(self.checkpoints),
        ]
        self.process = subprocess.Popen(
            [sys.executable, "-c", RUNNER, *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self.events: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.events.put(orjson.loads(line))

    def await_event(self, kind: str) -> dict[str, Any] | None:
        """The next event of a kind; None where the job ended. Raises `TimeoutError`."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            with contextlib.suppress(queue.Empty):
                if (event := self.events.get(timeout=0.2))["kind"] == kind:
                    return event
                continue
            if self.process.poll() is not None and self.events.empty():
                return None
        raise TimeoutError(f"no {kind} in {PATIENCE} s")

    def await_writing(self) -> None:
        """Return while a checkpoint has its temporary name. Raises `TimeoutError`."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if any(self.checkpoints.rglob(f"{files.PARTIAL}*")):
                return
        raise TimeoutError("no checkpoint was written")

    def family(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def ranks(self) -> list[psutil.Process]:
        below = self.family()
        launchers = {p.pid for p in below if p.ppid() == self.process.pid}
        return [p for p in below if p.ppid() in launchers]


def strike(job: Job, who: str) -> bool:
    """Kill one process of a job, or the whole of it. Whether anything was there to be killed."""
    with contextlib.suppress(psutil.Error):
        if who == "whole job":
            below = job.family()
            job.process.kill()
            job.process.wait(30)
            psutil.wait_procs(below, timeout=30)
            return bool(below)
        found = job.ranks()
        if len(found) == 2:
            found[int(who[-1])].kill()
            return True
    return False


def main(kills: int, seed: int, large: bool) -> int:
    os.environ["OMP_NUM_THREADS"] = "1"
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as tmp:
        root = Path(tmp)
        made, points = project(large), points_dataset(root / "points")
        quiet = Job(made, points, root / "quiet")
        quiet.process.wait(PATIENCE)
        want = files.sha256_file(root / "quiet" / "out" / "model.safetensors")
        plan = [
            (when, who)
            for when in ("random moment", "random moment", "checkpoint write", "epoch's edge")
            for who in ("rank 0", "rank 1", "whole job")
        ]
        job, table = Job(made, points, root / "hit"), []
        begun = time.monotonic()
        while len(table) < kills:
            when, who = plan[len(table) % len(plan)]
            event = job.await_event("epoch" if when == "epoch's edge" else "step")
            if event is None:
                print(f"the training ended after {len(table)} kills: fewer than {kills}", file=sys.stderr)
                return 1
            if when == "checkpoint write":
                job.await_writing()
            elif when == "random moment":
                time.sleep(chance.uniform(0, 0.3))
            if not strike(job, who):
                continue
            table.append((when, who, event["step"]))
            print(f"| {len(table)} | {when} | {who} | {event['step']} |", flush=True)
            if who == "whole job":
                job = Job(made, points, root / "hit")
            else:  # what was said before the kill is not a sign of life after it
                while not job.events.empty():
                    job.events.get()
        if job.process.wait(PATIENCE):
            print("the killed training failed", file=sys.stderr)
            return 1
        same = files.sha256_file(root / "hit" / "out" / "model.safetensors") == want
    seconds = np.round(time.monotonic() - begun)
    print(
        f"{len(table)} kills over {EPOCHS} epochs in {seconds:.0f} s: weights {'bit-identical to' if same else 'DIFFERENT from'} the undisturbed run's"
    )
    return 0 if same else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--kills", type=int, default=25)
    parser.add_argument("--seed", type=int, default=25)
    parser.add_argument("--large", action="store_true", help="a model that the processes have in common memory")
    sys.exit(main(**vars(parser.parse_args())))
