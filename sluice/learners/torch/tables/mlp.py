"""The network for tabular rows. torch is imported here, so only inside training and export."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from sluice.learners.state import State
from sluice.learners.tables.codes import KNOWN, MISSING, UNKNOWN
from sluice.tasks.config import TabularModel

#: Standardised values beyond this are cut off for the perceptrons: one absurd value must not decide alone.
CUT = 4.0
#: The linear part takes values from beyond the training rows' range, by this share of it and no more.
_BEYOND = 0.5
#: Fraction of known categories shown to the network as unknown while training, so that the unknown has a meaning.
_HIDE = 0.01
#: A category of so few values has a place of its own for each before the perceptrons; others are embedded.
_ONE_HOT = 32
#: Most piecewise-linear parts of all numbers together.
_PARTS = 600


class TabularMLP(nn.Module):
    """A linear model, and beside it several small perceptrons that learn what it leaves; the answer is the mean over these.

    Numbers are standardised, with a flag where training rows lacked some, and cut into piecewise-linear parts at
    their quantiles (Gorishniy, Rubachev, Babenko 2022). The perceptrons are one another's ensemble, of equal shape
    and with starts of their own, each with its own loss (as in Gorishniy, Kotelnikov, Babenko 2024, without shared weights).
    Their last layers start at zero: an untrained model is the linear one, which `fit_linear` can set.

    `forward(**columns)` takes one tensor a column, FP32 [rows, 1] or INT64 codes [rows, 1], and
    returns logits [rows, labels] or standardised values [rows]; while training, [rows, members, labels] and [rows, members].
    """

    def __init__(self, model: TabularModel, state: State):
        super().__init__()
        # By name: a state read back from JSON has its keys sorted, and must wire the same network as a fresh one.
        numeric, categories = (dict(sorted(state.extra[kind].items())) for kind in ("numeric", "categories"))
        self.numeric, self.categorical = list(numeric), list(categories)
        self.classes = len(state.labels) if state.problem.classes else 0
        self.outputs = self.classes or 1
        self._number_buffers(list(numeric.values()), model.bins)
        sizes = [len(v) + KNOWN for v in categories.values()]
        self.tables = nn.ModuleList(_places(size, model.embedding) for size in sizes)
        self.offsets = nn.ModuleList(_zeros(nn.Embedding(size, self.outputs)) for size in sizes)
        flat = len(numeric) + len(self.flagged)
        width = flat + len(self.owner) + sum(t.embedding_dim for t in self.tables)  # type: ignore[misc]
        self.linear = _zeros(nn.Linear(flat, self.outputs))
        layers: list[nn.Module] = []
        for hidden in model.hidden:
            layers.append(Members(model.members, width, hidden, model.dropout))
            width = hidden
        self.layers = nn.ModuleList(layers)
        self.head = Members(model.members, width, self.outputs)
        nn.init.zeros_(self.head.weight)

    def _number_buffers(self, numbers: list[dict[str, Any]], bins: int) -> None:
        def tensor(values: list[float]) -> torch.Tensor:
            return torch.tensor(values, dtype=torch.float32)

        mean, std = [float(n["mean"]) for n in numbers], [float(n["std"]) for n in numbers]
        ends = [((n["low"] - m) / s, (n["high"] - m) / s) for n, m, s in zip(numbers, mean, std, strict=True)]
        self.register_buffer("mean", tensor(mean))
        self.register_buffer("std", tensor(std))
        self.register_buffer("least", tensor([low - _BEYOND * (high - low) for low, high in ends]))
        self.register_buffer("most", tensor([high + _BEYOND * (high - low) for low, high in ends]))
        self.flagged = [i for i, n in enumerate(numbers) if n["missing"]]
        most = min(bins, max(2, _PARTS // max(1, len(numbers)))) if bins else 0
        owners: list[int] = []
        starts: list[float] = []
        widths: list[float] = []
        for i, n in enumerate(numbers):
            edges = [(e - mean[i]) / std[i] for e in _thinned(n["edges"], most)]
            for a, b in zip(edges, edges[1:], strict=False):
                owners.append(i)
                starts.append(a)
                widths.append(b - a)
        self.register_buffer("owner", torch.tensor(owners, dtype=torch.int64))
        self.register_buffer("start", tensor(starts))
        self.register_buffer("width", tensor(widths))

    def forward(self, **columns: torch.Tensor) -> torch.Tensor:
        """One tensor a column, [rows, 1], to logits [rows, labels] or values [rows]; with an axis of members after the rows while training."""
        flat, parts, codes = self.features(columns)
        straight = self.straight(flat, codes)
        places = [F.embedding(code, table.weight) for code, table in zip(codes, self.tables, strict=True)]  # type: ignore[arg-type]
        x = torch.cat([flat.clamp(-CUT, CUT), parts, *places], dim=1)
        for layer in self.layers:
            x = layer(x)
        out = self.head(x).transpose(0, 1) + straight.unsqueeze(1)  # [rows, members, outputs]
        if not self.training:
            out = out.mean(1)
        return out if self.classes else out.squeeze(-1)

    def features(self, columns: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]:
        """Standardised numbers with their flags, their piecewise-linear parts, and the categories' codes a column."""
        codes = [columns[name].squeeze(1) for name in self.categorical]
        if self.training:
            hidden = [(torch.rand(c.shape, device=c.device) < _HIDE) & (c != MISSING) for c in codes]
            codes = [torch.where(h, torch.full_like(c, UNKNOWN), c) for c, h in zip(codes, hidden, strict=True)]
        if not self.numeric:
            rows = codes[0].shape[0]
            return self.mean.new_zeros((rows, 0)), self.mean.new_zeros((rows, 0)), codes  # type: ignore[operator]
        x = (torch.cat([columns[n] for n in self.numeric], dim=1) - self.mean) / self.std  # type: ignore[operator]
        missing = torch.isnan(x)
        x = torch.where(missing, torch.zeros_like(x), x)
        parts = ((x.index_select(1, self.owner) - self.start) / self.width).clamp(0, 1)  # type: ignore[operator]
        x = torch.minimum(torch.maximum(x, self.least), self.most)  # type: ignore[arg-type]
        return torch.cat([x, missing[:, self.flagged].to(x.dtype)], dim=1) if self.flagged else x, parts, codes

    def straight(self, flat: torch.Tensor, codes: list[torch.Tensor]) -> torch.Tensor:
        """The linear model's answers, [rows, outputs]."""
        out: torch.Tensor = self.linear(flat)
        for code, table in zip(codes, self.offsets, strict=True):
            out = out + F.embedding(code, table.weight)  # type: ignore[arg-type]
        return out

    def linear_parts(self) -> list[nn.Parameter]:
        """Bias, weights and the categories' offsets: what `straight` is made of."""
        return [self.linear.bias, self.linear.weight, *(t.weight for t in self.offsets)]  # type: ignore[list-item]


