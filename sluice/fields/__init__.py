"""From a raw row to the graph's tensors: the one pre-processing code of the project.

Training, evaluation, batch prediction and the model server all call it, so what a model
was trained on and what it is served are the same numbers. Only numpy is imported at the
top; `tokenizers` and Pillow when a processor that needs them is loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sluice.core.errors import PackageError
from sluice.fields.audio import AudioProcessor
from sluice.fields.base import Processor
from sluice.fields.field import FIELDS, Field, field_of, fields_of
from sluice.fields.image import ImageProcessor
from sluice.fields.tabular import Column, TabularProcessor
from sluice.fields.tensor import TensorInput, TensorProcessor
from sluice.fields.text import TextProcessor

__all__ = [
    "BLOBS",
    "FIELDS",
    "KINDS",
    "AudioProcessor",
    "Column",
    "Field",
    "ImageProcessor",
    "Processor",
    "TabularProcessor",
    "TensorInput",
    "TensorProcessor",
    "TextProcessor",
    "field_of",
    "fields_of",
    "load_processor",
]

#: kind -> the function that reads its specification.
KINDS: dict[str, Callable[[Mapping[str, Any], Callable[[str], bytes]], Processor]] = {
    "text": TextProcessor.load,
    "image": ImageProcessor.load,
    "audio": AudioProcessor.load,
    "tabular": TabularProcessor.load,
    "tensor": TensorProcessor.load,
}

#: Kinds whose row is a file's bytes.
BLOBS = ("image", "audio")


def load_processor(spec: Mapping[str, Any], root: Path | Mapping[str, bytes]) -> Processor:
    """The processor a package's ``preprocess`` describes.

    Args:
        spec: ``model.json``'s ``preprocess``: its ``kind`` and that kind's settings.
        root: where side files lie: the package's directory, or their bytes by name.

    Raises:
        PackageError: an unknown kind, a setting missing, of a wrong type or out of range, or a
            side file that is missing or unreadable.
    """
    if not isinstance(spec, Mapping):
        raise PackageError("is not an object", field="preprocess", value=spec)
    kind = spec.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise PackageError("is not a kind of pre-processing", field="preprocess.kind", value=kind, fix=f"one of {', '.join(KINDS)}")

    def side_file(name: str) -> bytes:
        try:
            return root[name] if isinstance(root, Mapping) else (root / name).read_bytes()
        except (OSError, KeyError) as e:
            raise PackageError("side file cannot be read", field=f"preprocess: {name}", value=str(e), fix="copy the package again") from e

    return KINDS[kind](spec, side_file)
