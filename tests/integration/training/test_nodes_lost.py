"""The train step over two nodes that are torchruns of this machine, one of which is told to go: the weights stay the same."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from components.train import trainjob_fit
from components.train.trainjob import JobSpec, NodeLost
from sluice.core import files
from sluice.core.processes import free_port
from sluice.learners.base import Job
from sluice.learners.fit import fit
from sluice.tasks import load_task

HERE = Path(__file__).parent
MODEL = {"seconds_a_step": 0.03}
TRAIN = {"epochs": 4, "nodes": 2, "processes": 1, "checkpoint": {"every_seconds": 60}, "restarts": 2}


class Machines:
    """Plays the Trainer: every node is a torchrun; a node that fails ends them all."""

    def __init__(self, harm: Callable[[list[subprocess.Popen[bytes]]], None], after: int):
        self.harm, self.after = harm, after
        self.nodes: list[subprocess.Popen[bytes]] = []
        self.step = self.jobs = 0

    def cancel(self, name: str) -> None:
        for node in self.nodes:
            node.terminate()
        for node in self.nodes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                node.wait(20)
            for p in [*psutil.Process(node.pid).children(recursive=True), node] if node.poll() is None else ():
                p.kill()
            node.wait(30)
        self.nodes = []

    def replace(self, spec: JobSpec) -> None:
        port, self.jobs = free_port(), self.jobs + 1
        for rank in range(spec.nodes):
            command = [
                sys.executable,
                "-m",
                "torch.distributed.run",
                *spec.command[1:3],
                f"--node-rank={rank}",
                "--master-addr=127.0.0.1",
                f"--master-port={port}",
                *spec.command[3:],
            ]
            env = {**os.environ, **spec.env, "GLOO_SOCKET_IFNAME": "lo", "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
            self.nodes.append(subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT))
            os.set_blocking(self.nodes[-1].stdout.fileno(), False)  # type: ignore[union-attr]

    def wait(self, spec: JobSpec, *, on_line: Any, seconds: float, **_: Any) -> None:
        harmed = self.jobs > 1
        rest = [b""] * len(self.nodes)
        end = time.monotonic() + 150
        while True:
            for rank, node in enumerate(self.nodes):
                *lines, rest[rank] = (rest[rank] + (node.stdout.read() or b"")).split(b"\n")  # type: ignore[union-attr]
                for line in lines:
                    on_line(rank, line.decode())
            if not harmed and self.step >= self.after:
                harmed = True
                self.harm(self.nodes)
            states = [n.poll() for n in self.nodes]
            bad = next((i for i, s in enumerate(states) if s), None)
            if bad is not None:
                self.cancel(spec.name)
                raise NodeLost(f"node {bad} ended with status {states[bad]}")
            if states == [0, 0]:
                return
            assert time.monotonic() < end, "waited in vain"
            time.sleep(0.05)


def told_to_go(machines: list[subprocess.Popen[bytes]]) -> None:
    machines[1].terminate()


@pytest.fixture(scope="module")
def undisturbed(points, tmp_path_factory) -> str:
    from sluice.project import parse

    made = parse(
        {
            "name": "points",
            "task": "points_task:PointsTask",
            "data": {"source": "x"},
            "model": MODEL,
            "train": {"batch_size": 40, "learning_rate": 0.02, "device": "cpu", **TRAIN, "nodes": 1, "processes": 2},
        },
        base_dir=HERE,
    )
    return files.sha256_file(fit(made, points, tmp_path_factory.mktemp("one") / "out", base_dir=HERE).root / "model.safetensors")


def test_a_node_that_is_told_to_go_costs_no_step_and_changes_no_weight(points, project, tmp_path, monkeypatch, undisturbed):
    (tmp_path / "store").mkdir()
    monkeypatch.setenv(trainjob_fit.MOUNT_ENV, str(tmp_path / "store"))
    monkeypatch.setenv(trainjob_fit.CLAIM_ENV, "claim")
    machines, events, lines = Machines(told_to_go, after=20), [], []

    def on_event(event):
        events.append(event)
        machines.step = max(machines.step, event.get("step", 0))

    trainjob_fit.fit(
        load_task(project(MODEL, **TRAIN), HERE),
        Job(points, tmp_path / "out", on_event),
        jobs=machines,
        on_line=lambda node, line: lines.append(line),
    )
    texts = [e.get("text", "") for e in events]
    assert any("starting again from step-" in t for t in texts), (texts, lines[-30:])
    assert any("resumed from step-" in t for t in texts)
    assert "told to stop (SIGTERM): a checkpoint was written" in texts
    assert files.sha256_file(tmp_path / "out" / "model.safetensors") == undisturbed
    assert not list((tmp_path / "store" / "checkpoints").iterdir())
