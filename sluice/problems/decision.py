"""From probabilities to a label: the most probable one, or the one a chosen threshold says.

The one place where it is decided: evaluation, batch prediction and the server all ask here. numpy alone, so that a server may.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Rule:
    """A decision of two labels: `label` where its probability is at least `threshold`, else the other.

    Attributes:
        label: the positive label.
        threshold: in [0, 1]; compared in float64, whatever the probabilities are.
        aim: what it was chosen for, in words.
    """

    label: str
    threshold: float
    aim: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON."""
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        return f"{self.label} where its probability is at least {self.threshold:.6g}" + (f" ({self.aim})" if self.aim else "")


def read(raw: Mapping[str, Any] | None, labels: Sequence[str]) -> Rule | None:
    """The rule that a package's ``decision`` holds; None for none.

    Raises:
        ValueError: it is no rule of these labels; the text says why.
    """
    if raw is None:
        return None
    if not isinstance(raw, Mapping) or not {"label", "threshold"} <= set(raw) <= {"label", "threshold", "aim"}:
        raise ValueError("must have label, threshold and aim")
    label, threshold, aim = raw["label"], raw["threshold"], raw.get("aim", "")
    if len(labels) != 2:
        raise ValueError(f"is for a model of two labels, this one has {len(labels)}")
    if label not in labels:
        raise ValueError(f"names no label of the model ({', '.join(labels)})")
    if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not (math.isfinite(threshold) and 0 <= threshold <= 1):
        raise ValueError("threshold must be a number from 0 to 1")
    if not isinstance(aim, str):
        raise ValueError("aim must be a text")
    return Rule(label, float(threshold), aim)


def codes(probabilities: np.ndarray, labels: Sequence[str], rule: Rule | None) -> np.ndarray:
    """What is answered: indices into `labels`, int64 [N].

    Args:
        probabilities: [N, labels], of any floating type.
        labels: of the model, in the order of the columns.
        rule: of the model; without it the largest probability wins, the first of equal ones.
    """
    if rule is None:
        return np.asarray(probabilities).argmax(axis=1).astype(np.int64)
    at = labels.index(rule.label)
    return np.where(probabilities[:, at] >= np.float64(rule.threshold), at, 1 - at).astype(np.int64)
