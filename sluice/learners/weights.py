"""How much the rows of a label weigh in the loss: ``train.class_weights``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from sluice.core.errors import ProjectError


def label_weights(given: Literal["balanced"] | Mapping[str, float] | None, labels: Sequence[str], codes: np.ndarray) -> list[float] | None:
    """A weight a label, scaled so that the training rows' mean is 1: the learning rate means the same with and without. None: all weigh the same.

    Args:
        given: the setting.
        labels: the model's; empty for a quantity.
        codes: the training rows' indices into them.

    Raises:
        ProjectError: a quantity has no classes; a name is no label.
    """
    if given is None:
        return None
    if not labels:
        raise ProjectError(
            "weighs classes, but the label is a quantity",
            field="train.class_weights",
            value=given,
            fix="remove it, or set model.objective: classification",
        )
    counts = np.bincount(codes, minlength=len(labels)).astype(np.float64)
    if given == "balanced":
        return [float(w) for w in counts.sum() / (max(1, np.count_nonzero(counts)) * np.maximum(counts, 1))]
    wrong = next((n for n in given if n not in labels), None)
    if wrong is not None:
        raise ProjectError("is no label of the data", field="train.class_weights", value=wrong, fix=f"labels: {', '.join(labels[:20])}")
    weights = np.array([given.get(label, 1.0) for label in labels])
    return [float(w) for w in weights * counts.sum() / max(float((weights * counts).sum()), 1e-300)]
