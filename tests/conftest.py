"""What all tests share."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parents[1]

# How long an example takes tells how busy the machine is, not whether the code is right.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")


def pytest_configure(config: pytest.Config) -> None:
    """One warm process for all the runs of a whole suite, where workers share it: half of what a small run takes is imports.

    A test of what a run does by itself leaves ``SLUICE_WARM`` out of its environment.
    """
    if hasattr(config, "workerinput") or not config.getoption("numprocesses", None):
        return
    from pipelines import ahead
    from sluice.core.warm.client import PLACE
    from sluice.core.warm.start import Warm
    from sluice.project import load

    project = ROOT / "examples" / "breast_cancer" / "sluice.yaml"
    made = Warm(ahead.plan(load(project), project.parent))
    config.add_cleanup(made.stop)
    if made.why is None:
        os.environ[PLACE] = str(Path(made.interpreter).parent)
        config.add_cleanup(lambda: os.environ.pop(PLACE, None))


def frames(context: int = 1) -> list[inspect.FrameInfo]:
    """`inspect.stack` without the lines of source: of those it looks for the module of each frame among all that are imported."""
    found: list[inspect.FrameInfo] = []
    frame: Any = sys._getframe(1)
    while frame is not None:
        found.append(inspect.FrameInfo(frame, frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name, None, None))
        frame = frame.f_back
    return found


@pytest.fixture(scope="session", autouse=True)
def stack_without_sources() -> Iterator[None]:
    """kfp looks at the stack at each setting of a task: where a process has imported much, as one of pytest's has, a compiled pipeline takes minutes."""
    before = inspect.stack
    inspect.stack = frames
    yield
    inspect.stack = before
