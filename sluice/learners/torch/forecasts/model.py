"""The network of forecasts. torch is imported here, so only inside training and export."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from sluice.learners.forecasts.nodes import CUT, FLAT, lags, naive_places, weights
from sluice.learners.state import State
from sluice.learners.tables.codes import KNOWN, MISSING, UNKNOWN
from sluice.learners.torch.forecasts.readers import READERS
from sluice.tasks.config import ForecastModel

#: Scaled values beyond this are cut off for the blocks.
NARROW = 5.0
#: Fraction of known categories shown to the network as unknown while training, so that the unknown (a new series) has a meaning.
_HIDE = 0.05
_EMBEDDING = 8
#: Newest values of other columns that the blocks are given, numbers that a row comes down to for its steps, numbers of a step's own place.
_NEWEST, _NARROWED, _PLACE = 12, 16, 4
#: A linear part has to lose less than this share of what the naive forecast loses.
_BETTER = 0.97


class ForecastNet(nn.Module):
    """Three quantiles of each of the values to come.

    A row's past is brought to level 0 and spread 1 by its own newest values, so that series of any size share what is learnt (as in Oreshkin et al.:
    N-BEATS, ICLR 2020). Three parts add up: a linear model of that past (Zeng et al.: Are transformers effective for time series forecasting?, AAAI
    2023) that begins as the seasonal naive forecast; residual blocks over the past (or what a `Reader` makes of it) and all other columns, an output a step; and
    one small network for all steps, given what the blocks make of the row, the values seasons before the step, what is known of it, and its place in the day, the
    week, the year (as the decoder of Das et al.: Long-term forecasting with TiDE, TMLR 2023). The outer quantiles lie at distances from the middle one
    that are never less than 0: quantiles do not cross.

    `forward(**columns)` takes one tensor an input: ``history`` FP32 [rows, context], other sequences FP32 [rows, context or context + horizon], numbers FP32
    [rows, 1], codes INT64 [rows, 1]; it returns FP32 [rows, horizon, 3] in the series' own unit.
    """

    def __init__(self, model: ForecastModel, state: State):
        super().__init__()
        f = state.extra["windows"]
        self.history, self.horizon, self.positive = f["history"], int(f["horizon"]), bool(f["positive"])
        self.sequences, self.numeric = dict(sorted(f["sequences"].items())), sorted(f["numeric"])
        categories = dict(sorted(state.extra["categories"].items()))
        self.categorical = list(categories)
        context = int(f["context"])
        self.register_buffer("weight", torch.from_numpy(weights(context, int(f["season"]))))
        self.register_buffer("least", torch.tensor(float(f["least"])))
        for name, kind in (("wide", list(self.sequences)), ("plain", self.numeric)):
            self.register_buffer(f"{name}_mean", torch.tensor([float(state.extra["numeric"][n]["mean"]) for n in kind]))
            self.register_buffer(f"{name}_std", torch.tensor([float(state.extra["numeric"][n]["std"]) for n in kind]))
        self.register_buffer("stretch", torch.ones(self.horizon, 2))
        self.straight = nn.Parameter(_naive(context, self.horizon, int(f["season"])))
        self.tables = nn.ModuleList(nn.Embedding(len(v) + KNOWN, min(_EMBEDDING, 1 + len(v) // 2)) for v in categories.values())
        self.ahead = [n for n in self.sequences if self.sequences[n] == context + self.horizon]
        self.newest = min(_NEWEST, context)
        reader = READERS.get(model.method)
        self.reader = reader(2 + len(self.sequences), context, model.hidden) if reader is not None else None
        width = (2 * context if self.reader is None else self.reader.width) + 2 + self.newest * len(self.sequences) + len(self.numeric)
        width += sum(int(t.embedding_dim) for t in self.tables)  # type: ignore[arg-type]
        self.into = nn.Linear(width, model.hidden)
        self.blocks = nn.ModuleList(Block(model.hidden, model.dropout) for _ in range(model.blocks))
        self.head = nn.Linear(model.hidden, 3 * self.horizon)
        self.lags = lags(context, self.horizon, [int(m) for m in f["seasons"]])
        self.cycles = [(c["sin"], c["cos"], float(c["turn"])) for c in f["cycles"]]
        steps = 2 * torch.pi * torch.arange(1, self.horizon + 1, dtype=torch.float32)
        self.register_buffer(
            "turned", torch.stack([steps * turn for _, _, turn in self.cycles]) if self.cycles else torch.zeros(0, self.horizon)
        )
        self.narrow = nn.Linear(model.hidden, _NARROWED)
        inside = _NARROWED + len(self.lags[0]) + 2 * len(self.ahead) + 2 * len(self.cycles) + _PLACE
        self.place = nn.Parameter(0.1 * torch.randn(self.horizon, _PLACE))
        self.step = nn.Linear(inside, max(8, model.hidden // 2))
        self.last = nn.Linear(max(8, model.hidden // 2), 3)
        for layer in (self.head, self.last):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, **columns: torch.Tensor) -> torch.Tensor:
        """See the class."""
        out = self.bare(**columns)
        return torch.relu(out) if self.positive and not self.training else out

    def bare(self, **columns: torch.Tensor) -> torch.Tensor:
        """The same where values below 0 are not cut off."""
        past, known, level, spread = self.scaled(columns[self.history])
        x = torch.relu(self.into(self.features(columns, past, known, level, spread)))
        for block in self.blocks:
            x = block(x)
        own = self.head(x).unflatten(1, (self.horizon, 3)) + self.last(torch.relu(self.step(self.steps(columns, past, x))))
        middle = (past @ self.straight) + own[:, :, 0]
        low, high = middle - F.softplus(own[:, :, 1]) * self.stretch[:, 0], middle + F.softplus(own[:, :, 2]) * self.stretch[:, 1]  # type: ignore[index]
        out: torch.Tensor = torch.stack([low, middle, high], dim=2) * spread.unsqueeze(2) + level.unsqueeze(2)
        return out

    def scaled(self, past: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """A past FP32 [rows, context] at level 0 and spread 1, with 0 where a value is missing; where one is not (0 and 1); level and spread [rows, 1]."""
        missing = torch.isnan(past)
        zero = torch.zeros_like(past)
        known = torch.where(missing, zero, torch.ones_like(past))
        weights = known * self.weight
        weights = weights / weights.sum(dim=1, keepdim=True).clamp_min(1e-12)
        filled = torch.where(missing, zero, past)
        level = (weights * filled).sum(dim=1, keepdim=True)
        apart = (filled - level) * known
        spread = torch.maximum((weights * apart.abs()).sum(dim=1, keepdim=True), torch.maximum(FLAT * level.abs(), self.least))  # type: ignore[arg-type]
        return (apart / spread).clamp(-CUT, CUT), known, level, spread

    def features(
        self, columns: dict[str, torch.Tensor], past: torch.Tensor, known: torch.Tensor, level: torch.Tensor, spread: torch.Tensor
    ) -> torch.Tensor:
        """All that the blocks are given, FP32 [rows, width]."""
        size = torch.log(level.abs() + self.least) - torch.log(self.least)  # type: ignore[operator,arg-type]
        seen, at = [past.clamp(-NARROW, NARROW), known], past.shape[1]
        others = []
        for i, name in enumerate(self.sequences):
            x = (columns[name] - self.wide_mean[i]) / self.wide_std[i]  # type: ignore[index]
            others.append(torch.where(torch.isnan(x), torch.zeros_like(x), x).clamp(-NARROW, NARROW)[:, :at])
        read = seen if self.reader is None else [self.reader(torch.stack([*seen, *others], dim=2))]
        parts = [*read, size / 10, torch.log(spread / (level.abs() + self.least)) / 5, *(x[:, at - self.newest :] for x in others)]
        for i, name in enumerate(self.numeric):
            x = (columns[name] - self.plain_mean[i]) / self.plain_std[i]  # type: ignore[index]
            parts.append(torch.where(torch.isnan(x), torch.zeros_like(x), x).clamp(-2, 2))
        for name, table in zip(self.categorical, self.tables, strict=True):
            code = columns[name].squeeze(1)
            if self.training:
                hidden = (torch.rand(code.shape, device=code.device) < _HIDE) & (code != MISSING)
                code = torch.where(hidden, torch.full_like(code, UNKNOWN), code)
            parts.append(F.embedding(code, table.weight))  # type: ignore[arg-type]
        return torch.cat(parts, dim=1)

    def steps(self, columns: dict[str, torch.Tensor], past: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
        """What the one network of all steps is given, FP32 [rows, horizon, width]: see the class."""
        n, h, context = past.shape[0], self.horizon, past.shape[1]
        lags = torch.tensor(self.lags, device=past.device)
        parts = [
            self.narrow(row).unsqueeze(1).expand(n, h, _NARROWED),
            past[:, lags.flatten()].clamp(-NARROW, NARROW).unflatten(1, (h, lags.shape[1])),
            self.place.unsqueeze(0).expand(n, h, _PLACE),
        ]
        for name in self.ahead:
            i = list(self.sequences).index(name)
            x = (columns[name] - self.wide_mean[i]) / self.wide_std[i]  # type: ignore[index]
            x = torch.where(torch.isnan(x), torch.zeros_like(x), x).clamp(-NARROW, NARROW)
            parts += [x[:, context:].unsqueeze(2), x[:, lags[:, 0]].unsqueeze(2)]
        for k, (sine, cosine, _) in enumerate(self.cycles):
            a, b = torch.sin(self.turned[k]), torch.cos(self.turned[k])  # type: ignore[index]
            sin, cos = (torch.where(torch.isnan(columns[c]), torch.zeros_like(columns[c]), columns[c]) for c in (sine, cosine))
            parts += [(sin * b + cos * a).unsqueeze(2), (cos * b - sin * a).unsqueeze(2)]
        return torch.cat(parts, dim=2)


class Block(nn.Module):
    """Adds to its input what a layer makes of it."""

    def __init__(self, width: int, dropout: float):
        super().__init__()
        self.one, self.other, self.dropout = nn.Linear(width, width), nn.Linear(width, width), nn.Dropout(dropout)
        nn.init.zeros_(self.other.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = x + self.dropout(self.other(torch.relu(self.one(x))))
        return found


def _naive(context: int, horizon: int, season: int) -> torch.Tensor:
    """Weights [context, horizon] of the seasonal naive forecast; of the last value where the context is shorter than a season."""
    weights = torch.zeros(context, horizon)
    weights[naive_places(context, horizon, season), range(horizon)] = 1.0
    return weights


def fit_straight(net: ForecastNet, past: torch.Tensor, values: torch.Tensor) -> None:
    """Set the linear part to a ridge regression towards the naive forecast, and the quantiles' distances to those of its errors.

    Args:
        net: untrained.
        past: [rows, context], as ``history`` is given.
        values: what came, [rows, horizon], NaN where one is missing.
    """
    with torch.no_grad():
        x, _, level, spread = net.scaled(past)
        y = ((values - level) / spread).clamp(-CUT, CUT)
        left = torch.where(torch.isnan(y), torch.zeros_like(y), y - x @ net.straight)
        net.straight += _ridge(x.double(), left.double(), net.horizon).float()
        error = y - x @ net.straight
        for h in range(net.horizon):
            known = error[:, h][~torch.isnan(error[:, h])]
            if len(known) > 4:
                far = torch.quantile(known, torch.tensor([0.1, 0.9]))
                bias = net.head.bias.view(net.horizon, 3)
                bias[h, 1], bias[h, 2] = _inverse(-far[0]), _inverse(far[1])


def _ridge(x: torch.Tensor, y: torch.Tensor, apart: int, folds: int = 5) -> torch.Tensor:
    """Ridge weights [columns, outputs]; how much they are held back is what is best for folds of neighbouring rows, all of it where that is as good.

    Args:
        x, y: [rows, columns] and [rows, outputs], rows of a series one after another.
        apart: rows beside a fold that are not learnt from either: their targets are partly the fold's.
        folds: how many.
    """
    n, eye = len(x), torch.eye(x.shape[1], dtype=x.dtype)
    size = float((x * x).sum()) / max(1, x.shape[1]) + 1e-9

    def weights(rows: torch.Tensor, held: float) -> torch.Tensor:
        a, b = x[rows], y[rows]
        return torch.linalg.solve(a.T @ a + held * size * eye, a.T @ b)

    every = torch.arange(n)
    best, least = torch.zeros(x.shape[1], y.shape[1], dtype=x.dtype), _BETTER * float((y * y).sum())
    for held in (0.01, 0.1, 1.0, 10.0) if n >= folds * (2 * apart + 2) else ():
        lost = 0.0
        for k in range(folds):
            first, end = n * k // folds, n * (k + 1) // folds
            learnt = (every < first - apart) | (every >= end + apart)
            lost += float((y[first:end] - x[first:end] @ weights(learnt, held)).square().sum())
        if lost < least:
            best, least = weights(every, held), lost
    return best


def _inverse(value: torch.Tensor) -> torch.Tensor:
    """What softplus makes this of."""
    return torch.log(torch.expm1(value.clamp_min(1e-3)))


def pinball(outputs: torch.Tensor, targets: torch.Tensor, quantiles: Any) -> torch.Tensor:
    """The mean pinball loss over the values that are known, in each row's own error of naive forecasts.

    Args:
        outputs: [rows, horizon, quantiles].
        targets: [rows, 2 horizon + 1]; see `sluice.problems.forecast`.
    """
    horizon = outputs.shape[1]
    values, scale = targets[:, :horizon], targets[:, 2 * horizon : 2 * horizon + 1]
    known = ~torch.isnan(values)
    error = (torch.where(known, values, torch.zeros_like(values)).unsqueeze(2) - outputs) / scale.unsqueeze(2)
    q = outputs.new_tensor(quantiles)
    each = torch.maximum(q * error, (q - 1) * error).mean(dim=2) * known
    return (each.sum(dim=1) / known.sum(dim=1).clamp_min(1)).mean()
