"""What all tests share."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from typing import Any

import pytest


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
