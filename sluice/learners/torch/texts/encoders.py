"""Networks for text. torch is imported here, transformers only when a pre-trained encoder is built."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional as F

from sluice.core.errors import ProjectError
from sluice.core.imports import ONE_AT_A_TIME
from sluice.tasks.config import TextModel

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def pool(hidden: torch.Tensor, mask: torch.Tensor, how: str) -> torch.Tensor:
    """[rows, tokens, width] to [rows, width]: the first token, or the mean over the tokens the mask keeps."""
    if how == "cls":
        return hidden[:, 0]
    keep = mask.unsqueeze(-1).to(hidden.dtype)
    return (hidden * keep).sum(1) / keep.sum(1).clamp(min=1)


def encoder_class(config: dict[str, Any]) -> tuple[Any, Any]:
    """The architecture's class in `transformers`, imported, and the parsed configuration.

    Raises:
        ProjectError: the installed version does not know the architecture.
    """
    with ONE_AT_A_TIME:
        from transformers import MODEL_MAPPING, AutoConfig

    kind = config["model_type"]
    try:
        parsed = AutoConfig.for_model(kind, **{k: v for k, v in config.items() if k != "model_type"})
        with ONE_AT_A_TIME:  # which imports the architecture's module
            return MODEL_MAPPING[type(parsed)], parsed
    except (ValueError, KeyError, TypeError) as e:
        raise ProjectError(
            f"the architecture cannot be built: {e}",
            field="model.pretrained",
            value=kind,
            fix="use an encoder that the installed transformers knows",
        ) from e


def built(config: dict[str, Any], freeze_embeddings: bool) -> Any:
    """An encoder of `transformers` with weights of chance, without its pooler, which would take no part in the loss.

    Args:
        config: its ``config.json``. freeze_embeddings: whether its embeddings stay as they are loaded.

    Raises:
        ProjectError: as `encoder_class`.
    """
    kind, parsed = encoder_class(config)
    encoder = kind._from_config(parsed, attn_implementation="eager")
    if getattr(encoder, "pooler", None) is not None:
        encoder.pooler = None
    if freeze_embeddings:
        encoder.get_input_embeddings().weight.requires_grad_(False)
    return encoder


class PretrainedClassifier(nn.Module):
    """An encoder of `transformers`, pooled, with a linear head.

    Args:
        config: the encoder's ``config.json``.
        labels: number of classes.
        model: pooling, dropout, whether embeddings are frozen.
    """

    def __init__(self, config: dict[str, Any], labels: int, model: TextModel):
        super().__init__()
        self.encoder = built(config, model.freeze_embeddings)
        self.pooling = model.pooling
        self.dropout = nn.Dropout(model.dropout)
        self.head = nn.Linear(self.encoder.config.hidden_size, labels)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Token ids and mask, INT64 [rows, tokens], to logits [rows, labels]."""
        hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        out: torch.Tensor = self.head(self.dropout(pool(hidden, attention_mask, self.pooling)))
        return out


