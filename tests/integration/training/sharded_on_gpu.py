"""The same five steps with and without shards, on one GPU over NCCL; prints losses and how far the weights are apart."""

from __future__ import annotations

import copy
import sys

import orjson
import torch
import torch.distributed as dist
from torch import nn
from torch.nn import functional as F

from sluice.learners.torch.distributed import World
from sluice.learners.torch.optimiser import Optimiser
from sluice.learners.torch.plan import Plan
from sluice.learners.torch.reduce import Reducer
from sluice.learners.torch.sharded import sharded_over


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.Linear(16, 16) for _ in range(3))
        self.head = nn.Linear(16, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            x = torch.relu(block(x)) + x
        out: torch.Tensor = self.head(x)
        return out


def train(model: nn.Module, reducer: Reducer) -> list[float]:
    generator, losses = torch.Generator().manual_seed(1), []
    optimiser = Optimiser(model, Plan(learning_rate=0.01, weight_decay=0.1))
    for _ in range(5):
        x, y = torch.randn(32, 16, generator=generator).cuda(), torch.randint(4, (32,), generator=generator).cuda()
        with reducer.part(True):
            loss = F.cross_entropy(reducer.module(x), y)
            loss.backward()
        reducer.reduce()
        reducer.clip(optimiser.parameters, 0.5)
        optimiser.step()
        optimiser.clear()
        losses.append(float(loss))
    return losses


def main(meeting: str) -> None:
    device = torch.device("cuda", 0)
    torch.cuda.set_device(device)
    dist.init_process_group("nccl", init_method=f"file://{meeting}", rank=0, world_size=1)
    torch.manual_seed(0)
    plain = Net()
    other = copy.deepcopy(plain)
    plain.cuda()
    whole = train(plain, Reducer(plain))
    reducer = sharded_over(other, World(0, 1, 0, device), set(other.blocks))
    sharded = train(other, reducer)
    found = reducer.gathered({k: v.detach().cpu() for k, v in reducer.state().items()})
    apart = max(float((found[k] - v.cpu()).abs().max()) for k, v in plain.state_dict().items())
    print(orjson.dumps({"whole": whole, "sharded": sharded, "weights_apart": apart}).decode())
    dist.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1])
