"""`train.launcher: horovod`: `horovodrun` starts the processes of this machine, where that package is installed.

It only starts them: who is who comes from its ``HOROVOD_*`` variables, gradients travel as they
always do. Its processes inherit no file descriptors, so their events come through a named pipe.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import sys
import threading
from collections.abc import MutableMapping
from pathlib import Path

from sluice.core.errors import MissingExtra, ProjectError
from sluice.learners.torch.config import TrainConfig

#: Path of the pipe the processes write their events to.
EVENTS_PIPE = "SLUICE_EVENTS_PIPE"
_NAMES = {
    "RANK": "HOROVOD_RANK",
    "WORLD_SIZE": "HOROVOD_SIZE",
    "LOCAL_RANK": "HOROVOD_LOCAL_RANK",
    "LOCAL_WORLD_SIZE": "HOROVOD_LOCAL_SIZE",
}


def check(train: TrainConfig) -> None:
    """Before anything is prepared.

    Raises:
        MissingExtra: the package, or its command, is not there.
        ProjectError: more than one node is asked for.
    """
    if train.launcher != "horovod":
        return
    if importlib.util.find_spec("horovod") is None or shutil.which("horovodrun") is None:
        raise MissingExtra(
            "needs the package horovod and its command horovodrun, which are not installed",
            field="train.launcher",
            value="horovod",
            fix="install horovod with its PyTorch part, or set train.launcher: torchrun",
        )
    if train.nodes > 1:
        raise ProjectError(
            "starts the processes of one machine",
            field="train.launcher",
            value="horovod",
            fix="train.nodes: 1, or train.launcher: torchrun",
        )


def command(job: Path, heartbeat: Path, processes: int) -> list[str]:
    """What starts the job's processes."""
    return [
        "horovodrun",
        "-np",
        str(processes),
        sys.executable,
        "-m",
        "sluice.learners.torch.worker",
        str(job),
        "--heartbeat",
        str(heartbeat),
    ]


def adopt(environ: MutableMapping[str, str]) -> None:
    """Put a process's place, as Horovod tells it, under the names of torchrun's contract; nothing happens elsewhere."""
    for ours, theirs in _NAMES.items():
        if theirs in environ and ours not in environ:
            environ[ours] = environ[theirs]


def relay(pipe: Path, to: int) -> None:
    """Make the pipe, and pass what is written to it on to a file descriptor, from a thread, as long as this process lives."""
    with contextlib.suppress(FileExistsError):
        os.mkfifo(pipe)
    source = os.open(pipe, os.O_RDWR)  # our own writing end keeps it open between two writers

    def work() -> None:
        while True:
            os.write(to, os.read(source, 65536))

    threading.Thread(target=work, name="events", daemon=True).start()
