"""Work spread over threads whose results come back in order, with a bounded number of them in memory."""

from __future__ import annotations

import contextlib
import contextvars
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")


def in_order(function: Callable[[A], B], items: Iterable[A], workers: int) -> Iterator[B]:
    """`function` of each item, in the items' order; at most twice as many items as `workers` are taken ahead of the reader.

    Whatever `items` or `function` raises is raised here, and nothing new is started after that.
    """
    waiting: deque[Future[B]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="in-order") as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) >= 2 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def ahead(items: Iterable[A]) -> Iterator[A]:
    """The items, made in a thread while those before them are used: at most two wait. What making them raises is raised where it would have stood."""
    end, made, context = object(), iter(items), contextvars.copy_context()

    def following(_: object) -> A | object:
        return context.run(next, made, end)

    with contextlib.closing(in_order(following, itertools.repeat(None), 1)) as found:  # type: ignore[type-var]
        for item in found:
            if item is end:
                return
            yield item  # type: ignore[misc]
