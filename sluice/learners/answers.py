"""A trained model's own answers, before it is exported: what the export is proved against, and what cross-validation judges."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from sluice.fields.base import Example
    from sluice.learners.base import Trained

_BATCH = 16


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
