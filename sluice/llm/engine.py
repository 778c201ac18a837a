"""A prompt as an engine: variables in, the endpoint's answers out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from sluice.core.datatypes import TensorSpec
from sluice.core.errors import PackageError, SluiceError
from sluice.engines.base import Engine
from sluice.llm.asking import Asker
from sluice.llm.package import INPUT, OUTPUT, PromptPackage


class Prompted(Engine):
    """``variables`` BYTES [rows], a JSON object each; ``answer`` BYTES [rows], the texts."""

    inputs = (TensorSpec(INPUT, "BYTES", (-1,)),)
    outputs = (TensorSpec(OUTPUT, "BYTES", (-1,)),)
    blocking = True

    def __init__(self, asker: Asker):
        self.asker = asker

    @classmethod
    def open(cls, model: Path | bytes, *, threads: int = 1, options: Mapping[str, Any] | None = None) -> Prompted:
        """As `Engine.open`, of a package's ``prompt.json``; its endpoint is not asked yet."""
        if isinstance(model, bytes):
            raise PackageError("a prompt is opened in its package's folder", field="model", fix="name the package")
        return cls(Asker(PromptPackage.open(model.parent)))

    def run(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """See `Engine.run`. Raises `InputError`: values that do not fit; `SluiceError`: the endpoint gave no answer."""
        replies = [r[0] for r in self.asker.replies([orjson.loads(text) for text in arrays[INPUT]])]
        if failed := next((r.failure for r in replies if r.failure), ""):
            raise SluiceError(f"the endpoint gave no answer: {failed}", field="model.endpoint", fix="see that it is there, or try again")
        return {OUTPUT: np.array([r.text for r in replies], dtype=object)}
