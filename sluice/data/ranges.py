"""A large file from elsewhere, brought by ranges of its bytes, several at a time: what breaks off goes on where it stopped."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

#: Bytes of a range, ranges at a time, tries of each, seconds before the second try (twice as many before each further one).
PART, AT_ONCE, TRIES, PAUSE = 16 << 20, 4, 4, 0.2


class Broken(Exception):
    """A range that ended early, or could not be had now: asked for again from where it stopped."""


def in_parts(target: Path, size: int, read: Callable[[int, int], Iterator[bytes]], have: int = 0) -> None:
    """Fill a file with ranges of `PART` bytes. Memory holds a block of each range that is under way.

    Args:
        target: the file, which has its first `have` bytes.
        size: bytes of the whole.
        read: the blocks of the bytes from one place (0 is the first) up to another, which is left out. A `Broken` of it is tried again, all else ends
            everything.

    Raises:
        Broken: a range was not whole after `TRIES` tries.
    """
    with target.open("r+b" if have else "wb") as file:
        file.truncate(size)
        handle = file.fileno()

        def fill(first: int) -> None:
            at, end = first, min(first + PART, size)
            for left in reversed(range(TRIES)):
                before = at
                try:
                    for block in read(at, end):
                        if at + len(block) > end:
                            raise Broken(f"more than the {end - first:,} bytes that were asked for came")
                        os.pwrite(handle, block, at)
                        at += len(block)
                    if at == end:
                        return
                    raise Broken(f"{at - first:,} of {end - first:,} bytes came")
                except Broken:
                    if not left:
                        raise
                    time.sleep(PAUSE * 2 ** (TRIES - 1 - left) if at == before else 0)

        with ThreadPoolExecutor(AT_ONCE) as pool:
            parts = [pool.submit(fill, first) for first in range(have, size, PART)]
            try:
                for part in parts:
                    part.result()
            except BaseException:
                for part in parts:
                    part.cancel()
                raise
