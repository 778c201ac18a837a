"""Gradients summed over processes: through shared memory or gloo, each process ends with the same ones, clipped once."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

from sluice.training.distributed import World
from sluice.training.reduce import SHARED_FD, FlatReducer, SharedReducer, make_reducer

SIZE, STEPS = 3, 4
#: In the last step one process has a number that is none.
BAD = (float("nan"), float("inf"))
LIMITS = (0.5, 1e9)


def model(wide: int) -> nn.Module:
    torch.manual_seed(7)
    return nn.Sequential(nn.Linear(4, wide), nn.Linear(wide, 3))


def gradients(wide: int, rank: int, step: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(100 * rank + step)
    return [torch.randn(p.shape, generator=generator) for p in model(wide).parameters()]


def spoilt(gradients: list[torch.Tensor], rank: int, step: int, number: int) -> list[torch.Tensor]:
    if step == STEPS - 1 and rank == 1:
        gradients[0][0, 0] = BAD[number]
    return gradients


def work(rank: int, fd: int, wide: int, folder: str) -> None:
    os.environ |= {SHARED_FD: str(fd), "LOCAL_WORLD_SIZE": str(SIZE)}
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=SIZE)
    net = model(wide)
    reducer = make_reducer(net, World(rank, SIZE, rank, torch.device("cpu")))
    found: dict[str, Any] = {"kind": type(reducer).__name__, "gradients": [], "norms": []}
    for step in range(STEPS):
        for number, limit in enumerate(LIMITS):
            for p, g in zip(net.parameters(), spoilt(gradients(wide, rank, step), rank, step, number), strict=True):
                p.grad = g
            reducer.reduce()
            found["norms"].append(float(reducer.clip(list(net.parameters()), limit)))
            dist.barrier()
            found["gradients"].append([p.grad.clone() for p in net.parameters() if p.grad is not None])
    torch.save(found, f"{folder}/{rank}.pt")


@pytest.mark.parametrize(("wide", "kind"), [(500_000, SharedReducer), (8, FlatReducer)])
def test_every_process_has_the_clipped_sum(wide: int, kind: type[FlatReducer], tmp_path: Path) -> None:
    fd = os.memfd_create("gradients")
    os.set_inheritable(fd, True)
    context = mp.get_context("fork")
    children = [context.Process(target=work, args=(rank, fd, wide, str(tmp_path)), daemon=True) for rank in range(SIZE)]
    try:
        for child in children:
            child.start()
        for child in children:
            child.join(120)
            assert child.exitcode == 0
    finally:
        for child in children:
            child.kill()
        os.close(fd)
    each = [torch.load(tmp_path / f"{rank}.pt") for rank in range(SIZE)]
    assert {found["kind"] for found in each} == {kind.__name__}
    assert not any(math.isfinite(norm) for found in each for norm in found["norms"][-len(LIMITS) :])
    for number in range((STEPS - 1) * len(LIMITS)):
        step, limit = divmod(number, len(LIMITS))
        wanted = [sum(parts) for parts in zip(*(gradients(wide, rank, step) for rank in range(SIZE)), strict=True)]
        norm = float(torch.sqrt(sum(g.double().square().sum() for g in wanted)))
        scale = min(1.0, LIMITS[limit] / norm)
        for found in each:
            assert found["norms"][number] == each[0]["norms"][number] == pytest.approx(norm, rel=1e-4)
            for mine, first, g in zip(found["gradients"][number], each[0]["gradients"][number], wanted, strict=True):
                assert torch.equal(mine, first)
                torch.testing.assert_close(mine, g * scale, rtol=1e-4, atol=1e-6)