class Members(nn.Module):
    """A layer of several networks at once: [rows, in] or [members, rows, in] to [members, rows, out]; with `dropout` a rectified one."""

    def __init__(self, members: int, width: int, out: int, dropout: float | None = None):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(members, width, out) * math.sqrt(2 / max(1, width)))
        self.bias = nn.Parameter(torch.zeros(members * out))  # of one dimension: biases have no weight decay
        self.dropout = dropout

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[rows, width], or [rows, members, width] behind another such layer, to [rows, members, outputs]."""
        members, width, out = self.weight.shape
        if x.dim() == 2:  # all members read the same: one wide product
            x = (x @ self.weight.transpose(0, 1).reshape(width, members * out)).view(-1, members, out).transpose(0, 1)
        else:
            x = torch.bmm(x, self.weight)
        x = x + self.bias.view(members, 1, out)
        return x if self.dropout is None else F.dropout(F.relu(x), self.dropout, self.training)


class Denormalised(nn.Module):
    """A regression model that answers in the label's own unit, FP32 [rows]."""

    def __init__(self, model: nn.Module, mean: float, std: float):
        super().__init__()
        self.model, self.mean, self.std = model, mean, std

    def forward(self, **columns: torch.Tensor) -> torch.Tensor:
        """As the model, with the values [rows] in the label's own unit."""
        out: torch.Tensor = self.model(**columns).float() * self.std + self.mean
        return out


def _zeros(module: Any) -> Any:
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module


def _places(size: int, most: int) -> nn.Embedding:
    """What stands for a category's values before the perceptrons: a place of its own for each of few, else an embedding that is learnt."""
    if size <= _ONE_HOT:
        return nn.Embedding.from_pretrained(torch.eye(size), freeze=True)
    table = nn.Embedding(size, min(most, math.ceil(math.sqrt(size))))
    nn.init.normal_(table.weight, std=0.1)
    return table


def _thinned(edges: list[float], most: int) -> list[float]:
    """At most `most` parts of the edges' range, evenly taken; of two values no more is to be said than the number itself says."""
    if len(edges) < 3 or most < 1:
        return []
    parts = min(most, len(edges) - 1)
    return [edges[round(i * (len(edges) - 1) / parts)] for i in range(parts + 1)]
