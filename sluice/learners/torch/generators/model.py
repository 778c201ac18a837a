"""A generator of pictures: chance, and what makes a picture of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import nn

from sluice.learners.tables.codes import KNOWN
from sluice.learners.torch.generators.chance import Chance
from sluice.learners.torch.generators.gan import Adversaries
from sluice.learners.torch.generators.vae import Autoencoder
from sluice.tasks.generate import CLASS, SEED

if TYPE_CHECKING:
    from sluice.learners.state import State
    from sluice.tasks.generate import GenerateModel


class Generator(nn.Module):
    """Chance before a model that learns.

    Args:
        chance: seeds to noise and classes.
        inner: noise and classes to pictures, or with pictures to losses.
    """

    def __init__(self, chance: Chance, inner: Autoencoder | Adversaries):
        super().__init__()
        self.chance, self.inner = chance, inner

    def of(self, row: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Noise and classes of rows."""
        given = row[CLASS] - KNOWN if CLASS in row else None
        noise, drawn = self.chance(row[f"{SEED}.high"], row[f"{SEED}.low"], given)
        return noise, drawn

    def forward(self, pixels: torch.Tensor | None = None, **row: torch.Tensor) -> torch.Tensor:
        """Losses [rows, 1] with pictures, else pictures [rows, pixels]."""
        noise, classes = self.of(row)
        found: torch.Tensor = self.inner(noise, classes, pixels)
        return found


class Serving(nn.Module):
    """What is exported: seeds and classes to pictures."""

    def __init__(self, model: Generator):
        super().__init__()
        self.model = model

    def forward(self, **row: torch.Tensor) -> torch.Tensor:
        """Pixels in [0, 1], FP32 [rows, height * width * channels]."""
        noise, classes = self.model.of(row)
        return self.model.inner.draw(noise, classes).float()


def build(model: GenerateModel, state: State) -> Generator:
    """The model that the settings ask for, for pictures and classes as the state has them."""
    shape, shares = cast(list[int], state.extra["shape"]), list(state.extra["shares"].values())
    inner: Autoencoder | Adversaries
    if model.kind == "vae":
        inner = Autoencoder(shape, model.noise, model.width or 24, len(shares), model.parts)
        return Generator(Chance(model.noise + 1, shares), inner)
    inner = Adversaries(shape, model.noise, model.width or 16, len(shares))
    return Generator(Chance(model.noise, shares), inner)
