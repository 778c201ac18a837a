"""The torch modules of texts as vectors."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from sluice.fields.pair import FIRST, SECOND
from sluice.learners.torch.texts.encoders import Layer, built, pool
from sluice.tasks.similarity import SimilarityModel


class Pieces(nn.Module):
    """Word pieces by their rarity, and what a small transformer adds: untrained, as near as the rare pieces two texts share.

    Args:
        rarity: of each token. model: sizes, dropout.
    """

    def __init__(self, rarity: list[float], model: SimilarityModel):
        super().__init__()
        self.tokens = nn.Embedding(len(rarity), model.hidden)
        nn.init.normal_(self.tokens.weight, std=model.hidden**-0.5)
        self.weigh = nn.Parameter(torch.tensor(rarity).sqrt())
        self.positions = nn.Embedding(model.max_length, model.hidden)
        nn.init.normal_(self.positions.weight, std=0.02)
        self.layers = nn.ModuleList(Layer(model.hidden, model.heads, model.dropout) for _ in range(model.layers))
        self.out = nn.Linear(model.hidden, model.hidden)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)
        self.dropout = nn.Dropout(model.dropout)

    def forward(self, input_ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Token ids and mask, INT64 [rows, tokens], to [rows, hidden]."""
        keep = mask.unsqueeze(-1).to(self.weigh.dtype)
        found = self.tokens(input_ids)
        bag = (self.dropout(found) * self.weigh.square()[input_ids].unsqueeze(-1) * keep).sum(1)
        at = torch.arange(input_ids.shape[1], device=input_ids.device).clamp(max=self.positions.num_embeddings - 1)
        x = self.dropout(found + self.positions(at))
        bias = (1.0 - mask[:, None, None, :].to(x.dtype)) * -1e4
        for layer in self.layers:
            x = layer(x, bias)
        out: torch.Tensor = bag + self.out(pool(x, mask, "mean"))
        return out


class Pretrained(nn.Module):
    """An encoder of `transformers`, pooled.

    Args:
        config: the encoder's ``config.json``. model: pooling, whether embeddings are frozen.
    """

    def __init__(self, config: dict[str, Any], model: SimilarityModel):
        super().__init__()
        self.encoder = built(config, model.freeze_embeddings)
        self.pooling = model.pooling

    def forward(self, input_ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Token ids and mask, INT64 [rows, tokens], to [rows, hidden]."""
        return pool(self.encoder(input_ids=input_ids, attention_mask=mask).last_hidden_state, mask, self.pooling)


class Vectors(nn.Module):
    """Both texts' vectors, of length one: [rows, 2, dimensions]."""

    def __init__(self, body: nn.Module):
        super().__init__()
        self.body = body

    def embed(self, input_ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """One text's vector [rows, dimensions]."""
        return F.normalize(self.body(input_ids, mask).float(), dim=-1, eps=1e-6)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """The second text's tokens are moved to the front: each is read as if it were alone."""
        both = []
        for which in (FIRST, SECOND):
            kept = attention_mask == which
            order = torch.argsort((~kept).to(torch.int64), dim=1, stable=True)
            longest = max(1, int(kept.sum(1).max()))
            both.append(self.embed(input_ids.gather(1, order)[:, :longest], kept.to(torch.int64).gather(1, order)[:, :longest]))
        return torch.stack(both, dim=1)


class Cosines(nn.Module):
    """What epochs are judged by: FP32 [pairs, 1]."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """The cosine of each pair."""
        found = self.model(input_ids=input_ids, attention_mask=attention_mask)
        out: torch.Tensor = (found[:, 0] * found[:, 1]).sum(-1, keepdim=True)
        return out


class First(nn.Module):
    """What is served: FP32 [rows, dimensions] of the first text, whose tokens come first."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model: Any = model

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """The vector."""
        out: torch.Tensor = self.model.embed(input_ids, (attention_mask == FIRST).to(torch.int64))
        return out


def in_batch(vectors: torch.Tensor, scale: float) -> torch.Tensor:
    """Which second text goes with which first one, among those of the batch, and the other way round (Henderson et al. 2017; van den Oord et al. 2018)."""
    near = scale * vectors[:, 0] @ vectors[:, 1].T
    right = torch.arange(len(near), device=near.device)
    return (F.cross_entropy(near, right) + F.cross_entropy(near.T, right)) / 2


def ordered(vectors: torch.Tensor, scores: torch.Tensor, scale: float) -> torch.Tensor:
    """log(1 + sum of exp(scale (cosine of a pair - cosine of one with a higher score))), over all such couples of a batch (CoSENT, Su 2022)."""
    cosines = scale * (vectors[:, 0] * vectors[:, 1]).sum(-1)
    wrong = cosines[:, None] - cosines[None, :]
    wrong = wrong.masked_fill(scores[:, None] >= scores[None, :], -1e9)
    return torch.logsumexp(torch.cat([wrong.new_zeros(1), wrong.flatten()]), dim=0)
