"""Metrics of tags that make spans; a row is a text, and its words belong together."""

from __future__ import annotations

import dataclasses
import math
from typing import ClassVar

import numpy as np

from sluice.problems.answers import Answers
from sluice.problems.of_means import OfMeans
from sluice.problems.spans import spans

_EPSILON = float(np.finfo(np.float64).eps)
_Spans = list[set[tuple[int, int, str]]]


@dataclasses.dataclass(frozen=True, eq=False)
class Tagged(Answers):
    """Answers to words, with the names of the tags."""

    tags: tuple[str, ...] = ()

    def rows(self, which: np.ndarray) -> Tagged:
        """As `Answers.rows`."""
        found = super().rows(which)
        return Tagged(found.outputs, found.targets, found.predicted, found.positive, found.units, tags=self.tags)


def met(a: Tagged) -> tuple[_Spans, _Spans]:
    """The spans that are answered and those that are true, of each row; found once for some answers."""
    if "spans" not in a.memo:
        said, true = a.outputs[:, :, :-2].argmax(axis=2), a.targets
        names = [*a.tags, "S-\0", "O"]  # a tag the model does not know is a span that is never met; behind the words there is none
        a.memo["spans"] = tuple(
            [set(spans([names[int(t)] for t in row[: int((there != -1).sum())]])) for row, there in zip(tags, true, strict=True)]
            for tags in (said, np.where(true == -2, len(a.tags), true))
        )
    return a.memo["spans"]  # type: ignore[no-any-return]


class SpanF1(OfMeans):
    """span_f1: twice the spans met whole and by their kind, of all that were answered and all that are true; 1 where there are neither."""

    by_label: ClassVar[bool] = True

    def moments(self, a: Answers) -> np.ndarray:
        assert isinstance(a, Tagged)
        counted = [(len(s & t), len(s) + len(t)) for s, t in zip(*met(a), strict=True)]
        return np.array(counted, dtype=np.float64).reshape(-1, 2)

    def combine(self, means: np.ndarray) -> np.ndarray:
        whole = means[..., 1]
        return np.where(whole > 0, 2 * means[..., 0] / np.where(whole > 0, whole, 1), 1.0)


class WordAccuracy(OfMeans):
    """word_accuracy: the share of words with the right tag."""

    by_label: ClassVar[bool] = True

    def moments(self, a: Answers) -> np.ndarray:
        there = a.targets != -1
        right = there & (a.outputs[:, :, :-2].argmax(axis=2) == a.targets)
        return np.stack([right.sum(axis=1), there.sum(axis=1)], axis=1).astype(np.float64)

    def combine(self, means: np.ndarray) -> np.ndarray:
        return np.asarray(means[..., 0] / np.maximum(means[..., 1], _EPSILON))


@dataclasses.dataclass(frozen=True)
class WordLoss(OfMeans):
    """word_log_loss: -log of the probability of each word's tag in nats, the mean over words; clipped at machine epsilon."""

    most: float = math.inf

    def moments(self, a: Answers) -> np.ndarray:
        there, known = a.targets != -1, a.targets >= 0
        own = np.take_along_axis(a.outputs[:, :, :-2], np.maximum(a.targets, 0).astype(np.int64)[:, :, None], axis=2)[:, :, 0]
        loss = -np.log(np.clip(np.where(known, own, 0.0), _EPSILON, 1.0)) * there
        return np.stack([loss.sum(axis=1), there.sum(axis=1)], axis=1)

    def combine(self, means: np.ndarray) -> np.ndarray:
        return np.asarray(means[..., 0] / np.maximum(means[..., 1], _EPSILON))
