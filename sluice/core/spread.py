"""Who works on pieces: this process, or the workers of a cluster. What is asked of them is said once, and results come back in the pieces' order."""

from __future__ import annotations

import contextlib
import contextvars
import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol


class Workers(Protocol):
    """Many processes, on any number of machines."""

    def mapped(self, function: Callable[..., Any], items: Iterable[tuple[Any, ...]]) -> Iterator[Any]:
        """`function` of each item's arguments, in order; what was `made` before is an argument like any other. Raises what `function` does.

        Raises:
            WorkersLost: a piece could not be done, however often it was tried; or nothing was done for long.
        """
        ...

    def made(self, function: Callable[..., tuple[Any, ...]], items: Iterable[tuple[Any, ...]], kept: int) -> Iterator[tuple[Any, ...]]:
        """As `mapped`, of a function that returns a tuple: its first `kept` values stay with the workers, and a handle stands for each."""
        ...

    def brought(self, handle: Any) -> Any:
        """What a handle stands for."""
        ...


_WORKERS: contextvars.ContextVar[Callable[[], Workers] | None] = contextvars.ContextVar("sluice-workers", default=None)


def workers() -> Workers | None:
    """Who works on pieces here; None: this process."""
    start = _WORKERS.get()
    return None if start is None else start()


@contextlib.contextmanager
def working(start: Callable[[], Workers]) -> Iterator[None]:
    """Within: those that `start` gives work on pieces; it is called when there is a first piece."""
    token = _WORKERS.set(functools.cache(start))
    try:
        yield
    finally:
        _WORKERS.reset(token)
