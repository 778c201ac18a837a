"""An autoencoder of tabular rows: what it cannot write back is unusual. torch is imported here, so only inside training and export."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from sluice.learners.state import State
from sluice.learners.tables.codes import KNOWN, UNKNOWN
from sluice.learners.tables.score_curve import BODY, TAIL, ScoreCurve
from sluice.tasks.config import AutoencoderModel

#: Standardised values are read up to here, so that an absurd one does not decide alone what is written for the others; and errors count up to there.
CUT, MOST = 5.0, 100.0
#: A category of so few values has a place of its own for each before the layers; others are embedded.
_ONE_HOT = 32
#: What a column's error is divided by is no less than this share of the columns' mean: a column that is written back perfectly would decide alone.
LEAST = 0.3
#: Knots of the curve of scores, padded to so many; one between body and tail.
KNOTS = BODY + TAIL + 3


class Autoencoder(nn.Module):
    """Reads a row's columns, some of them hidden while it trains (Vincent et al., ICML 2008), and writes them back through a narrow middle.

    A number's error is its squared error in deviations of the training rows; of a category, and of whether a number is missing, minus the
    logarithm of the probability of what is there. Each column's error is divided by its mean over the rows learnt from (`usual`), so that
    columns which are easily written back count too; the score is the logarithm of their mean.

    `forward(**columns)` takes one tensor a column, FP32 [rows, 1] or INT64 codes [rows, 1], and returns errors [rows, columns]: numbers, then categories.
    """

    def __init__(self, model: AutoencoderModel, state: State):
        super().__init__()
        # By name: a state read back from JSON has its keys sorted, and must wire the same network as a fresh one.
        numeric, categories = (dict(sorted(state.extra[kind].items())) for kind in ("numeric", "categories"))
        self.numeric, self.categorical, self.noise = list(numeric), list(categories), model.noise
        self.register_buffer("mean", torch.tensor([n["mean"] for n in numeric.values()], dtype=torch.float32))
        self.register_buffer("std", torch.tensor([n["std"] for n in numeric.values()], dtype=torch.float32))
        self.sizes = [len(v) + KNOWN for v in categories.values()]
        self.tables = nn.ModuleList(_places(size, model.embedding) for size in self.sizes)
        width = 2 * len(numeric) + sum(t.embedding_dim for t in self.tables)  # type: ignore[misc]
        middle = model.middle or min(32, max(2, (len(numeric) + len(categories)) // 3))
        sizes = [width, *model.hidden, middle, *reversed(model.hidden)]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(sizes, sizes[1:], strict=False))
        self.middle = len(model.hidden)
        self.head = nn.Linear(sizes[-1], 2 * len(numeric) + sum(self.sizes))
        self.register_buffer("usual", torch.ones(len(numeric) + len(categories)))
        # Of an untrained model a straight line, so that scores keep their order.
        self.register_buffer("knots", torch.linspace(-20, 20, KNOTS))
        self.register_buffer("levels", torch.linspace(0.01, 0.99, KNOTS))
        self.register_buffer("scale", torch.ones(1))

    def forward(self, **columns: torch.Tensor) -> torch.Tensor:
        """Errors a column, [rows, columns]."""
        x, missing, codes = self.read(columns)
        places = [F.embedding(code, table.weight) for code, table in zip(codes, self.tables, strict=True)]  # type: ignore[arg-type]
        seen, gone = x.clamp(-CUT, CUT), missing
        if self.training and self.noise:
            shown = (torch.rand(x.shape, device=x.device) >= self.noise).to(x.dtype)
            seen, gone = seen * shown, gone * shown
            places = [p * (torch.rand(len(p), 1, device=p.device) >= self.noise).to(p.dtype) for p in places]
        h = torch.cat([seen, gone, *places], dim=1)
        for i, layer in enumerate(self.layers):
            h = torch.tanh(layer(h)) if i == self.middle else F.silu(layer(h))
        return self.errors(self.head(h), x, missing, codes)

    def read(self, columns: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]:
        """Standardised numbers, 0 where one is missing; which are, as 0 and 1; and the categories' codes a column."""
        codes = [columns[name].squeeze(1) for name in self.categorical]
        if not self.numeric:
            none = self.mean.new_zeros((codes[0].shape[0], 0))  # type: ignore[operator]
            return none, none, codes
        x = (torch.cat([columns[n] for n in self.numeric], dim=1) - self.mean) / self.std  # type: ignore[operator]
        missing = torch.isnan(x)
        return torch.where(missing, torch.zeros_like(x), x), missing.to(x.dtype), codes

    def errors(self, out: torch.Tensor, x: torch.Tensor, missing: torch.Tensor, codes: list[torch.Tensor]) -> torch.Tensor:
        """What was written against what is there: [rows, columns]."""
        n = len(self.numeric)
        numbers, flags = out[:, :n], out[:, n : 2 * n]
        parts = [((numbers - x).square() * (1 - missing)).clamp(max=MOST**2) + F.softplus(flags) - flags * missing]
        at = 2 * n
        for code, size in zip(codes, self.sizes, strict=True):
            chances = F.log_softmax(out[:, at : at + size], dim=1)
            parts.append(-chances.gather(1, code.unsqueeze(1)))
            at += size
        return torch.cat(parts, dim=1)

    def score(self, errors: torch.Tensor) -> torch.Tensor:
        """How unusual rows are: [rows], of errors [rows, columns]."""
        return torch.log((errors / self.usual).mean(1))  # type: ignore[operator]

    @torch.no_grad()
    def settle(self, errors: torch.Tensor, contamination: float) -> None:
        """Set what is usual, and the curve, by the errors of the rows learnt from, [rows, columns].

        Raises:
            ValueError: every row has the same score.
        """
        usual = errors.mean(0)
        self.usual.copy_(usual.clamp(min=max(LEAST * float(usual.mean()), 1e-6)))  # type: ignore[operator]
        found = ScoreCurve.fitted(self.score(errors).double().numpy(), contamination)
        padding = KNOTS - len(found.knots)
        for name, values, last in (("knots", found.knots, math.inf), ("levels", found.levels, 1.0)):
            getattr(self, name).copy_(torch.tensor([*values, *[last] * padding]))
        self.scale.fill_(found.scale)  # type: ignore[operator]

    @property
    def curve(self) -> ScoreCurve:
        """The curve from scores to answers."""
        knots, levels, scale = (getattr(self, name).detach().cpu().double().tolist() for name in ("knots", "levels", "scale"))
        there = [i for i, k in enumerate(knots) if math.isfinite(k)]
        return ScoreCurve([knots[i] for i in there], [levels[i] for i in there], scale[0])


class Scored(nn.Module):
    """A trained autoencoder with its last step: [rows, 2], of an anomaly and of a normal row."""

    def __init__(self, model: Autoencoder):
        super().__init__()
        self.model = model

    def forward(self, **columns: torch.Tensor) -> torch.Tensor:
        """As the model's columns, to scores of `LABELS` of sluice.problems.anomaly."""
        raw = self.model.score(self.model(**columns))
        return torch.from_numpy(self.model.curve.of(raw.detach().cpu().numpy())).to(raw)


def _places(size: int, most: int) -> Any:
    """What stands for a category's values before the layers: a place of its own for each of few, else an embedding that is learnt."""
    if size <= _ONE_HOT:
        return nn.Embedding.from_pretrained(torch.eye(size), freeze=True)
    table = nn.Embedding(size, min(most, math.ceil(math.sqrt(size))))
    nn.init.normal_(table.weight, std=0.1)
    with torch.no_grad():
        table.weight[UNKNOWN] = 0
    return table
