"""Gradients summed over processes: through shared memory or gloo, each ends with the same ones, clipped once, and with the same weights."""

from __future__ import annotations

import functools
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

from sluice.learners.torch.distributed import World
from sluice.learners.torch.loop import Trainer
from sluice.learners.torch.optimiser import Optimiser
from sluice.learners.torch.plan import Plan
from sluice.learners.torch.reduce import SHARED_FD, FlatReducer, Reducer, _movable, make_reducer
from sluice.learners.torch.shared import SharedReducer
from sluice.learners.torch.worker import lost_peer

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


def joined(rank: int, memory: str, folder: str, work: Callable[[int, int, str], None]) -> None:
    fd = os.open(memory, os.O_RDWR)
    os.environ |= {SHARED_FD: str(fd), "LOCAL_WORLD_SIZE": str(SIZE)}
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=SIZE)
    work(rank, fd, folder)


def among(folder: Path, work: Callable[[int, int, str], None]) -> list[Any]:
    """What each of the processes left behind."""
    fd = os.memfd_create("gradients")
    # Not forked from here: autograd refuses to work in the fork of a process that it has worked in, as other tests made it.
    context = mp.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    memory = f"/proc/{os.getpid()}/fd/{fd}"
    children = [context.Process(target=joined, args=(rank, memory, str(folder), work), daemon=True) for rank in range(SIZE)]
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
    return [torch.load(folder / f"{rank}.pt") for rank in range(SIZE)]


def work(rank: int, fd: int, folder: str, wide: int) -> None:
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
    if rank == SIZE - 1:
        torch.save(found, f"{folder}/{rank}.pt")
        os._exit(0)
    try:
        reducer.reduce()
    except RuntimeError as e:
        found["alone"] = lost_peer(e)
    torch.save(found, f"{folder}/{rank}.pt")


class Twice(nn.Module):
    """A weight in two places, one that is frozen, and one that only a step's first part uses."""

    def __init__(self, wide: int):
        super().__init__()
        torch.manual_seed(7)
        self.into, self.out, self.sometimes = nn.Linear(4, wide), nn.Linear(wide, 3, bias=False), nn.Parameter(torch.ones(3))
        self.gain = nn.Parameter(torch.tensor(2.0))
        self.frozen = nn.Parameter(torch.ones(3), requires_grad=False)

    def forward(self, x: torch.Tensor, first: bool) -> torch.Tensor:
        out: torch.Tensor = self.out(self.into(x) * self.gain * self.into.weight.mean(1)) * self.frozen
        return out * self.sometimes if first else out


def trained(net: nn.Module, reducer: Reducer, config: Plan, rank: int, size: int) -> list[torch.Tensor]:
    """Weights, then moments, after some steps of two parts each, on this process's share of the rows."""
    optimiser = Optimiser(net, config, reducer)
    for step in range(STEPS):
        rows = torch.randn(12, 4, generator=torch.Generator().manual_seed(step))[rank::size]
        for number, part in enumerate(rows.chunk(2)):
            with reducer.part(number == 1):
                (reducer.module(part, number == 0).square().sum() / 36).backward()
        if rank == 2:
            time.sleep(0.05)
        reducer.reduce()
        reducer.clip(optimiser.parameters, 0.5)
        if rank == 1:
            time.sleep(0.05)
        optimiser.step()
        reducer.updated()
        optimiser.clear()
    return [t.detach().clone() for t in (*net.parameters(), *optimiser.tensors().values())]


CONFIGS = [{"optimizer": "adamw", "weight_decay": 0.1}, {"optimizer": "sgd", "momentum": 0.9}, {"optimizer": "sgd", "momentum": 0.0}]


def train(rank: int, fd: int, folder: str) -> None:
    found = {}
    for i, settings in enumerate(CONFIGS):
        net = Twice(300_000)
        reducer = make_reducer(net, World(rank, SIZE, rank, torch.device("cpu")))
        assert isinstance(reducer, SharedReducer)
        found[i] = trained(net, reducer, Plan(learning_rate=0.01, **settings), rank, SIZE)
    torch.save(found, f"{folder}/{rank}.pt")


