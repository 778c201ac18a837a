"""Gradients summed over processes: through shared memory or gloo, each ends with the same ones, clipped once, and with the same weights."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

from sluice.training.config import TrainConfig
from sluice.training.distributed import World
from sluice.training.optimiser import Optimiser
from sluice.training.reduce import SHARED_FD, FlatReducer, Reducer, make_reducer
from sluice.training.shared import SharedReducer
from sluice.training.worker import lost_peer

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
            reducer.updated()
    found["trained"] = trained(net, reducer, lambda step: gradients(wide, rank, step))
    if rank == SIZE - 1:
        torch.save(found, f"{folder}/{rank}.pt")
        os._exit(0)
    try:
        reducer.reduce()
    except RuntimeError as e:
        found["alone"] = lost_peer(e)
    torch.save(found, f"{folder}/{rank}.pt")


def trained(net: nn.Module, reducer: Reducer, of_step: Callable[[int], list[torch.Tensor]]) -> list[torch.Tensor]:
    """Weights, then moments, after some steps on given gradients."""
    optimiser = Optimiser(net, TrainConfig(learning_rate=0.01, weight_decay=0.1), reducer)
    for step in range(STEPS):
        for p, g in zip(net.parameters(), of_step(step), strict=True):
            p.grad = g
        reducer.reduce()
        reducer.clip(optimiser.parameters, 1.0)
        optimiser.step()
        reducer.updated()
        optimiser.clear()
    return [t.detach().clone() for t in (*net.parameters(), *optimiser.tensors().values())]


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
    assert [found.get("alone") for found in each] == [True, True, None]
    whole = model(wide)
    alone = trained(whole, Reducer(whole), lambda step: [sum(parts) for parts in zip(*(gradients(wide, rank, step) for rank in range(SIZE)), strict=True)])
    for found in each:
        for mine, first, wanted in zip(found["trained"], each[0]["trained"], alone, strict=True):
            assert torch.equal(mine, first)
            torch.testing.assert_close(mine, wanted, rtol=1e-4, atol=1e-6)
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