class Layer(nn.Module):
    """A pre-norm transformer layer (Xiong et al. 2020), which trains from scratch without a long warm-up."""

    def __init__(self, width: int, heads: int, dropout: float):
        super().__init__()
        self.heads, self.fused = heads, False
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        """[rows, tokens, width] and the mask to the same shape."""
        rows, tokens, width = x.shape
        q, k, v = self.qkv(self.norm1(x)).reshape(rows, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        if self.fused:
            mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, dropout_p=self.dropout.p if self.training else 0.0)
        else:
            weights = torch.softmax(q @ k.transpose(-1, -2) * (width // self.heads) ** -0.5 + bias, dim=-1)
            mixed = self.dropout(weights) @ v
        mixed = mixed.transpose(1, 2).reshape(rows, tokens, width)
        x = x + self.dropout(self.out(mixed))
        out: torch.Tensor = x + self.dropout(self.down(F.gelu(self.up(self.norm2(x)))))
        return out


class NgramBag(nn.Module):
    """A linear model of the n-grams a text holds: their weights, scaled to length 1, times a row of a table each.

    The table is fitted as a whole (`sluice.learners.torch.linear.fit_bag`) and not trained further.

    Args:
        weigh: a number's weight [numbers]; that of none (0) is 0.
        labels: number of classes.
    """

    def __init__(self, weigh: torch.Tensor, labels: int):
        super().__init__()
        self.register_buffer("weigh", weigh)
        self.register_buffer("table", torch.zeros(len(weigh), labels))

    def forward(self, numbers: torch.Tensor) -> torch.Tensor:
        """Numbers of n-grams, [rows, n-grams], to logits [rows, labels]."""
        weights = F.embedding(numbers, self.weigh.unsqueeze(1))  # type: ignore[operator]
        norm = (weights * weights).sum(1).clamp(min=1e-12).sqrt()
        out: torch.Tensor = (F.embedding(numbers, self.table) * weights).sum(1) / norm  # type: ignore[arg-type]
        return out


class SmallClassifier(nn.Module):
    """A small transformer encoder trained from scratch: learnt positions, pooled, a linear head; it learns what a linear model of n-grams leaves.

    Args:
        vocabulary: number of tokens.
        labels: number of classes.
        model: sizes, pooling, dropout.
        weigh: the n-grams' weights; None: there is no linear model.
    """

    def __init__(self, vocabulary: int, labels: int, model: TextModel, weigh: torch.Tensor | None = None):
        super().__init__()
        self.bag = None if weigh is None else NgramBag(weigh, labels)
        self.tokens = nn.Embedding(vocabulary, model.hidden)
        self.positions = nn.Embedding(model.max_length, model.hidden)
        nn.init.normal_(self.tokens.weight, std=0.02)
        nn.init.normal_(self.positions.weight, std=0.02)
        self.dropout = nn.Dropout(model.dropout)
        self.layers = nn.ModuleList(Layer(model.hidden, model.heads, model.dropout) for _ in range(model.layers))
        self.norm = nn.LayerNorm(model.hidden)
        self.head = nn.Linear(model.hidden, labels)
        if self.bag is not None:  # the untrained model is the linear one
            nn.init.zeros_(self.head.weight)
            nn.init.zeros_(self.head.bias)
        self.pooling = model.pooling
        if model.freeze_embeddings:
            self.tokens.weight.requires_grad_(False)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, ngrams: torch.Tensor | None = None) -> torch.Tensor:
        """Token ids and mask, INT64 [rows, tokens], and n-grams [rows, n-grams] where they are weighed, to logits [rows, labels]."""
        at = torch.arange(input_ids.shape[1], device=input_ids.device)
        x = self.dropout(self.tokens(input_ids) + self.positions(at))
        bias = (1.0 - attention_mask[:, None, None, :].to(x.dtype)) * -1e4
        for layer in self.layers:
            x = layer(x, bias)
        out: torch.Tensor = self.head(self.dropout(pool(self.norm(x), attention_mask, self.pooling)))
        return out if self.bag is None or ngrams is None else out + self.bag(ngrams)


def load_encoder(model: nn.Module, root: Path, name: str) -> None:
    """Copy a saved encoder's weights into `model.encoder`.

    Prefixes such as ``bert.`` of a model saved with another head are taken off, the old ``gamma``
    and ``beta`` of layer norms renamed; heads are left out.

    Raises:
        ProjectError: no safetensors there, or a tensor is missing or of another shape.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    encoder: Any = model.encoder
    found = sorted(root.glob("*.safetensors"))
    if not found:
        raise ProjectError("has no .safetensors weights", field="model.pretrained", value=name, fix="save it with safe_serialization=True")
    weights: dict[str, torch.Tensor] = {}
    try:
        for path in found:
            weights.update(load_file(path))
    except (OSError, SafetensorError) as e:
        raise ProjectError(f"its weights cannot be read: {e}", field="model.pretrained", value=name, fix="copy the directory again") from e
    prefix = f"{getattr(encoder, 'base_model_prefix', '')}."
    renamed = {
        k.removeprefix(prefix).replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias"): v
        for k, v in weights.items()
    }
    own = encoder.state_dict()
    wrong = sorted(k for k, v in own.items() if k not in renamed or renamed[k].shape != v.shape)
    if wrong:
        raise ProjectError(
            f"its weights lack {len(wrong)} tensors of the architecture, the first is {wrong[0]}",
            field="model.pretrained",
            value=name,
            fix="the weights and config.json must be of one model",
        )
    encoder.load_state_dict({k: renamed[k] for k in own})


def train_used(model: nn.Module, tokens: NDArray[np.int64]) -> None:
    """Of a pre-trained encoder's embeddings, train those of some tokens alone, where they are trained at all (`UsedRows`).

    Args:
        tokens: sorted ids.
    """
    encoder: Any = model.encoder
    if encoder.get_input_embeddings().weight.requires_grad:
        encoder.set_input_embeddings(UsedRows(encoder.get_input_embeddings(), torch.from_numpy(tokens)))


class UsedRows(nn.Module):
    """An embedding of which only the rows of some tokens are trained.

    A token that no training row holds has no gradient, yet the optimiser would go through its row
    every step and only ever shrink it. Here the rows in use are a parameter of their own; the
    others stay as they were. `state_dict` holds the whole matrix under ``weight``, as
    `nn.Embedding` has it, and can be loaded from it.

    Args:
        whole: the embedding to stand for.
        used: sorted token ids, INT64 [tokens].
    """

    def __init__(self, whole: nn.Embedding, used: torch.Tensor):
        super().__init__()
        self.register_buffer("whole", whole.weight.detach().clone(), persistent=False)
        self.register_buffer("ids", used, persistent=False)
        # Tokens out of use stand for row 0; no training batch holds one.
        place = torch.zeros(whole.num_embeddings, dtype=torch.int64)
        place[used] = torch.arange(len(used))
        self.register_buffer("place", place, persistent=False)
        self.rows = nn.Parameter(whole.weight.detach()[used].clone(), requires_grad=whole.weight.requires_grad)
        pad = whole.padding_idx
        self.padding_idx = int(place[pad]) if pad is not None and bool((used == pad).any()) else None
        self.embedding_dim, self.num_embeddings = whole.embedding_dim, whole.num_embeddings
        self.register_state_dict_post_hook(_merge_rows)
        self.register_load_state_dict_pre_hook(_take_rows)

    @property
    def weight(self) -> torch.Tensor:
        """The whole matrix, with the trained rows in their places."""
        whole: torch.Tensor = self.whole  # type: ignore[assignment]
        with torch.no_grad():
            whole.index_copy_(0, self.ids, self.rows.detach())  # type: ignore[arg-type]
        return whole

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """As the embedding it stands for: INT64 [rows, tokens] to [rows, tokens, width]."""
        if self.training:
            return F.embedding(self.place[tokens], self.rows, self.padding_idx)  # type: ignore[index]
        return F.embedding(tokens, self.weight)


def _merge_rows(module: nn.Module, state: dict[str, torch.Tensor], prefix: str, _: Any) -> None:
    del state[f"{prefix}rows"]
    state[f"{prefix}weight"] = module.weight.clone()  # type: ignore[operator]


def _take_rows(module: nn.Module, state: dict[str, torch.Tensor], prefix: str, *_: Any) -> None:
    whole = state.pop(f"{prefix}weight")
    module.whole.copy_(whole)  # type: ignore[operator]
    state[f"{prefix}rows"] = whole[module.ids]  # type: ignore[index]