def test_steps_of_several_processes_are_those_of_one(tmp_path: Path) -> None:
    each = among(tmp_path, train)
    for i, settings in enumerate(CONFIGS):
        net = Twice(300_000)
        begin = [p.detach().clone() for p in net.parameters()]
        alone = trained(net, Reducer(net), Plan(learning_rate=0.01, **settings), 0, 1)
        begin += [torch.zeros(())] * (len(alone) - len(begin))  # moments and counts
        for found in each:
            for mine, first, wanted, start in zip(found[i], each[0][i], alone, begin, strict=True):
                assert torch.equal(mine, first)
                # Of all that it moved: where a gradient is next to nothing, AdamW makes a step of its last bits.
                assert (mine - wanted).norm() <= 0.05 * (wanted - start).norm()


class Columns(nn.Module):
    """Memory of a parameter in another order than its shape, as ``channels_last`` leaves it; and one with gaps."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(7)
        self.columns = nn.Parameter(torch.randn(3, 4).t())
        self.gaps = nn.Parameter(torch.randn(4, 6)[:, ::2])

    def forward(self, x: torch.Tensor, first: bool) -> torch.Tensor:
        return x @ self.columns + x @ self.gaps


def train_columns(rank: int, fd: int, folder: str) -> None:
    net = Columns()
    reducer = make_reducer(net, World(rank, SIZE, rank, torch.device("cpu")))
    torch.save(trained(net, reducer, Plan(learning_rate=0.01), rank, SIZE)[:2], f"{folder}/{rank}.pt")


def test_the_order_of_a_parameters_memory_changes_nothing(tmp_path: Path) -> None:
    net = Columns()
    for p in net.parameters():
        p.data = p.data.contiguous()
    alone = trained(net, Reducer(net), Plan(learning_rate=0.01), 0, 1)[:2]
    for found in among(tmp_path, train_columns):
        for mine, wanted in zip(found, alone, strict=True):
            torch.testing.assert_close(mine, wanted, rtol=1e-4, atol=1e-6)


def test_parameters_in_each_others_memory_stay_where_they_are() -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    assert _movable(net, list(net.parameters()))
    net[1].weight = nn.Parameter(net[0].weight.detach())
    assert not _movable(net, list(net.parameters()))


def interrupted(rank: int, fd: int, folder: str) -> None:
    """What a killed loader does to the first process: an error at any moment, here while another one already changes weights."""
    net = model(500_000)
    world = World(rank, SIZE, rank, torch.device("cpu"))
    reducer = make_reducer(net, world)
    trainer = Trainer.__new__(Trainer)
    trainer.__dict__ |= {"world": world, "reducer": reducer, "sharded": False, "average": None, "_whole": True, "_stepping": True}
    for p, g in zip(net.parameters(), gradients(500_000, rank, 0), strict=True):
        p.grad = g
    before = net[0].weight.detach().clone()
    reducer.reduce(trainer._changing)
    if rank == 0:
        time.sleep(0.5)
        torch.save({"whole": trainer._whole, "changed": not torch.equal(net[0].weight, before)}, f"{folder}/0.pt")
        os._exit(0)
    Optimiser(net, Plan(), reducer).step()
    torch.save({}, f"{folder}/{rank}.pt")
    try:
        reducer.updated()
    except RuntimeError as e:
        assert lost_peer(e)


def test_weights_that_others_change_are_not_rescued(tmp_path: Path) -> None:
    first, *_ = among(tmp_path, interrupted)
    assert first == {"whole": False, "changed": True}


@pytest.mark.parametrize(("wide", "kind"), [(500_000, SharedReducer), (8, FlatReducer)])
def test_every_process_has_the_clipped_sum(wide: int, kind: type[FlatReducer], tmp_path: Path) -> None:
    each = among(tmp_path, functools.partial(work, wide=wide))
    assert {found["kind"] for found in each} == {kind.__name__}
    assert not any(math.isfinite(norm) for found in each for norm in found["norms"][-len(LIMITS) :])
    assert [found.get("alone") for found in each] == [True, True, None]
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
