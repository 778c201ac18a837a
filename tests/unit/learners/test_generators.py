"""Generators: chance that every engine computes alike, pictures of any size, and two adversaries that one pass trains."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sluice.learners.torch.generators import gan
from sluice.learners.torch.generators.chance import PRIME, ROUNDS, Chance, numbers
from sluice.learners.torch.generators.gan import Adversaries
from sluice.learners.torch.generators.layers import Draws, Looks, sizes
from sluice.learners.torch.generators.network import GeneratorNetwork
from sluice.learners.torch.generators.vae import Autoencoder
from sluice.project import parse
from sluice.tasks import load_task


def plain(high: int, low: int, counter: int) -> float:
    """The generator in whole numbers of Python."""
    x = counter
    for number, constant in enumerate(ROUNDS):
        x = pow((x + (low if number % 2 else high) + constant) % PRIME, 5, PRIME)
    return (x + 0.5) / PRIME


def halves(seeds: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return (seeds // 2**24).float()[:, None], (seeds % 2**24).float()[:, None]


def test_the_numbers_are_those_of_plain_arithmetic() -> None:
    high, low = torch.tensor([[0], [5], [2**24 - 1]]), torch.tensor([[7], [0], [2**24 - 1]])
    found = numbers(high, low, torch.arange(6))
    wanted = [[plain(int(h), int(lo), c) for c in range(6)] for h, lo in zip(high, low, strict=True)]
    assert found.numpy() == pytest.approx(np.array(wanted), rel=1e-6)


def test_noise_is_normal_and_that_of_neighbouring_seeds_is_unrelated() -> None:
    noise, classes = Chance(9, [0.2, 0.3, 0.5])(*halves(torch.arange(4000)), torch.full((4000, 1), -1))
    assert abs(float(noise.mean())) < 0.02 and abs(float(noise.std()) - 1) < 0.02
    assert float((noise**4).mean()) == pytest.approx(3, abs=0.15)
    within = np.corrcoef(noise.numpy().T) - np.eye(9)
    beside = [np.corrcoef(noise[:-1, i], noise[1:, i])[0, 1] for i in range(9)]
    assert max(np.abs(within).max(), np.abs(beside).max()) < 0.08
    assert np.bincount(classes.numpy()) / 4000 == pytest.approx([0.2, 0.3, 0.5], abs=0.03)


def test_a_class_that_is_named_is_taken_and_leaves_the_noise_as_it_is() -> None:
    chance, seeds = Chance(4, [0.5, 0.5]), halves(torch.arange(20))
    drawn, _ = chance(*seeds, torch.full((20, 1), -1))
    named, classes = chance(*seeds, torch.ones(20, 1, dtype=torch.int64))
    assert torch.equal(drawn, named) and set(classes.tolist()) == {1}


@pytest.mark.parametrize(("height", "width", "channels"), [(4, 4, 1), (5, 7, 3), (8, 8, 1), (33, 20, 3)])
def test_pictures_of_any_size_are_drawn_and_looked_at(height: int, width: int, channels: int) -> None:
    drawn = Draws(6, (height, width, channels), 4)(torch.randn(3, 6))
    assert drawn.shape == (3, height * width * channels)
    assert drawn.min().item() >= 0 and drawn.max().item() <= 1
    assert Looks((height, width, channels), 4, 5)(drawn).shape == (3, 5)
    assert sizes(height, width)[0] == (height, width) and min(sizes(height, width)[-1]) <= 4


@pytest.mark.parametrize("classes", [0, 3])
def test_an_autoencoder_learns_to_give_back_what_it_saw(classes: int) -> None:
    torch.manual_seed(0)
    model = Autoencoder((4, 4, 1), 3, 8, classes, 5)
    pixels = (torch.rand(64, 1) > 0.5).float().expand(-1, 16) * 0.8 + 0.1
    codes = torch.zeros(64, dtype=torch.int64)
    optimiser = torch.optim.Adam(model.parameters(), 0.01)
    losses = []
    for _ in range(60):
        loss = model(torch.randn(64, 4), codes, pixels).mean()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(float(loss))
    assert losses[-1] < losses[0] - 1
    assert model.eval()(torch.randn(5, 4), codes[:5]).shape == (5, 16)


def test_judging_an_autoencoder_draws_nothing_at_random() -> None:
    model = Autoencoder((4, 4, 1), 3, 8, 2, 5).eval()
    rows = torch.randn(6, 4), torch.zeros(6, dtype=torch.int64), torch.rand(6, 16)
    assert torch.equal(model(*rows), model(*rows))
    assert not torch.equal(model.train()(*rows), model(*rows))


def test_each_adversary_learns_from_its_own_loss_in_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the generator learns by must not teach the discriminator to be fooled."""
    model = Adversaries((5, 5, 1), 4, 4, 2)
    rows = torch.zeros(4, 4), torch.tensor([0, 1, 1, 0]), torch.rand(4, 25)

    def gradients() -> dict[str, torch.Tensor]:
        model.zero_grad()
        torch.manual_seed(2)
        model(*rows).mean().backward()
        return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}

    both = gradients()
    assert {n.partition(".")[0] for n in both} == {"generator", "discriminator"}
    monkeypatch.setattr(gan, "functional_call", lambda module, weights, arguments: torch.zeros(4))
    alone = gradients()
    assert {n.partition(".")[0] for n in alone} == {"discriminator"}
    for name, found in alone.items():
        assert torch.equal(found, both[name]), name


def test_what_ails_a_discriminator_is_said() -> None:
    network = GeneratorNetwork(load_task(parse({"name": "g", "task": "generate", "data": {"source": "x"}, "model": {"kind": "gan"}})))
    assert "99%" in network.ails({"epoch": 9, "discriminator_right": 0.99})
    assert network.ails({"epoch": 9, "discriminator_right": 0.7}) == network.ails({"epoch": 9}) == ""


def test_a_discriminator_tells_how_it_is() -> None:
    model = Adversaries((4, 4, 1), 4, 4, 0).train()
    for _ in range(30):
        model(torch.zeros(8, 4), torch.zeros(8, dtype=torch.int64), torch.rand(8, 16))
    right, gap = model.health.tolist()
    assert 0 <= right <= 1 and np.isfinite(gap) and right != 0.5
