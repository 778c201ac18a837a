"""Processes of one machine that wait for each other."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from sluice.learners.torch.barrier import Barrier
from sluice.learners.torch.distributed import World

SIZE = 3


def joined(rank: int, folder: str, work: Callable[[Barrier, int, Path], None], timeout: float) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=SIZE)
    work(Barrier(World(rank, SIZE, rank, torch.device("cpu"), timeout)), rank, Path(folder))
    os._exit(0)  # no farewell: whoever is still there finds its peers gone


def among(folder: Path, work: Callable[[Barrier, int, Path], None], timeout: float = 30.0) -> list[str]:
    """What each process wrote down."""
    context = mp.get_context("fork")
    children = [context.Process(target=joined, args=(rank, str(folder), work, timeout), daemon=True) for rank in range(SIZE)]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
        child.kill()
    return [(folder / str(rank)).read_text() if (folder / str(rank)).exists() else "" for rank in range(SIZE)]


def test_nobody_goes_on_before_the_last_has_come(tmp_path: Path) -> None:
    def work(barrier: Barrier, rank: int, folder: Path) -> None:
        seen = []
        for late in range(SIZE):
            time.sleep(0.2 if rank == late else 0)
            came = time.monotonic()
            barrier.wait()
            seen.append(f"{came} {time.monotonic()}")
        (folder / str(rank)).write_text("\n".join(seen))

    each = [[tuple(map(float, line.split())) for line in text.splitlines()] for text in among(tmp_path, work)]
    for meeting in zip(*each, strict=True):
        assert max(came for came, _ in meeting) <= min(went for _, went in meeting)


def test_the_first_may_do_something_before_anybody_goes_on(tmp_path: Path) -> None:
    def work(barrier: Barrier, rank: int, folder: Path) -> None:
        done = [0.0]

        def opening() -> None:
            time.sleep(0.2)
            done[0] = time.monotonic()

        barrier.wait(opening)
        (folder / str(rank)).write_text(f"{done[0]} {time.monotonic()}")

    each = [tuple(map(float, text.split())) for text in among(tmp_path, work)]
    assert [done > 0 for done, _ in each] == [True, False, False]
    assert all(went >= each[0][0] for _, went in each)


@pytest.mark.parametrize(("gone", "told"), [(0, [1, 2]), (2, [0, 1])])
def test_one_that_is_gone_is_told_to_all_the_others(tmp_path: Path, gone: int, told: list[int]) -> None:
    def work(barrier: Barrier, rank: int, folder: Path) -> None:
        barrier.wait()
        if rank == gone:
            os._exit(0)
        try:
            barrier.wait()
        except dist.DistError as e:
            (folder / str(rank)).write_text(str(e))

    assert [rank for rank, text in enumerate(among(tmp_path, work)) if "a process did not come" in text] == told


def test_one_that_goes_after_it_has_come_holds_nobody_up_that_time(tmp_path: Path) -> None:
    def work(barrier: Barrier, rank: int, folder: Path) -> None:
        if rank == 1:
            barrier._tell()
            os._exit(0)
        time.sleep(0.3 if rank == 0 else 0)
        barrier.wait()
        (folder / str(rank)).write_text("went on")

    assert among(tmp_path, work) == ["went on", "", "went on"]


def test_one_that_hangs_is_given_up_on_in_time(tmp_path: Path) -> None:
    def work(barrier: Barrier, rank: int, folder: Path) -> None:
        if rank == 1:
            time.sleep(2.5)
            return
        start = time.monotonic()
        try:
            barrier.wait()
        except dist.DistError as e:
            (folder / str(rank)).write_text(f"{time.monotonic() - start:.1f} {e}")

    seconds = [text.split()[0] for text in among(tmp_path, work, timeout=0.5) if text]
    assert len(seconds) == 2
    assert all(0.4 <= float(s) < 2 for s in seconds)
