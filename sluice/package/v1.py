"""What a package of ``sluice.package/v1`` does not say of itself, and meant. Its words are a closed list: such packages are read for ever."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sluice.package.manifest import EngineSpec


def engine_of(m: Mapping[str, Any]) -> EngineSpec:
    """What opens the graph of a manifest: ONNX Runtime, for int8 transformers without its fused layer normalisation (`sluice.formats.int8`)."""
    transformer = m["precision"] == "int8" and m["preprocess"].get("kind") == "text"
    return EngineSpec("onnxruntime", {"disabled_optimizers": ["SkipLayerNormFusion"]} if transformer else {})
