"""The torch modules of two towers."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from sluice.learners.recommend.ranker import Ranker
from sluice.learners.recommend.state import COUNTS
from sluice.learners.state import State

#: Of a category that is no part of the history.
_EMBEDDING = 8
#: What is taken off the score of an item that is in the history already: it cannot be what comes.
TAKEN = 1e4


class Towers(nn.Module):
    """Scores [rows, items] of a history INT64 [rows, length] and features [rows, 1].

    Args:
        state: items, how often each was taken, the features.
        dimensions: of a vector.
        dropout: share of a history's items left out while training.
        repeat: whether an item may come again.
    """

    def __init__(self, state: State, dimensions: int, dropout: float, repeat: bool):
        super().__init__()
        n = len(state.labels)
        self.items, self.dropout, self.repeat = n, dropout, repeat
        self.numbers, categories = list(state.extra.get("numeric", {})), state.extra.get("categories", {})
        self.vectors = nn.Embedding(n, dimensions)
        nn.init.normal_(self.vectors.weight, std=dimensions**-0.5)
        counts = np.array(state.extra[COUNTS], dtype=np.float64)
        self.bias = nn.Parameter(torch.from_numpy(np.log((counts + 0.5) / (counts.sum() + 0.5 * n)).astype(np.float32)))
        moments = [state.extra["numeric"][name] for name in self.numbers]
        self.register_buffer("mean", torch.tensor([m["mean"] for m in moments], dtype=torch.float32))
        self.register_buffer("std", torch.tensor([m["std"] for m in moments], dtype=torch.float32))
        self.codes = nn.ModuleDict({f"c{i}": nn.Embedding(len(values) + 2, _EMBEDDING) for i, values in enumerate(categories.values())})
        self.categories = list(categories)
        width = dimensions + 2 * len(self.numbers) + _EMBEDDING * len(self.categories)
        self.hidden, self.out = nn.Linear(width, 2 * dimensions), nn.Linear(2 * dimensions, dimensions)
        nn.init.normal_(self.out.weight, std=0.01)
        nn.init.zeros_(self.out.bias)

    def forward(self, history: torch.Tensor, **features: torch.Tensor) -> torch.Tensor:
        """Scores; an item of the history has `TAKEN` less unless it may come again."""
        known = (history < self.items).float()
        if self.training and self.dropout:
            known = known * (torch.rand_like(known) >= self.dropout)
        own = self.vectors(history.clamp(max=self.items - 1)) * known[:, :, None]
        mean = own.sum(dim=1) / known.sum(dim=1, keepdim=True).clamp(min=1).sqrt()
        parts = [mean]
        if self.numbers:
            raw = torch.cat([features[n].float() for n in self.numbers], dim=1)
            missing = torch.isnan(raw)
            parts += [torch.where(missing, torch.zeros_like(raw), (raw - self.mean) / self.std), missing.float()]
        parts += [self.codes[f"c{i}"](features[name].reshape(-1)) for i, name in enumerate(self.categories)]
        user = mean + self.out(torch.relu(self.hidden(torch.cat(parts, dim=1))))
        scores = user @ self.vectors.weight.T + self.bias
        if self.repeat:
            return scores
        held = torch.zeros(len(history), self.items + 2, device=history.device).scatter_(1, history, 1.0)[:, : self.items]
        return scores - TAKEN * held


class Ranked(nn.Module):
    """Lists of a network's scores, as `Ranker.ranked` makes them."""

    def __init__(self, model: nn.Module, ranker: Ranker):
        super().__init__()
        self.model, self.ranker = model, ranker

    def forward(self, **tensors: torch.Tensor) -> torch.Tensor:
        """FP32 [rows, places, 2]."""
        scores = self.model(**tensors).float().cpu().numpy()
        return torch.from_numpy(self.ranker.ranked(tensors["history"].cpu().numpy(), lambda codes, held: scores))
