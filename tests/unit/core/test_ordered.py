"""What is made ahead in a thread comes in order, with what goes wrong in its place, and no further than was said."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Iterator

import pytest

from sluice.core.ordered import ahead

_NAMED: contextvars.ContextVar[str] = contextvars.ContextVar("named", default="nobody")


def test_items_come_in_order_from_another_thread_that_sees_what_is_set_here() -> None:
    token = _NAMED.set("reader")
    seen = [(i, name, thread) for i, name, thread in ahead((i, _NAMED.get(), threading.get_ident()) for i in range(50))]
    _NAMED.reset(token)
    assert [(i, name) for i, name, _ in seen] == [(i, "reader") for i in range(50)]
    assert threading.get_ident() not in {thread for *_, thread in seen}
    assert list(ahead(iter([]))) == []


def test_a_failure_stands_behind_the_items_before_it() -> None:
    def items() -> Iterator[int]:
        yield from range(3)
        raise ValueError("the fourth")

    got: list[int] = []
    with pytest.raises(ValueError, match="the fourth"):
        got.extend(ahead(items()))
    assert got == [0, 1, 2]


def test_no_more_than_a_few_are_made_before_they_are_asked_for_and_none_behind_the_last_one() -> None:
    made = []

    def items() -> Iterator[int]:
        for i in range(1000):
            made.append(i)
            yield i

    found = ahead(items())
    assert next(found) == 0
    found.close()  # waits for what is being made
    assert len(made) <= 3
    assert not [t for t in threading.enumerate() if t.name.startswith("in-order")]
