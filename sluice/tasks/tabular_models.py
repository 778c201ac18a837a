"""The network for tabular rows. torch is imported here, so only inside training and export."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F

from sluice.tasks.base import State
from sluice.tasks.config import TabularModel
from sluice.tasks.tabular import KNOWN, MISSING, UNKNOWN

#: Standardised values beyond this are cut off: one absurd value must not decide alone.
CUT = 8.0
#: Fraction of known categories shown to the network as unknown while training, so that the unknown has a meaning.
_HIDE = 0.01


class TabularMLP(nn.Module):
    """Standardised numbers with a flag for the missing ones, embedded categories, then a perceptron.

    `forward(**columns)` takes one tensor a column, FP32 [rows, 1] or INT64 codes [rows, 1], and
    returns logits [rows, labels] or standardised values [rows].
    """

    def __init__(self, model: TabularModel, state: State):
        super().__init__()
        # By name: a state read back from JSON has its keys sorted, and must wire the same network as a fresh one.
        numeric, categories = (dict(sorted(state.extra[kind].items())) for kind in ("numeric", "categories"))
        self.numeric, self.categorical = list(numeric), list(categories)
        self.register_buffer("mean", torch.tensor([n["mean"] for n in numeric.values()], dtype=torch.float32))
        self.register_buffer("std", torch.tensor([n["std"] for n in numeric.values()], dtype=torch.float32))
        sizes = [min(model.embedding, math.ceil(math.sqrt(len(v) + KNOWN))) for v in categories.values()]
        self.embeddings = nn.ModuleList(nn.Embedding(len(v) + KNOWN, size) for v, size in zip(categories.values(), sizes, strict=True))
        for table in self.embeddings:
            nn.init.normal_(table.weight, std=0.1)  # type: ignore[arg-type]
        width = 2 * len(numeric) + sum(sizes)
        layers: list[nn.Module] = []
        for hidden in model.hidden:
            layers += [nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(model.dropout)]
            width = hidden
        self.classes = len(state.labels) if state.objective == "classification" else 0
        self.layers = nn.Sequential(*layers, nn.Linear(width, self.classes or 1))

    def forward(self, **columns: torch.Tensor) -> torch.Tensor:
        parts = []
        if self.numeric:
            x = (torch.cat([columns[n] for n in self.numeric], dim=1) - self.mean) / self.std
            missing = torch.isnan(x)
            parts += [torch.where(missing, torch.zeros_like(x), x).clamp(-CUT, CUT), missing.to(x.dtype)]
        for name, table in zip(self.categorical, self.embeddings, strict=True):
            code = columns[name].squeeze(1)
            if self.training:
                hide = (torch.rand(code.shape, device=code.device) < _HIDE) & (code != MISSING)
                code = torch.where(hide, torch.full_like(code, UNKNOWN), code)
            parts.append(F.embedding(code, table.weight))  # type: ignore[arg-type]
        out: torch.Tensor = self.layers(torch.cat(parts, dim=1))
        return out if self.classes else out.squeeze(1)


class Denormalised(nn.Module):
    """A regression model that answers in the label's own unit, FP32 [rows]."""

    def __init__(self, model: nn.Module, mean: float, std: float):
        super().__init__()
        self.model, self.mean, self.std = model, mean, std

    def forward(self, **columns: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.model(**columns).float() * self.std + self.mean
        return out
