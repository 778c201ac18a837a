"""A small sentence encoder in ONNX (a MiniLM): texts to vectors of unit length, by the mean over tokens."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from sluice.core.datatypes import EngineSpec
from sluice.core.errors import MissingExtra, ProjectError
from sluice.engines.base import Engine, open_engine

_TOKENS, _BATCH = 256, 32


class Encoder:
    """An encoder that any number of threads may use.

    Args:
        engine: that runs it.
        tokenizer: of `tokenizers`.
    """

    def __init__(self, engine: Engine, tokenizer: Any):
        self._engine, self._tokenizer = engine, tokenizer
        self._inputs = [t.name for t in engine.inputs]

    @classmethod
    def open(cls, folder: Path) -> Self:
        """``model.onnx`` and ``tokenizer.json`` of a folder. Raises `ProjectError`, `MissingExtra`."""
        try:
            from tokenizers import Tokenizer
        except ImportError as e:
            raise MissingExtra("an encoder needs onnxruntime and tokenizers", field="encoder", fix="pip install 'sluice-ml[serve]'") from e
        try:
            engine = open_engine(EngineSpec("onnxruntime"), (folder / "model.onnx").read_bytes())
            tokenizer = Tokenizer.from_str((folder / "tokenizer.json").read_text(encoding="utf-8"))
        except Exception as e:  # both raise types of their own
            fix = "name a folder with model.onnx and tokenizer.json"
            raise ProjectError(f"cannot be opened as an encoder: {str(e)[:200]}", field=str(folder), fix=fix) from e
        tokenizer.enable_truncation(_TOKENS)
        tokenizer.enable_padding()
        return cls(engine, tokenizer)

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors float32 [texts, size] of unit length; equal texts get equal ones whatever they are asked with."""
        if not texts:
            return np.zeros((0, 1), np.float32)
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        parts = [self._batch([texts[i] for i in order[at : at + _BATCH]]) for at in range(0, len(order), _BATCH)]
        found = np.concatenate(parts)
        out = np.empty_like(found)
        out[order] = found
        return out

    def _batch(self, texts: list[str]) -> np.ndarray:
        coded = self._tokenizer.encode_batch([t or " " for t in texts])
        arrays = {
            "input_ids": np.array([c.ids for c in coded], dtype=np.int64),
            "attention_mask": np.array([c.attention_mask for c in coded], dtype=np.int64),
            "token_type_ids": np.array([c.type_ids for c in coded], dtype=np.int64),
        }
        out = self._engine.run({n: arrays[n] for n in self._inputs})[self._engine.outputs[0].name]
        if out.ndim == 3:
            mask = arrays["attention_mask"][..., None].astype(np.float32)
            out = (out * mask).sum(axis=1) / np.maximum(mask.sum(axis=1), 1e-9)
        out = np.asarray(out, dtype=np.float32)
        return np.asarray(out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-12))
