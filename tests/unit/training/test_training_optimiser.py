"""The optimiser against torch's own, freezing, the moving average, the loss scale."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from sluice.core.errors import ProjectError
from sluice.learners.torch.config import TrainConfig
from sluice.learners.torch.ema import Average
from sluice.learners.torch.optimiser import Optimiser, freeze
from sluice.learners.torch.plan import Plan
from sluice.learners.torch.precision import LossScale, Precision


def network() -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.BatchNorm1d(8), nn.Linear(8, 2))


def groups(model, decay):
    return [
        {"params": [p for p in model.parameters() if p.ndim >= 2], "weight_decay": decay},
        {"params": [p for p in model.parameters() if p.ndim < 2], "weight_decay": 0.0},
    ]


@pytest.mark.parametrize("settings", [{"optimizer": "adamw"}, {"optimizer": "sgd"}, {"optimizer": "sgd", "momentum": 0.0}])
def test_steps_are_those_of_torch(settings):
    config = Plan(learning_rate=0.05, weight_decay=0.1, **settings)
    ours, theirs = network(), network()
    mine = Optimiser(ours, config)
    if config.optimizer == "adamw":
        reference = torch.optim.AdamW(groups(theirs, 0.1), lr=0.05, fused=True)
    else:
        reference = torch.optim.SGD(groups(theirs, 0.1), lr=0.05, momentum=config.momentum)
    x = torch.randn(16, 4)
    for step in range(5):
        for model in (ours, theirs):
            (model(x) ** 2).sum().backward()
        for group in reference.param_groups:
            group["lr"] = mine.rate = 0.05 / (step + 1)
        mine.step()
        mine.clear()
        reference.step()
        reference.zero_grad()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)


def test_a_restored_optimiser_goes_on_bit_for_bit():
    x = torch.randn(16, 4)
    model = network()
    optimiser = Optimiser(model, Plan())

    def step(m, o):
        (m(x) ** 2).sum().backward()
        o.step()
        o.clear()

    step(model, optimiser)
    twin = copy.deepcopy(model)
    other = Optimiser(twin, Plan())
    other.load({k: v.clone() for k, v in optimiser.tensors().items()})
    step(model, optimiser)
    step(twin, other)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), twin.parameters(), strict=True))


def test_parameters_without_a_gradient_stay():
    model = network()
    before = model[0].weight.detach().clone()
    optimiser = Optimiser(model, Plan(weight_decay=0.5))
    model[3].weight.sum().backward()
    optimiser.step()
    assert torch.equal(model[0].weight, before)


def test_freezing_by_name_module_or_pattern():
    model = network()
    assert freeze(model, ["0", "2.b*"]) == ["0.bias", "0.weight", "2.bias"]
    assert Optimiser(model, Plan()).parameters == [model[3].weight, model[2].weight, model[3].bias]
    with pytest.raises(ProjectError, match="matches no parameter"):
        freeze(model, ["encoder.*"])
    with pytest.raises(ProjectError, match="leaves no parameter"):
        freeze(model, ["*"])


def test_the_average_follows_and_can_be_applied_for_a_while():
    model = network()
    average = Average(model, 0.9)
    start = model[0].weight.detach().clone()
    with torch.no_grad():
        model[0].weight += 1
    average.update(step=10_000)
    live = model[0].weight.detach().clone()
    with average.applied():
        torch.testing.assert_close(model[0].weight.detach(), start + 0.1)
    assert torch.equal(model[0].weight, live)


def test_a_loss_scale_is_halved_by_an_overflow_and_doubled_after_good_steps():
    p = nn.Parameter(torch.ones(2))
    scale = LossScale(8.0, growth=2)
    p.grad = torch.tensor([float("inf"), 1.0])
    assert not scale.unscale([p])
    assert scale.value == 4.0
    for _ in range(2):
        p.grad = torch.tensor([4.0, 8.0])
        assert scale.unscale([p])
    assert p.grad.tolist() == [1.0, 2.0]
    assert scale.value == 8.0


def test_fp16_needs_a_gpu():
    with pytest.raises(ProjectError, match="use bf16 or fp32"):
        Precision(TrainConfig(precision="fp16"), torch.device("cpu"))


def test_weights_are_the_models_own_again_however_a_use_of_the_average_ends():
    model = network()
    average, live = Average(model, 0.9), [p.detach().clone() for p in model.parameters()]
    for name in average.tensors:
        average.tensors[name] = average.tensors[name] + 1
    broken = dict(list(average.tensors.items())[:1])
    with pytest.raises(RuntimeError), average.applied():
        raise RuntimeError("a loader was killed")
    average.tensors = broken  # half of them on, then an error
    with pytest.raises(KeyError), average.applied():
        pass
    assert all(torch.equal(p, was) for p, was in zip(model.parameters(), live, strict=True))
