"""Metrics of transcripts: edits, as shares of what is true (Morris, Maier, Green, Interspeech 2004, on the word error rate)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from sluice.problems.answers import Answers
from sluice.problems.edits import distances
from sluice.problems.of_means import OfMeans


def counted(truth: Sequence[str], said: Sequence[str]) -> np.ndarray:
    """Edits, and how many are true, of the words and of the characters of each row: float64 [rows, 2, 2]."""
    words = [t.split() for t in truth], [t.split() for t in said]
    letters = [" ".join(t) for t in words[0]], [" ".join(t) for t in words[1]]
    kinds = [np.stack([distances(t, s), np.array([len(x) for x in t])], axis=1) for t, s in (words, letters)]
    return np.stack(kinds, axis=1).astype(np.float64)


@dataclasses.dataclass(frozen=True)
class OfTranscripts(OfMeans):
    """A function of means over rows of their edits; `counted` stands behind an answer's places."""

    by_label: ClassVar[bool] = True
    kind: ClassVar[int] = -2

    def alike(self, ours: Answers, theirs: Answers) -> bool:
        return np.array_equal(ours.outputs[..., 0], theirs.outputs[..., 0])

    def moments(self, a: Answers) -> np.ndarray:
        return np.asarray(a.outputs[:, self.kind, :])

    def combine(self, means: np.ndarray) -> np.ndarray:
        true = means[..., 1]
        return np.where(true > 0, means[..., 0] / np.where(true > 0, true, 1), np.nan)


@dataclasses.dataclass(frozen=True)
class WordErrorRate(OfTranscripts):
    """Words substituted, left out and put in, of those that are true: of all rows together, so it may exceed 1."""

    most: float = math.inf


@dataclasses.dataclass(frozen=True)
class CharacterErrorRate(WordErrorRate):
    """The same of characters, spaces among them."""

    kind: ClassVar[int] = -1


class SentenceErrorRate(OfTranscripts):
    """The share of transcripts with any error."""

    def moments(self, a: Answers) -> np.ndarray:
        return np.asarray(a.outputs[:, self.kind, :1] > 0, dtype=np.float64)

    def combine(self, means: np.ndarray) -> np.ndarray:
        return np.asarray(means[..., 0])
