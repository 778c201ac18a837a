"""Networks over spectrograms. torch is imported here, so only inside training and export."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F

from sluice.learners.torch.sounds.spectrum import LogMel
from sluice.learners.torch.texts.encoders import Layer
from sluice.tasks.audio import AudioModel


def halved(mask: torch.Tensor) -> torch.Tensor:
    """The mask of half as many frames: a frame is a clip's own where the first of its two is."""
    return mask[:, ::2]


class Stage(nn.Module):
    """Convolution 3x3, batch norm, ReLU; behind a clip's end all stays 0, so that no answer depends on what else is in its batch.

    Args:
        inside, outside: channels.
        bands, frames: whether it halves these.
    """

    def __init__(self, inside: int, outside: int, bands: bool, frames: bool):
        super().__init__()
        self.conv = nn.Conv2d(inside, outside, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(outside)
        self.pool = (2 if bands else 1, 2 if frames else 1)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """[rows, channels, bands, frames] and the mask [rows, frames] to the same, halved."""
        x = F.relu(self.norm(self.conv(x))) * mask[:, None, None, :]
        if self.pool != (1, 1):
            x = F.max_pool2d(x, self.pool, ceil_mode=True)
        return x, halved(mask) if self.pool[1] == 2 else mask


class Stages(nn.Module):
    """Stages one after another, then bands and channels as one axis: [rows, 2, bands, frames] to [rows, frames, features]."""

    def __init__(self, bands: int, widths: list[int], halve_frames: list[bool], halve_bands: list[bool]):
        super().__init__()
        self.stages = nn.ModuleList()
        inside = 2
        for width, frames, lower in zip(widths, halve_frames, halve_bands, strict=True):
            self.stages.append(Stage(inside, width, lower, frames))
            bands, inside = (-(-bands // 2) if lower else bands), width
        self.features = bands * inside

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = x.contiguous(memory_format=torch.channels_last)  # a step takes two thirds of the time
        for stage in self.stages:
            x, mask = stage(x, mask)
        return x.flatten(1, 2).transpose(1, 2), mask


class Convolutional(nn.Module):
    """Four stages, and a layer that sees all bands at once: [rows, 2, bands, frames] to [rows, frames / 2**halvings, width].

    Args:
        bands: of the spectrogram.
        width: channels of the first stage.
        dropout: of features.
        halvings: of the frames, by the first stages.
    """

    def __init__(self, bands: int, width: int, dropout: float, halvings: int = 3):
        super().__init__()
        self.body = Stages(bands, [width, 2 * width, 4 * width, 4 * width], [i < halvings for i in range(4)], [True, True, True, False])
        self.width = 4 * width
        self.join = nn.Linear(self.body.features, self.width, bias=False)
        self.norm = nn.LayerNorm(self.width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x, mask = self.body(x, mask)
        return F.relu(self.norm(self.join(self.dropout(x)))), mask


class Transformer(nn.Module):
    """Two stages and pre-norm layers of attention over what they leave: [rows, 2, bands, frames] to [rows, frames / 2**halvings, hidden].

    Args:
        bands: of the spectrogram.
        width: channels of the stages.
        hidden, layers, heads, dropout: of the attention.
        halvings: of the frames, by the stages.
    """

    def __init__(self, bands: int, width: int, hidden: int, layers: int, heads: int, dropout: float, halvings: int = 2):
        super().__init__()
        self.body = Stages(bands, [width, width], [i < halvings for i in range(2)], [True, True])
        self.join, self.width = nn.Linear(self.body.features, hidden), hidden
        self.register_buffer("rates", torch.exp(torch.arange(0, hidden, 2) * (-math.log(1e4) / hidden)), persistent=False)
        self.layers = nn.ModuleList(Layer(hidden, heads, dropout) for _ in range(layers))
        self.norm, self.dropout = nn.LayerNorm(hidden), nn.Dropout(dropout)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x, mask = self.body(x, mask)
        angle = torch.arange(x.shape[1], device=x.device, dtype=x.dtype)[:, None] * self.rates  # type: ignore[operator]
        x = self.dropout(self.join(x) + torch.cat([torch.sin(angle), torch.cos(angle)], dim=1))
        bias = (1.0 - mask[:, None, None, :]) * -1e4
        for layer in self.layers:
            x = layer(x, bias)
        return self.norm(x), mask


def encoder(model: AudioModel, bands: int, **halvings: int) -> Convolutional | Transformer:
    """The network that ``model.network`` names; `halvings`: of the frames, where it is not to be as many as a label takes."""
    if model.network == "cnn":
        return Convolutional(bands, model.width, model.dropout, **halvings)
    return Transformer(bands, 2 * model.width, model.hidden, model.layers, model.heads, model.dropout, **halvings)


class Classifier(nn.Module):
    """Spectrogram, encoder, a weighted mean and the maximum over a clip's own frames, a linear head."""

    def __init__(self, front: LogMel, encoder: Convolutional | Transformer, labels: int, dropout: float):
        super().__init__()
        self.front, self.encoder = front, encoder
        self.weigh = nn.Linear(encoder.width, 1)
        self.dropout, self.head = nn.Dropout(dropout), nn.Linear(2 * encoder.width, labels)

    def forward(self, audio: torch.Tensor, length: torch.Tensor, draws: torch.Tensor | None = None) -> torch.Tensor:
        """Waveforms FP32 [rows, samples] and lengths INT64 [rows, 1] to logits [rows, labels]."""
        x, mask = self.encoder(*self.front(audio, length, draws))
        # Chosen and not added: a sum with so low a number would take all of an 8-bit scale.
        own, low = mask.unsqueeze(2) > 0, torch.full_like(mask[:1, :1], -1e4).unsqueeze(2)
        mean = (x * torch.softmax(torch.where(own, self.weigh(x), low), dim=1)).sum(1)
        most = torch.where(own, x, low).amax(1)
        out: torch.Tensor = self.head(self.dropout(torch.cat([mean, most], dim=1)))
        return out
