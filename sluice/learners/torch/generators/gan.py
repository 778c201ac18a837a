"""A generative adversarial network (Goodfellow et al., NIPS 2014) as one model with one loss a row."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional as F

from sluice.learners.torch.generators.layers import Draws, Looks, one_hot

#: How strongly, and over what distance, the discriminator is kept flat around pictures.
_FLAT, _STEP = 0.2, 0.05
#: Of the moving averages by which the discriminator's health is told.
_SLOW = 0.98


class Adversaries(nn.Module):
    """A generator and the discriminator it learns from.

    One backward pass trains both: the generator's loss goes through a discriminator whose weights are held, the discriminator's through
    pictures that are. Losses are of pairs of a real and a made picture of one class (Jolicoeur-Martineau: The relativistic discriminator,
    ICLR 2019), the discriminator is kept flat around both (Mescheder, Geiger, Nowozin: Which training methods for GANs do actually converge?,
    ICML 2018; Huang et al.: The GAN is dead; long live the GAN!, NeurIPS 2024), its slope taken as the change over a small random step.
    It sees pictures moved at random, real and made alike (Zhao et al.: Differentiable augmentation, NeurIPS 2020), and how much those of a
    batch differ (Karras et al., ICLR 2018), by which a generator that repeats itself gives itself away.

    Args:
        shape: (height, width, channels).
        size: of the noise.
        width: channels of the convolutions at full size.
        classes: how many there are; 0: none.
    """

    def __init__(self, shape: Sequence[int], size: int, width: int, classes: int):
        super().__init__()
        self.size, self.classes, self.shape = size, classes, tuple(shape)
        self.generator = Draws(size + classes, shape, width)
        self.discriminator = Discriminator(shape, width, classes)
        #: Moving averages: share of pairs told right, and the difference of what the two are given.
        self.register_buffer("health", torch.tensor([0.5, 0.0]))

    def draw(self, noise: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        """Pictures of noise FP32 [rows, size], standard normal, of classes INT64 [rows]: pixels in [0, 1], [rows, height * width * channels]."""
        found: torch.Tensor = self.generator(torch.cat([noise, one_hot(codes, self.classes)], dim=1))
        return found

    def forward(self, noise: torch.Tensor, codes: torch.Tensor, pixels: torch.Tensor | None = None) -> torch.Tensor:
        """Each row's loss [rows, 1]; without pixels, or where the model is judged, what is drawn."""
        if pixels is None or not self.training:
            return self.draw(noise, codes)
        made = self.draw(torch.randn_like(noise), codes)
        real, fake = self._moved(pixels), self._moved(made)
        held = fake.detach()
        near = [x + _STEP * torch.randn_like(x) for x in (real, held)]
        scores = self.discriminator(torch.cat([real, held, *near]), codes.repeat(4), sets=4)
        on_real, on_fake, beside_real, beside_fake = scores.chunk(4)
        with torch.no_grad():
            gap = on_real - on_fake
            found = torch.stack([(gap > 0).float().mean() + 0.5 * (gap == 0).float().mean(), gap.mean()])
            self.health.lerp_(found, 1 - _SLOW)
        slopes = (((beside_real - on_real) / _STEP) ** 2) + (((beside_fake - on_fake) / _STEP) ** 2)
        fixed = {name: p.detach() for name, p in self.discriminator.named_parameters()}
        seen = functional_call(self.discriminator, fixed, (fake, codes))
        tells = F.softplus(on_fake - on_real) + _FLAT * slopes
        return (tells + F.softplus(on_real.detach() - seen))[:, None]

    def _moved(self, pixels: torch.Tensor) -> torch.Tensor:
        """Each picture moved by up to an eighth of its size; edges repeat."""
        height, width, colours = self.shape
        rows = len(pixels)
        y = _positions(rows, height, pixels.device)
        x = _positions(rows, width, pixels.device)
        at = (y[:, :, None] * width + x[:, None, :]).reshape(rows, -1, 1).expand(-1, -1, colours)
        return pixels.reshape(rows, height * width, colours).gather(1, at).flatten(1)


class Discriminator(nn.Module):
    """A picture to how real it looks: a score of its own and one for its class (Miyato, Koyama: projection, ICLR 2018)."""

    def __init__(self, shape: Sequence[int], width: int, classes: int):
        super().__init__()
        self.body = Looks(shape, width, 4 * width, more=1)
        self.own = nn.Linear(4 * width, 1)
        self.of_class = nn.Linear(4 * width, classes, bias=False) if classes else None
        self.classes = classes

    def forward(self, pixels: torch.Tensor, codes: torch.Tensor, sets: int = 1) -> torch.Tensor:
        """Scores [rows]; higher is more real. The rows are so many sets of equal size, one behind the other: how much pictures differ is of each."""
        seen = self.body.seen(pixels)
        differ = seen.reshape(sets, -1, seen.shape[1]).std(dim=1, unbiased=False).mean(dim=1)
        differ = differ.repeat_interleave(len(seen) // sets)[:, None]
        x = F.leaky_relu(self.body.last(torch.cat([seen, differ], dim=1)), 0.2)
        score = self.own(x)[:, 0]
        if self.of_class is not None:
            score = score + (self.of_class(x) * one_hot(codes, self.classes)).sum(dim=1)
        found: torch.Tensor = score
        return found


def _positions(rows: int, length: int, device: torch.device) -> torch.Tensor:
    """Where each place of a moved line was before: INT64 [rows, length]."""
    far = max(1, length // 8) if length > 1 else 0
    moved = torch.randint(-far, far + 1, (rows, 1), device=device) + torch.arange(length, device=device)
    return moved.clamp(0, length - 1)
