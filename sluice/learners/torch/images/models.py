"""Networks for images and the random shift. torch is imported here, so only inside training and export."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from sluice.tasks.config import ImageModel


class Pixels(nn.Module):
    """A network behind its normalisation: UINT8 [rows, channels, height, width] in, logits out."""

    def __init__(self, body: nn.Module, mean: Sequence[float], std: Sequence[float]):
        super().__init__()
        self.body = body
        scale = torch.tensor([1 / (255 * s) for s in std], dtype=torch.float32).reshape(1, -1, 1, 1)
        shift = torch.tensor([-m / s for m, s in zip(mean, std, strict=True)], dtype=torch.float32).reshape(1, -1, 1, 1)
        self.register_buffer("scale", scale)
        self.register_buffer("shift", shift)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """UINT8 [rows, channels, height, width] to the body's logits FP32 [rows, labels]."""
        out: torch.Tensor = self.body(image.float() * self.scale + self.shift)
        return out


class SmallCNN(nn.Module):
    """Three convolution stages (3x3, batch norm, ReLU) that halve the image where it is large enough, then a linear head.

    The last stage is pooled to at most 4x4 cells rather than to one, so that small images keep
    where a stroke is.
    """

    def __init__(self, channels: int, size: Sequence[int], width: int, labels: int, dropout: float):
        super().__init__()
        layers: list[nn.Module] = []
        height, across = size
        inside = channels
        for outside in (width, 2 * width, 2 * width):
            layers += [nn.Conv2d(inside, outside, 3, padding=1, bias=False), nn.BatchNorm2d(outside), nn.ReLU()]
            if min(height, across) > 4:
                layers.append(nn.MaxPool2d(2, ceil_mode=False))
                height, across = height // 2, across // 2
            inside = outside
        while height * across > 64:
            layers += [nn.Conv2d(inside, inside, 3, padding=1, bias=False), nn.BatchNorm2d(inside), nn.ReLU(), nn.MaxPool2d(2)]
            height, across = max(height // 2, 1), max(across // 2, 1)
        self.features = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.Flatten(), nn.Dropout(dropout), nn.Linear(inside * height * across, labels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """FP32 [rows, channels, height, width] to logits [rows, labels]."""
        out: torch.Tensor = self.head(self.features(x))
        return out


def build(model: ImageModel, labels: int, mean: Sequence[float], std: Sequence[float]) -> nn.Module:
    """The network `model` asks for, with `labels` outputs."""
    if model.architecture == "cnn":
        return Pixels(SmallCNN(model.channels, model.size, model.width, labels, model.dropout), mean, std)
    from torchvision.models import resnet

    body: nn.Module = getattr(resnet, model.architecture)(weights=None)
    if model.channels != 3:
        body.conv1 = nn.Conv2d(model.channels, 64, 7, stride=2, padding=3, bias=False)
    body.fc = nn.Sequential(nn.Dropout(model.dropout), nn.Linear(body.fc.in_features, labels))  # type: ignore[union-attr,arg-type]
    return Pixels(body, mean, std)


def shift(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Move each image by its own random offset of up to an eighth of height and width; edges repeat.

    Args:
        images: any dtype [rows, channels, height, width].
        generator: the only source of chance.
    """
    rows, _, height, width = images.shape
    dy, dx = max(1, height // 8), max(1, width // 8)
    padded = F.pad(images.float(), (dx, dx, dy, dy), mode="replicate").to(images.dtype)
    y = torch.randint(0, 2 * dy + 1, (rows, 1), generator=generator) + torch.arange(height)
    x = torch.randint(0, 2 * dx + 1, (rows, 1), generator=generator) + torch.arange(width)
    return padded[torch.arange(rows)[:, None, None], :, y[:, :, None], x[:, None, :]].permute(0, 3, 1, 2).contiguous()
