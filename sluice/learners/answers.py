"""A trained model's own answers, before it is exported: what the export is proved against, and what cross-validation judges."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from sluice.core.errors import DataError
from sluice.engines.rows import rows_from_arrow, tensors_from_arrow

if TYPE_CHECKING:
    from sluice.data.dataset import Dataset
    from sluice.fields.base import Example
    from sluice.learners.base import Trained

#: Rows a batch in the proof, and rows read at a time of a whole split.
_BATCH, _WINDOW = 16, 1024


def own_answers(trained: Trained, examples: Sequence[Example], rows: int = _BATCH) -> np.ndarray:
    """The answers to encoded rows, in their order: probabilities [rows, labels] or values [rows], FP32.

    Args:
        trained: the model.
        examples: as its processor encodes them; rows of like length go together.
        rows: a batch.
    """
    order = np.argsort([trained.processor.length(x) for x in examples], kind="stable")
    parts = [trained.run(trained.processor.batch([examples[i] for i in order[at : at + rows]])) for at in range(0, len(order), rows)]
    answer = np.concatenate(parts)
    out = np.empty_like(answer)
    out[order] = answer
    return out


def split_answers(trained: Trained, dataset: Dataset, split: str) -> np.ndarray:
    """The answers to a whole split, in its order: probabilities [rows, labels] or values [rows], float64.

    Raises:
        DataError: it has no rows, or one that cannot be pre-processed.
    """
    parts = []
    processor = trained.processor
    for batch in dataset.batches(split, rows=_WINDOW):
        if processor.alike:
            tensors, rows = tensors_from_arrow(processor, batch), 4 * _BATCH
            stretches = ({name: values[at : at + rows] for name, values in tensors.items()} for at in range(0, batch.num_rows, rows))
            parts += [trained.run(some) for some in stretches]
            continue
        parts.append(own_answers(trained, processor.encode(rows_from_arrow(trained.state.preprocess, batch)), 4 * _BATCH))
    if not parts:
        raise DataError("has no rows", field=f"dataset {split}", fix="check data.split")
    return np.concatenate(parts).astype(np.float64)
