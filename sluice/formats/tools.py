"""ONNX Runtime's own tools, whose modules look for each other in a folder that their package puts on the path of imports the first time alone."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """While it lasts ``onnxruntime.quantization`` and ``onnxruntime.transformers`` can be imported; then the path is as it was."""
    before = list(sys.path)
    found = importlib.util.find_spec("onnxruntime")
    if found is not None and found.origin is not None:
        sys.path.append(str(Path(found.origin).parent / "transformers"))
    try:
        yield
    finally:
        sys.path[:] = before
