"""A network that answers a symbol or none at each frame, and the text of them (connectionist temporal classification: Graves et al., ICML 2006)."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from sluice.learners.torch.sounds.models import Convolutional, Transformer
from sluice.learners.torch.sounds.spectrum import LogMel

#: The code of no symbol; the others come behind it.
BLANK = 0
#: As good as impossible.
_NEVER = -1e4


class Context(nn.Module):
    """What lies around a frame: a convolution over time of each feature by itself, then one of all features, beside what was there."""

    def __init__(self, width: int, apart: int, dropout: float):
        super().__init__()
        self.around = nn.Conv1d(width, width, 5, padding=2 * apart, dilation=apart, groups=width)
        self.mix, self.norm, self.dropout = nn.Linear(width, width), nn.LayerNorm(width), nn.Dropout(dropout)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """[rows, frames, width] to the same, 0 behind a clip's end."""
        own = mask.unsqueeze(2)
        found = self.around((x * own).transpose(1, 2)).transpose(1, 2)
        out: torch.Tensor = (x + self.dropout(F.relu(self.norm(self.mix(found))))) * own
        return out


class Transcriber(nn.Module):
    """Spectrogram, encoder, what lies around each frame, and a linear head.

    Args:
        front: makes the spectrogram.
        encoder: of frames.
        symbols: how many there are, without the blank.
        dropout: of features.
    """

    def __init__(self, front: LogMel, encoder: Convolutional | Transformer, symbols: int, dropout: float):
        super().__init__()
        self.front, self.encoder = front, encoder
        self.contexts = nn.ModuleList(Context(encoder.width, apart, dropout) for apart in (1, 2))
        self.dropout, self.head = nn.Dropout(dropout), nn.Linear(encoder.width, symbols + 1)

    def forward(self, audio: torch.Tensor, length: torch.Tensor, draws: torch.Tensor | None = None) -> torch.Tensor:
        """Waveforms FP32 [rows, samples] and lengths INT64 [rows, 1] to logits [rows, frames, symbols + 1]; outside of the sound nothing but the blank."""
        x, mask = self.encoder(*self.front(audio, length, draws))
        for context in self.contexts:
            x = context(x, mask)
        out = self.head(self.dropout(x))
        silence = torch.full_like(out[:1, :1], _NEVER)
        silence = torch.cat([torch.zeros_like(silence[..., :1]), silence[..., 1:]], dim=2)
        return torch.where(mask.unsqueeze(2) > 0, out, silence)


class Greedy(nn.Module):
    """The likeliest symbol of each frame, repetitions taken together, blanks left out: [rows, longest, 2], index (-1 behind the last) and probability."""

    def __init__(self, longest: int):
        super().__init__()
        self.longest = longest

    def forward(self, logits: torch.Tensor) -> torch.Tensor:
        best, code = torch.softmax(logits, dim=2).max(dim=2)
        heard = code != BLANK
        before = torch.cat([torch.zeros_like(code[:, :1]), code[:, :-1]], dim=1)
        place = torch.cumsum((heard & (code != before)).long(), dim=1) - 1
        # What is not heard, and what comes behind the longest answer, goes where nobody looks.
        at = torch.where(heard, place, self.longest).clamp(max=self.longest)
        none = torch.zeros(logits.shape[0], self.longest + 1, dtype=logits.dtype, device=logits.device)
        symbols = none.scatter(1, at, code.to(logits.dtype)) - 1
        sure = none.scatter_reduce(1, at, best, "amax")
        return torch.stack([symbols, sure], dim=2)[:, : self.longest]


class Serving(nn.Module):
    """A trained network with `Greedy` behind it."""

    def __init__(self, model: nn.Module, longest: int):
        super().__init__()
        self.model, self.decode = model, Greedy(longest)

    def forward(self, **tensors: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.decode(self.model(**tensors).float())
        return out


def loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Mean over the rows of -log of what all ways to say a transcript have together, a symbol.

    On the CPU: CUDA's has a gradient that differs from run to run. A row whose transcript its frames cannot hold, as a clip told faster, teaches nothing.

    Args:
        logits: [rows, frames, symbols + 1].
        targets: INT64 [rows, places], indices of symbols; below 0 there is none.
    """
    said = torch.log_softmax(logits.float(), dim=2).transpose(0, 1).cpu()
    own = (targets >= 0).cpu()
    frames = torch.full((said.shape[1],), said.shape[0], dtype=torch.long)
    found = F.ctc_loss(said, targets.cpu()[own] + 1, frames, own.sum(1), blank=BLANK, zero_infinity=True)
    return found.to(logits.device)
