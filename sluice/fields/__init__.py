"""From a raw row to the graph's tensors: the one pre-processing code of the project.

Training, evaluation, batch prediction and the model server all call it, so what a model
was trained on and what it is served are the same numbers. Only numpy is imported at the
top; `tokenizers` and Pillow when a processor that needs them is loaded.
"""

from __future__ import annotations

from sluice.fields.audio import AudioProcessor
from sluice.fields.base import Processor
from sluice.fields.column import Column, ColumnField
from sluice.fields.field import FIELDS, Field, field_of, fields_of
from sluice.fields.image import ImageProcessor
from sluice.fields.processors import load_processor, processor_class
from sluice.fields.tabular import TabularProcessor
from sluice.fields.tensor import TensorInput, TensorProcessor
from sluice.fields.text import TextProcessor

__all__ = [
    "FIELDS",
    "AudioProcessor",
    "Column",
    "ColumnField",
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
    "processor_class",
]
