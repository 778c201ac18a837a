"""A tuned causal language model, run by transformers on the CPU: how surprising each row's answer is to it. torch is imported when one is opened."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sluice.core.datatypes import TensorSpec
from sluice.core.errors import PackageError, first_line
from sluice.core.imports import ONE_AT_A_TIME
from sluice.engines.base import Engine
from sluice.fields.conversation import IDS, IGNORED, WANTED, ConversationProcessor

if TYPE_CHECKING:
    import torch

#: Of a package, beside its ``tuned.json``: the merged model as transformers reads it.
FOLDER = "model"
#: Tokens of a pass that nothing is learnt from: the scores of all words for each of the answers' tokens lie in memory at once.
_TOKENS = 4096


class Causal(Engine):
    """``input_ids`` and ``wanted`` INT64 [rows, tokens], padded behind; ``value`` FP32 [rows], the loss of each answer in nats a token."""

    inputs = ConversationProcessor.inputs
    outputs = (TensorSpec("value", "FP32", (-1,)),)
    blocking = True

    def __init__(self, model: Any):
        self._model = model

    @classmethod
    def open(cls, model: Path | bytes, *, threads: int = 1, options: Mapping[str, Any] | None = None) -> Causal:
        """As `Engine.open`, of a package's ``tuned.json``. Raises `PackageError`, also without torch or transformers."""
        if isinstance(model, bytes):
            raise PackageError("a language model is opened in its package's folder", field="model", fix="name the package")
        where = model.parent / FOLDER
        try:
            with ONE_AT_A_TIME:
                import torch
                from transformers import AutoModelForCausalLM
        except ImportError as e:
            fix = (
                "pip install 'sluice-ml[llm,train]' where it is judged; to answer people, serve its folder model/ with transformers or vLLM"
            )
            raise PackageError("needs torch and transformers, which are not installed here", field=str(where), fix=fix) from e
        try:
            found = AutoModelForCausalLM.from_pretrained(where, local_files_only=True, use_safetensors=True, dtype=torch.float32)
        except Exception as e:  # whatever a file of another's meets there
            raise PackageError(f"is no causal language model: {first_line(e)[:200]}", field=str(where), fix="export the model again") from e
        return cls(found.eval())

    def run(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """As `Engine.run`."""
        import torch

        ids, wanted = (torch.from_numpy(np.array(arrays[name], dtype=np.int64)) for name in (IDS, WANTED))
        with torch.inference_mode():
            return {"value": in_parts(self._model, ids, wanted).numpy()}


def in_parts(model: Any, ids: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """`answer_losses` of many rows, a few at a time."""
    import torch

    size = max(1, _TOKENS // ids.shape[1])
    return torch.cat([answer_losses(model, i, w) for i, w in zip(ids.split(size), wanted.split(size), strict=True)])


def answer_losses(model: Any, ids: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """The mean loss of each row's answer, in nats a token: FP32 [rows].

    Args:
        model: a causal model of transformers.
        ids: INT64 [rows, tokens], padded behind.
        wanted: the same, `IGNORED` where a token is not the answer's; each row has one that is.
    """
    from torch.nn import functional as F

    at = (wanted != IGNORED).any(dim=0).nonzero()
    width = int(at.max()) + 1  # padding that the longest of these rows does not need
    keep = width - int(at.min()) + 1  # the answers' tokens, and the one before the first
    wanted = wanted[:, :width][:, -keep:][:, 1:]
    more = {"logits_to_keep": keep} if "logits_to_keep" in inspect.signature(model.forward).parameters else {}
    scores = model(input_ids=ids[:, :width], use_cache=False, **more).logits[:, -keep:]
    each = F.cross_entropy(scores[:, :-1].float().transpose(1, 2), wanted, ignore_index=IGNORED, reduction="none")
    return each.sum(dim=1) / (wanted != IGNORED).sum(dim=1)
