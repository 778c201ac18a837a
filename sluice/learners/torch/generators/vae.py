"""A variational autoencoder (Kingma, Welling, ICLR 2014) whose prior and noise are learnt with it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn

from sluice.learners.torch.generators.layers import Draws, Looks, one_hot

#: The noise of a pixel is never less than half a step of eight bits.
_LEAST = math.log(0.5 / 255)


class Autoencoder(nn.Module):
    """Pictures to a distribution over codes and back.

    The prior over codes is a mixture of normal laws that is learnt (as in Tomczak, Welling: VAE with a VampPrior, AISTATS 2018, with free
    centres), with weights of its own for each class; the deviation of a pixel is one number, learnt too, so that what is reconstructed and
    how near the codes are to the prior find their balance by themselves (Rybkin, Daniilidis, Levine: sigma-VAE, ICML 2021).

    Args:
        shape: (height, width, channels).
        size: of a code.
        width: channels of the convolutions at full size.
        classes: how many there are; 0: none.
        parts: normal laws in the prior.
    """

    def __init__(self, shape: Sequence[int], size: int, width: int, classes: int, parts: int):
        super().__init__()
        self.size, self.classes = size, classes
        self.encoder = Looks(shape, width, 2 * size)
        self.decoder = Draws(size + classes, shape, width)
        self.weights = nn.Parameter(0.01 * torch.randn(max(classes, 1), parts))
        self.centres = nn.Parameter(torch.randn(parts, size))
        self.spread = nn.Parameter(torch.full((parts, size), -0.5))
        self.noise_level = nn.Parameter(torch.tensor([-2.0]))

    def draw(self, noise: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        """Pictures of noise.

        Args:
            noise: FP32 [rows, 1 + size], standard normal: the first number chooses a law of the prior, the others lie in it.
            codes: the class of each, INT64 [rows].

        Returns:
            Pixels in [0, 1], [rows, height * width * channels].
        """
        level = 0.5 * (1 + torch.erf(noise[:, :1] / math.sqrt(2)))
        borders = torch.softmax(self.weights, dim=1).cumsum(dim=1)[:, :-1]
        part = (level > borders[self._row(codes)]).sum(dim=1)
        z = self.centres[part] + torch.exp(self.spread)[part] * noise[:, 1:]
        found: torch.Tensor = self.decoder(torch.cat([z, one_hot(codes, self.classes)], dim=1))
        return found

    def forward(self, noise: torch.Tensor, codes: torch.Tensor, pixels: torch.Tensor | None = None) -> torch.Tensor:
        """Each row's loss, the negative evidence bound in nats a pixel [rows, 1]; without pixels what is drawn.

        Args:
            noise: of the row; when the model is judged it is what its code is drawn with, too.
            codes: of the classes.
            pixels: of the row's picture.
        """
        if pixels is None:
            return self.draw(noise, codes)
        mean, spread = self.encoder(pixels).chunk(2, dim=1)
        spread = spread.clamp(-8, 4)
        wind = torch.randn_like(mean) if self.training else noise[:, 1:]
        z = mean + torch.exp(spread) * wind
        back = self.decoder(torch.cat([z, one_hot(codes, self.classes)], dim=1))
        level = self.noise_level.clamp(min=_LEAST)
        off = (0.5 * ((pixels - back) * torch.exp(-level)) ** 2 + level).sum(dim=1)
        far = (-0.5 * wind**2 - spread).sum(dim=1) - self._log_prior(z, codes)
        return ((off + far) / pixels.shape[1])[:, None]

    def _log_prior(self, z: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        """log p(code | class) but for the constant that the code's own density lacks too: [rows]."""
        off = (z[:, None] - self.centres) * torch.exp(-self.spread)
        each = (-0.5 * off**2 - self.spread).sum(dim=2)
        return torch.logsumexp(each + torch.log_softmax(self.weights, dim=1)[self._row(codes)], dim=1)

    def _row(self, codes: torch.Tensor) -> torch.Tensor:
        return codes if self.classes else torch.zeros_like(codes)
