"""From a waveform to its log-mel spectrogram, inside the graph; and what is changed of it at random while a network is trained."""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import nn
from torch.nn import functional as F

#: Seconds of a window and between two of them.
WINDOW, HOP = 0.025, 0.010
#: What is loud enough to be told from silence, in shares of the clip's mean.
FLOOR = 1e-4
#: Numbers drawn a row: see `Changes.of`.
DRAWS = 20
#: Ways of moving all frequencies that there are to choose from.
_WARPS = 9


def geometry(rate: int) -> tuple[int, int, int]:
    """(samples a window, samples between two windows, bands by default) at so many samples a second."""
    return max(32, round(rate * WINDOW)), max(8, round(rate * HOP)), 40 if rate <= 11025 else 64


def fourier(window: int) -> torch.Tensor:
    """The real discrete Fourier transform of a Hann window as the weights of a convolution: [2 (window // 2 + 1), 1, window].

    Cosines first, then sines, scaled so that a sine of amplitude 1 has power 1 at its frequency.
    """
    at = torch.arange(window, dtype=torch.float64)
    hann = 0.5 - 0.5 * torch.cos(2 * math.pi * at / window)
    angle = 2 * math.pi * torch.outer(torch.arange(window // 2 + 1, dtype=torch.float64), at) / window
    basis = torch.cat([torch.cos(angle), torch.sin(angle)]) * (hann * 2 / hann.sum())
    return basis.float().unsqueeze(1)


def mel_bank(rate: int, window: int, bands: int, warp: float = 1.0) -> torch.Tensor:
    """Triangles of equal width in mel (O'Shaughnessy, Speech Communication, 1987) over the transform's frequencies: [frequencies, bands].

    Args:
        warp: the frequencies of the sound are taken to be so many times as high (Jaitly, Hinton, Vocal Tract Length
            Perturbation, ICML workshop 2013).
    """
    hertz = torch.arange(window // 2 + 1, dtype=torch.float64) * rate / window * warp
    top = 2595 * math.log10(1 + rate / 2 / 700)
    edges = 700 * (10 ** (torch.linspace(0, top, bands + 2, dtype=torch.float64) / 2595) - 1)
    middle = edges[1:-1]
    # A triangle narrower than the transform's own step would miss every frequency.
    low = torch.minimum(edges[:-2], middle - rate / window)
    high = torch.maximum(edges[2:], middle + rate / window)
    rising, falling = (hertz[:, None] - low) / (middle - low), (high - hertz[:, None]) / (high - middle)
    bank = torch.minimum(rising, falling).clamp(min=0)
    return (bank / bank.sum(0).clamp(min=1e-9)).float()


@dataclasses.dataclass(frozen=True)
class Changes:
    """How strongly training clips are changed.

    Attributes:
        warp: most that all frequencies are moved up or down, as a share. 0: not at all.
        tempo: most that a clip becomes longer or shorter, as a share.
        colour: most that a band becomes louder or softer, in units of the natural logarithm of power.
        noise: loudest noise, in shares of the clip's mean power.
        hidden: widest strip of bands, and longest of time, that are hidden, as a share; two of each.
    """

    warp: float = 0.2
    tempo: float = 0.2
    colour: float = 1.0
    noise: float = 0.05
    hidden: float = 0.2


class LogMel(nn.Module):
    """Waveforms [rows, samples] and their lengths [rows, 1] to standardised log-mel spectrograms [rows, bands, frames] and their mask [rows, frames].

    The transform is a strided convolution, which ONNX Runtime runs several times as fast as its STFT. Powers are
    relative to the clip's mean: how far away a microphone was says nothing. Behind a clip's end all is 0.

    Args:
        rate: samples a second.
        bands: of the spectrogram.
        mean, std: of each band over the training clips, [bands].
        changes: what is done to clips while training; None: nothing.
    """

    def __init__(self, rate: int, bands: int, mean: list[float], std: list[float], changes: Changes | None = None):
        super().__init__()
        self.window, self.hop, _ = geometry(rate)
        self.changes = changes
        self.register_buffer("basis", fourier(self.window), persistent=False)
        self.register_buffer("bank", mel_bank(rate, self.window, bands), persistent=False)
        self.register_buffer("mean", torch.tensor(mean).reshape(1, -1, 1), persistent=False)
        self.register_buffer("scale", 1 / torch.tensor(std).reshape(1, -1, 1), persistent=False)
        if changes is not None:
            factors = torch.linspace(1 - changes.warp, 1 + changes.warp, _WARPS).tolist()
            self.register_buffer("banks", torch.stack([mel_bank(rate, self.window, bands, f) for f in factors]), persistent=False)

    def forward(self, audio: torch.Tensor, length: torch.Tensor, draws: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """FP32 and INT64, and numbers in [0, 1) [rows, `DRAWS`] where the clips are to be changed."""
        power, mask = self.power(audio, length)
        if draws is not None and self.changes is not None:
            return self._changed(power, mask, draws)
        return self._standardised(_relative(torch.einsum("rft,fb->rbt", power, self.bank), mask), mask), mask

    def power(self, audio: torch.Tensor, length: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Power of each frequency [rows, frequencies, frames], and which frames are a clip's own, 1 or 0 [rows, frames]."""
        parts = F.conv1d(audio.unsqueeze(1), self.basis, stride=self.hop, padding=self.window // 2)  # type: ignore[arg-type]
        real, imaginary = parts.chunk(2, dim=1)
        frames = length // self.hop + 1
        mask = (torch.arange(parts.shape[2], device=audio.device) < frames).to(audio.dtype)
        return real * real + imaginary * imaginary, mask

    def _standardised(self, relative: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return (torch.log(relative + FLOOR) - self.mean) * self.scale * mask.unsqueeze(1)  # type: ignore[operator]

    def _changed(self, power: torch.Tensor, mask: torch.Tensor, draws: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        how, (bands, rows) = self.changes, (self.bank.shape[1], len(draws))  # type: ignore[index]
        assert how is not None
        d = draws.unbind(1)
        # A part of the clips keeps its pitch and its pace, so that where these matter they can be learnt.
        tempo = torch.where(d[0] < 0.6, 1 + how.tempo * (2 * d[1] - 1), torch.ones_like(d[1]))
        power, mask = _stretched(power, mask, tempo)
        choice = torch.where(d[2] < 0.7, (d[3] * _WARPS).long(), torch.full_like(d[3], _WARPS // 2).long())
        relative = _relative(torch.einsum("rft,rfb->rbt", power, self.banks[choice]), mask)  # type: ignore[index]
        at = torch.linspace(-1, 1, bands, device=power.device)
        wave = (
            (2 * d[4:7][0] - 1)[:, None] * at
            + (2 * d[5] - 1)[:, None] * torch.cos(math.pi * at)
            + (2 * d[6] - 1)[:, None] * torch.sin(math.pi * at)
        )
        relative = relative * torch.exp(how.colour * wave / 2).unsqueeze(2)
        relative = relative + (how.noise * (d[7] * 2 - 1).clamp(min=0) ** 2)[:, None, None]
        out = self._standardised(_relative(relative, mask), mask)
        frames = mask.sum(1)
        for i in (8, 12):
            out = out * _strip(torch.full((rows,), float(bands), device=power.device), bands, d[i], d[i + 1], how.hidden).unsqueeze(2)
            out = out * _strip(frames, mask.shape[1], d[i + 2], d[i + 3], how.hidden).unsqueeze(1)
        return out, mask


def _relative(mel: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Powers in shares of the clip's mean over its own frames."""
    own = mask.unsqueeze(1)
    total = (mel * own).sum((1, 2), keepdim=True) / (own.sum((1, 2), keepdim=True) * mel.shape[1]).clamp(min=1)
    return mel / (total + 1e-12)


def _stretched(power: torch.Tensor, mask: torch.Tensor, tempo: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Each row in `tempo` times as many frames, between which powers are interpolated: the pitch stays."""
    frames = mask.sum(1)
    wanted = (frames * tempo).round().clamp(min=1)
    at = torch.arange(int(wanted.max()), device=power.device)[None] / tempo[:, None]
    at = torch.minimum(at, (frames - 1)[:, None])
    low = at.floor().long()
    high = torch.minimum(low + 1, (frames - 1).long()[:, None])
    share = (at - low).unsqueeze(1)
    first, second = (power.gather(2, i.unsqueeze(1).expand(-1, power.shape[1], -1)) for i in (low, high))
    own = (torch.arange(at.shape[1], device=power.device)[None] < wanted[:, None]).to(power.dtype)
    return (first * (1 - share) + second * share) * own.unsqueeze(1), own


def _strip(size: torch.Tensor, most: int, width: torch.Tensor, start: torch.Tensor, share: float) -> torch.Tensor:
    """1, and 0 in a strip of up to `share` of `size`, [rows, most] (Park et al., SpecAugment, Interspeech 2019)."""
    wide = (width * share * size).floor()
    begin = (start * (size - wide)).floor()
    at = torch.arange(most, device=size.device)[None]
    return 1 - ((at >= begin[:, None]) & (at < (begin + wide)[:, None])).to(size.dtype)
