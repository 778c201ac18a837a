"""From a waveform to its log-mel spectrogram, inside the graph; and what is changed of it at random while a network is trained."""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import nn
from torch.nn import functional as F

#: Seconds of a window and between two of them.
WINDOW, HOP = 0.025, 0.010
#: Below this power, in shares of the loudest frame's, all is as good as silent; and at a clip's ends frames so soft are left out.
FLOOR, SOFT = 1e-3, 3e-3
#: Numbers drawn a row: see `Changes.of`.
DRAWS = 24
#: Frequencies over which power is levelled to tell resonances from the pitch, in hertz.
_LEVELLED = 280.0
#: Softest noise that is added, in shares of the loudest frame's power.
_SOFTEST = 1e-4


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


def mel_bank(rate: int, window: int, bands: int) -> torch.Tensor:
    """Triangles of equal width in mel (O'Shaughnessy, Speech Communication, 1987) over the transform's frequencies: [frequencies, bands]."""
    hertz = torch.arange(window // 2 + 1, dtype=torch.float64) * rate / window
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
        warp: most that all frequencies are moved up or down, as a share; resonances and pitch by themselves. 0: not at all.
        tempo: most that a clip becomes longer or shorter, as a share.
        colour: how much louder or softer bands become, in units of the natural logarithm of power.
        contrast: most that soft parts come nearer to loud ones, or go away from them, as a share.
        cut: share of the bands, from either end, that may be cut off as by a narrow line.
        noise: loudest noise, in shares of the loudest frame's power.
        hidden: widest strip of bands, and longest of time, that are hidden, as a share; two of each.
    """

    warp: float = 0.2
    tempo: float = 0.3
    colour: float = 1.5
    contrast: float = 0.3
    cut: float = 0.15
    noise: float = 0.03
    hidden: float = 0.2


class LogMel(nn.Module):
    """Waveforms [rows, samples] and their lengths [rows, 1] to standardised log-mel spectrograms [rows, 2, bands, frames] and their mask [rows, frames].

    The transform is a strided convolution, which ONNX Runtime runs several times as fast as its STFT. Powers are
    relative to the loudest frame's: how far away a microphone was says nothing, nor how long before and after the
    sound it was on. The second channel is the first without each band's mean over the clip, which is what a microphone
    and a room add; which of the two is of use is for the network to find out. Outside of the sound, from its first frame that is not soft to its last, all is 0.

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
        self.levelled = 2 * round(_LEVELLED * self.window / rate / 2) + 1
        self.register_buffer("basis", fourier(self.window), persistent=False)
        self.register_buffer("bank", mel_bank(rate, self.window, bands), persistent=False)
        self.register_buffer("mean", torch.tensor(mean).reshape(1, -1, 1), persistent=False)
        self.register_buffer("scale", 1 / torch.tensor(std).reshape(1, -1, 1), persistent=False)

    def forward(self, audio: torch.Tensor, length: torch.Tensor, draws: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """FP32 and INT64, and numbers in [0, 1) [rows, `DRAWS`] where the clips are to be changed."""
        power, mask = self.power(audio, length)
        if draws is not None and self.changes is not None:
            return self._changed(power, mask, draws)
        mel = torch.einsum("rft,fb->rbt", power, self.bank)
        mask = sounding(mel.mean(1), mask)
        return self._standardised(_relative(mel, mask), mask), mask

    def power(self, audio: torch.Tensor, length: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Power of each frequency [rows, frequencies, frames], and which frames are a clip's own, 1 or 0 [rows, frames]."""
        parts = F.conv1d(audio.unsqueeze(1), self.basis, stride=self.hop, padding=self.window // 2)  # type: ignore[arg-type]
        real, imaginary = parts.chunk(2, dim=1)
        frames = length // self.hop + 1
        mask = (torch.arange(parts.shape[2], device=audio.device) < frames).to(audio.dtype)
        return real * real + imaginary * imaginary, mask

    def _standardised(self, relative: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        own = mask.unsqueeze(1)
        x = (torch.log(relative + FLOOR) - self.mean) * self.scale * own  # type: ignore[operator]
        middle = x.sum(2, keepdim=True) / own.sum(2, keepdim=True).clamp(min=1)
        return torch.stack([x, (x - middle) * own], dim=1)

    def _changed(self, power: torch.Tensor, mask: torch.Tensor, draws: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        how, (bands, rows) = self.changes, (self.bank.shape[1], len(draws))  # type: ignore[index]
        assert how is not None
        d = draws.unbind(1)
        # A part of the clips keeps its pitch and its pace, so that where these matter they can be learnt.
        tempo = torch.where(d[0] < 0.6, 1 + how.tempo * (2 * d[1] - 1), torch.ones_like(d[1]))
        power, mask = _stretched(power, mask, tempo)
        if how.warp:
            power = self._voiced(power, *(torch.where(d[2] < 0.75, 1 + how.warp * (2 * u - 1), torch.ones_like(u)) for u in d[3:5]))
        mel = torch.einsum("rft,fb->rbt", power, self.bank)
        mask = sounding(mel.mean(1), mask)
        relative = _relative(mel, mask)
        at = torch.linspace(-1, 1, bands, device=power.device)
        curves = torch.stack([at, torch.cos(math.pi * at), torch.sin(math.pi * at), torch.cos(2 * math.pi * at)])
        relative = relative * torch.exp(how.colour * (2 * draws[:, 5:9] - 1) @ curves).unsqueeze(2)
        relative = _relative(relative, mask) * _passed(bands, how.cut, d[18], d[19]).unsqueeze(2)
        relative = relative + (_SOFTEST * (how.noise / _SOFTEST) ** d[9])[:, None, None]
        relative = (relative + 1e-9) ** (1 + how.contrast * (2 * d[20] - 1))[:, None, None]
        out = self._standardised(relative, mask)
        out = out * torch.stack([d[21] > 0.1, d[21] < 0.9], dim=1).to(out.dtype)[:, :, None, None]
        frames = mask.sum(1)
        for i in (10, 14):
            out = out * _strip(torch.full((rows,), float(bands), device=power.device), bands, d[i], d[i + 1], how.hidden)[:, None, :, None]
            out = out * _strip(frames, mask.shape[1], d[i + 2], d[i + 3], how.hidden)[:, None, None, :]
        return out, mask

    def _voiced(self, power: torch.Tensor, resonances: torch.Tensor, pitch: torch.Tensor) -> torch.Tensor:
        """Power [rows, frequencies, frames] as another voice has it: its level over neighbouring frequencies moved by one factor, what is left by another.

        The first is what Vocal Tract Length Perturbation does (Jaitly, Hinton, ICML workshop 2013).
        """
        level = F.avg_pool1d(power.transpose(1, 2), self.levelled, 1, self.levelled // 2).transpose(1, 2)
        return _moved(level, resonances) * _moved(power / (level + 1e-10), pitch).clamp(max=20)


def _moved(x: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """[rows, frequencies, frames] with all frequencies `factor` times as high; above the last one, the last."""
    last = x.shape[1] - 1
    at = (torch.arange(x.shape[1], device=x.device)[None] / factor[:, None]).clamp(max=last)
    low = at.floor().long()
    high, share = (low + 1).clamp(max=last), (at - low).unsqueeze(2)
    first, second = (x.gather(1, i.unsqueeze(2).expand(-1, -1, x.shape[2])) for i in (low, high))
    return first * (1 - share) + second * share


def _relative(mel: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Powers in shares of the loudest frame's mean over the bands."""
    # Not added: the exporter takes a sum with so small a number for the other term, and silence would become 0 / 0.
    loudest = (mel.mean(1) * mask).amax(1).clamp(min=1e-12)
    return mel / loudest[:, None, None]


def sounding(loudness: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The mask without the soft frames at both ends.

    Args:
        loudness: of each frame [rows, frames].
        mask: 1 for a clip's own frames [rows, frames].
    """
    own = loudness * mask
    loud = (own >= SOFT * own.amax(1, keepdim=True)).to(mask.dtype) * mask
    before, all_ = torch.cumsum(loud, 1), loud.sum(1, keepdim=True)
    return mask * ((before > 0) & (before - loud < all_)).to(mask.dtype)


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


def _passed(bands: int, share: float, low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
    """What is left of each band's power behind a line that passes no low and no high sounds, [rows, bands]; half of the lines pass all."""
    at = torch.arange(bands, device=low.device)[None]
    below, above = (((2 * u - 1).clamp(min=0) * share * bands)[:, None] for u in (low, high))
    return torch.sigmoid(4 * (at - below) + 4) * torch.sigmoid(4 * (bands - 1 - above - at) + 4)


def _strip(size: torch.Tensor, most: int, width: torch.Tensor, start: torch.Tensor, share: float) -> torch.Tensor:
    """1, and 0 in a strip of up to `share` of `size`, [rows, most] (Park et al., SpecAugment, Interspeech 2019)."""
    wide = (width * share * size).floor()
    begin = (start * (size - wide)).floor()
    at = torch.arange(most, device=size.device)[None]
    return 1 - ((at >= begin[:, None]) & (at < (begin + wide)[:, None])).to(size.dtype)
