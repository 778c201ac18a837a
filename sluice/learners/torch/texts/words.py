"""The torch modules of words with tags."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from sluice.fields.sentence import FEATURES
from sluice.learners.torch.texts.encoders import built
from sluice.tasks.tagging import TaggingModel

#: The features that name the word itself, which come first.
_NAMES = 2


class Tagger(nn.Module):
    """Logits [rows, words, tags] of hashed features INT64 [rows, words, features].

    Args:
        tags: how many there are. model: sizes, dropout.
    """

    def __init__(self, tags: int, model: TaggingModel):
        super().__init__()
        self.unseen = model.unseen
        self.table = nn.Embedding(model.buckets, model.dimensions, padding_idx=0)
        nn.init.normal_(self.table.weight, std=0.3)
        self.table.weight.data[0] = 0
        self.into = nn.Linear(model.dimensions, model.hidden)
        self.norms = nn.ModuleList(nn.LayerNorm(model.hidden) for _ in range(model.layers))
        self.convolutions = nn.ModuleList(
            nn.Conv1d(model.hidden, model.hidden, 3, padding=2**i, dilation=2**i) for i in range(model.layers)
        )
        self.norm = nn.LayerNorm(model.hidden)
        self.dropout = nn.Dropout(model.dropout)
        self.head = nn.Linear(model.hidden, tags)

    def forward(self, words: torch.Tensor, spans: torch.Tensor) -> torch.Tensor:
        """Words that are none take no part."""
        there = (words[:, :, :1] > 0).float()
        if self.training and self.unseen:
            hidden = torch.rand(words.shape[:2], device=words.device) < self.unseen
            words = torch.cat([words[:, :, :_NAMES].masked_fill(hidden[:, :, None], 0), words[:, :, _NAMES:]], dim=2)
        x = self.into(self.dropout(self.table(words).sum(2) * FEATURES**-0.5)) * there
        for norm, convolution in zip(self.norms, self.convolutions, strict=True):
            seen = convolution((norm(x) * there).transpose(1, 2)).transpose(1, 2)
            x = (x + self.dropout(F.gelu(seen))) * there
        out: torch.Tensor = self.head(self.dropout(self.norm(x)))
        return out


class Placed(nn.Module):
    """What is served of a tagger: `sluice.problems.tagging.Tagging`."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, words: torch.Tensor, spans: torch.Tensor) -> torch.Tensor:
        """FP32 [rows, words, tags + 2]."""
        there = (words[:, :, :1] > 0).float()
        tags = torch.softmax(self.model(words=words, spans=spans).float(), dim=-1) * there
        return torch.cat([tags, spans.float()], dim=2)


class PretrainedTagger(nn.Module):
    """Logits [rows, words, tags] of a pre-trained encoder's view of each word's first token.

    Args:
        config: the encoder's ``config.json``. tags: how many there are. model: dropout, whether embeddings are frozen.
    """

    def __init__(self, config: dict[str, Any], tags: int, model: TaggingModel):
        super().__init__()
        self.encoder = built(config, model.freeze_embeddings)
        self.dropout = nn.Dropout(model.dropout)
        self.head = nn.Linear(self.encoder.config.hidden_size, tags)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, words: torch.Tensor, spans: torch.Tensor) -> torch.Tensor:
        """Tokens [rows, tokens], the place behind that of each word's first one [rows, words], 0 where there is none: its logits are 0."""
        hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        at = (words - 1).clamp(min=0).unsqueeze(-1).expand(-1, -1, hidden.shape[-1])
        out: torch.Tensor = self.head(self.dropout(torch.gather(hidden, 1, at))) * (words > 0).unsqueeze(-1)
        return out


class PlacedSubwords(nn.Module):
    """What is served of a pre-trained tagger: as `Placed`."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, words: torch.Tensor, spans: torch.Tensor) -> torch.Tensor:
        """FP32 [rows, words, tags + 2]."""
        logits = self.model(input_ids=input_ids, attention_mask=attention_mask, words=words, spans=spans)
        tags = torch.softmax(logits.float(), dim=-1) * (words > 0).unsqueeze(-1).float()
        return torch.cat([tags, spans.float()], dim=2)
