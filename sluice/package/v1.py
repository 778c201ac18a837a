"""What a package of ``sluice.package/v1`` does not say of itself, and meant. Its words are a closed list: such packages are read for ever."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sluice.fields.field import FIELDS, Field


def named(m: Mapping[str, Any]) -> dict[str, Any]:
    """The keys that v2 has and a manifest of v1 has not: ``problem``, ``fields`` and ``engine``."""
    return {"problem": m["objective"], "fields": fields_of(m["preprocess"]), "engine": _engine(m)}


def fields_of(preprocess: Mapping[str, Any]) -> dict[str, str]:
    """Name to kind of the fields that a pre-processing reads: its columns, its inputs, or the one thing that a row is."""
    if "columns" in preprocess:
        return {c["name"]: kind(c.get("type", "")) for c in preprocess["columns"]}
    if "inputs" in preprocess:
        return {i["name"]: Field.kind for i in preprocess["inputs"]}
    whole = str(preprocess.get("kind"))
    return {whole: kind(whole)}


def kind(word: str) -> str:
    """A field's kind as a package names it: one that is known, a class, or that of a column which is kept as it is."""
    return word if ":" in word or word in FIELDS else Field.kind


def _engine(m: Mapping[str, Any]) -> dict[str, Any]:
    """ONNX Runtime; for int8 transformers without its fused layer normalisation, which is slower between int8 products."""
    word = str(m["preprocess"].get("kind"))
    transformer = m["precision"] == "int8" and word in FIELDS and FIELDS.get(word).words
    return {"name": "onnxruntime", "options": {"disabled_optimizers": ["SkipLayerNormFusion"]} if transformer else {}}
