"""``python -m tests.integration.monitoring.dies MOMENT ARGUMENT...``: `sluice` with these arguments, that kills itself with SIGKILL at a moment.

A process that is killed from outside is killed where the machine happens to be. This one is always killed at the moment that is meant.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sluice.cli import main
from sluice.client.display import Display
from sluice.commands import retraining
from sluice.core import files
from sluice.monitor.log import PredictionLog


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def reading() -> None:
    """Behind the first rows of the log."""
    read = PredictionLog.read

    def killed(self: PredictionLog, *args: Any, **options: Any) -> Iterator[Any]:
        for found in read(self, *args, **options):
            yield found
            die()

    PredictionLog.read = killed  # type: ignore[method-assign]


def writing(last: str) -> None:
    """When a file whose name ends so is written, and not yet in its place."""
    replace = os.replace

    def killed(source: Any, target: Any, **options: Any) -> None:
        if str(target).endswith(last):
            die()
        replace(source, target, **options)

    os.replace = killed


def written(last: str) -> None:
    """When a file whose name ends so has been written."""
    write = files.write_bytes

    def killed(path: Path, data: bytes) -> None:
        write(path, data)
        if path.name.endswith(last):
            die()

    files.write_bytes = killed


def ended(step: str) -> None:
    """When a step of the retraining's run has told its decision: its gate is written, the next step has not begun."""
    event = Display.event

    def killed(self: Display, told: dict[str, Any]) -> None:
        if told["kind"] == "gate" and told["step"] == step:
            die()
        event(self, told)

    Display.event = killed  # type: ignore[method-assign]


def deciding() -> None:
    """Between the alarm and what is decided."""
    retraining._write = lambda *_: die()


MOMENTS: dict[str, Callable[[str], None]] = {
    "reading": lambda _: reading(),
    "writing": writing,
    "written": written,
    "deciding": lambda _: deciding(),
    "ended": ended,
}

if __name__ == "__main__":
    what, _, which = sys.argv[1].partition(":")
    MOMENTS[what](which)
    sys.exit(main(sys.argv[2:]))
