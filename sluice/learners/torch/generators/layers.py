"""What both kinds of generator are built of: a stack that draws, a stack that looks. torch is imported here, so only inside training and export."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

#: A picture is halved until its shorter side has no more pixels than this.
_SMALLEST = 4


def sizes(height: int, width: int) -> list[tuple[int, int]]:
    """The sizes a picture goes through, the largest first: each half of the one before, rounded up."""
    found = [(height, width)]
    while min(found[-1]) > _SMALLEST:
        found.append(((found[-1][0] + 1) // 2, (found[-1][1] + 1) // 2))
    return found


def _channels(steps: int, width: int) -> list[int]:
    """Channels at each size, the largest size first: twice as many at half the size, four times at most."""
    return [width * min(2**i, 4) for i in range(steps)]


class Draws(nn.Module):
    """A vector to a picture: a linear layer, then sizes doubled (nearest) with two 3x3 convolutions each.

    Args:
        inputs: length of the vector.
        shape: (height, width, channels) of the picture.
        width: channels at full size.
    """

    def __init__(self, inputs: int, shape: Sequence[int], width: int):
        super().__init__()
        height, across, colours = shape
        self.sizes = sizes(height, across)[::-1]
        channels = _channels(len(self.sizes), width)[::-1]
        self.first = channels[0]
        self.start = nn.Linear(inputs, channels[0] * self.sizes[0][0] * self.sizes[0][1])
        before = [channels[0], *channels[:-1]]
        self.into = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in zip(before, channels, strict=True))
        self.then = nn.ModuleList(nn.Conv2d(b, b, 3, padding=1) for b in channels)
        self.last = nn.Conv2d(channels[-1], colours, 3, padding=1)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """FP32 [rows, inputs] to pixels in [0, 1], [rows, height * width * channels] (row by row, colours last)."""
        x = F.silu(self.start(z)).reshape(-1, self.first, *self.sizes[0])
        for size, into, then in zip(self.sizes, self.into, self.then, strict=True):
            if size != self.sizes[0]:
                x = F.interpolate(x, size=size, mode="nearest")
            x = F.silu(into(x))
            x = x + F.silu(then(x))
        return torch.sigmoid(self.last(x)).permute(0, 2, 3, 1).flatten(1)


class Looks(nn.Module):
    """A picture to a vector: two 3x3 convolutions at each size, then a linear layer.

    Args:
        shape: (height, width, channels) of the picture.
        width: channels at full size.
        outputs: length of the vector.
        more: numbers a row beside what is seen, before the last layer.
    """

    def __init__(self, shape: Sequence[int], width: int, outputs: int, more: int = 0):
        super().__init__()
        self.shape = tuple(shape)
        steps = sizes(shape[0], shape[1])
        channels = _channels(len(steps), width)
        before = [shape[2], *channels[:-1]]
        self.into = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in zip(before, channels, strict=True))
        self.down = nn.ModuleList(nn.Conv2d(b, b, 3, padding=1, stride=2) for b in channels[:-1])
        self.last = nn.Linear(channels[-1] * steps[-1][0] * steps[-1][1] + more, outputs)

    def seen(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pixels [rows, height * width * channels] to what the last layer takes."""
        x = pixels.reshape(-1, *self.shape).permute(0, 3, 1, 2) * 2 - 1
        for i, into in enumerate(self.into):
            x = F.leaky_relu(into(x), 0.2)
            if i < len(self.down):
                x = F.leaky_relu(self.down[i](x), 0.2)
        return x.flatten(1)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """To FP32 [rows, outputs]."""
        found: torch.Tensor = self.last(self.seen(pixels))
        return found


def one_hot(codes: torch.Tensor, classes: int) -> torch.Tensor:
    """Codes INT64 [rows] as FP32 [rows, classes]; without classes [rows, 0]."""
    return (codes[:, None] == torch.arange(classes, device=codes.device)).float()
