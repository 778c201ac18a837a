"""Similarity: an answer is a text's vector, and vectors are judged by how their cosines tell pairs that mean the same from those that do not."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from sluice.core.errors import DataError, SluiceError
from sluice.problems.arrays import Arrays
from sluice.problems.metric import Metric
from sluice.problems.problem import Problem, problem
from sluice.problems.units import Units

if TYPE_CHECKING:
    import pyarrow as pa

    from sluice.data.dataset import Dataset
    from sluice.problems.answers import Answers
    from sluice.problems.decision import Rule

_BINS = 20


class Similarity(Arrays):
    """FP32 [rows, dimensions] of length one; the truth of a pair is its score, more for what is more alike.

    Where every pair has the same score, all of them mean the same: then each first text is judged beside another pair's second one, too.
    """

    name: ClassVar[str] = "text_similarity"
    served: ClassVar[str] = "text_similarity"
    label: ClassVar[str] = "numeric"
    lopsided: ClassVar[bool] = True
    output: ClassVar[str] = "vector"
    counted: ClassVar[str] = "held-out pairs"
    answer_change: ClassVar[float] = 0.05

    def labels(self, column: pa.ChunkedArray) -> list[str]:
        """None: how long a vector is, the model says."""
        return []

    def check_labels(self, labels: Sequence[str]) -> None:
        """Raises `ValueError`: they are not the numbers of a vector's parts."""
        if list(labels) != [str(i) for i in range(len(labels))]:
            raise ValueError("are not the numbers of a vector's parts: 0, 1, ...")

    def described(self, labels: Sequence[str]) -> str:
        return "a pair of texts has a score"

    def targets(self, column: pa.ChunkedArray, labels: Sequence[str]) -> np.ndarray:
        """float64 [rows]."""
        return np.asarray(column.to_numpy(), dtype=np.float64)

    @functools.cached_property
    def _metrics(self) -> dict[str, Metric]:
        from sluice.problems.of_pairs import Auc, Pearson, Spearman

        every = (
            Spearman("spearman", self.name, "higher", least=-1.0),
            Pearson("pearson", self.name, "higher", least=-1.0),
            Auc("pair_auc", self.name, "higher"),
        )
        return {m.name: m for m in every}

    @property
    def by_row(self) -> Problem:
        """A format is proved by the vectors themselves."""
        return problem(Vectors.name)

    def judged(
        self,
        predict: Callable[[Sequence[Any]], np.ndarray],
        ask: Callable[[str], np.ndarray],
        dataset: Dataset,
        split: str,
        labels: Sequence[str],
    ) -> tuple[np.ndarray, np.ndarray]:
        """Cosines of the split's pairs [pairs, 1], and their scores; behind them pairs put together at random where all mean the same (scores 1 and 0)."""
        table = dataset.read(split, ["pair", "label"])
        firsts, seconds = (np.array(side, dtype=object) for side in zip(*table.column("pair").to_pylist(), strict=True))
        a, b = (_unit(predict(list(side))) for side in (firsts, seconds))
        scores = self.targets(table.column("label"), labels)
        near = (a * b).sum(axis=1)
        if not one_score(scores):
            return near[:, None], scores
        far = (a * b[shifted(len(b))]).sum(axis=1)
        return np.concatenate([near, far])[:, None], np.repeat([1.0, 0.0], len(near))

    def trivial(self, dataset: Dataset, labels: Sequence[str], metric: str, positive: str | None) -> tuple[str, np.ndarray]:
        """The share of words that both texts have (Jaccard's)."""
        table = dataset.read("test", ["pair", "label"])
        words = [[set(t.lower().split()) for t in pair] for pair in table.column("pair").to_pylist()]

        def shared(order: np.ndarray) -> list[float]:
            return [len(a & words[j][1]) / max(1, len(a | words[j][1])) for (a, _), j in zip(words, order.tolist(), strict=True)]

        found = shared(np.arange(len(words)))
        if one_score(self.targets(table.column("label"), labels)):
            found += shared(shifted(len(words)))
        return "the share of words in common", np.array(found)[:, None]

    def units(self, dataset: Dataset, split: str) -> Units | None:
        """As of any rows; of pairs that are judged twice, both together."""
        own = super().units(dataset, split)
        if not one_score(self.targets(dataset.read(split, ["label"]).column("label"), ())):
            return own
        codes = own.codes if own else np.arange(dataset.rows(split), dtype=np.int64)
        return Units(own.of if own else "pair", np.tile(codes, 2))

    def answers(self, outputs: np.ndarray, targets: np.ndarray, labels: Sequence[str], **told: Any) -> Answers:
        """Of cosines [pairs, 1].

        Raises:
            DataError: no pairs, or shapes that do not match.
            SluiceError: a cosine is not finite.
        """
        from sluice.problems.answers import Answers

        outputs, targets = np.asarray(outputs, dtype=np.float64), np.asarray(targets, dtype=np.float64)
        if not len(targets):
            raise DataError("has no rows to judge a model on", field="test split", fix="raise data.split.test, or name a data.test file")
        if outputs.shape != (len(targets), 1):
            raise DataError(f"have shape {list(outputs.shape)}, a cosine a pair is [{len(targets)}, 1]", field="the model's outputs")
        if not np.isfinite(outputs).all():
            raise SluiceError("are not finite", field="the model's outputs", fix="train with a smaller learning_rate or a gradient_clip")
        return Answers(outputs, targets, np.empty(0, dtype=np.int64), None, told.get("units"))

    def pair(
        self, ours: Answers, labels: Sequence[str], outputs: np.ndarray, their_labels: Sequence[str], rule: Rule | None
    ) -> tuple[Answers, Answers, np.ndarray]:
        """All pairs: vectors may be as long as they will."""
        return ours, self.answers(outputs, ours.targets, their_labels, units=ours.units), np.ones(len(ours.targets), dtype=bool)

    def constant(self, targets: np.ndarray, labels: Sequence[str], metric: str, positive: str | None) -> tuple[str, np.ndarray]:
        """The same cosine for every pair."""
        return "one cosine for all pairs", np.zeros(1)

    def details(self, a: Answers, labels: Sequence[str], rule: Rule | None, config: Any) -> dict[str, Any]:
        """``cosines``: how many pairs of the upper and of the lower half of scores have which cosine."""
        edges = np.linspace(-1, 1, _BINS + 1)
        high = a.targets > np.median(a.targets) if len(np.unique(a.targets)) > 2 else a.targets == a.targets.max()
        counted = [np.histogram(a.outputs[rows, 0].clip(-1, 1), edges)[0].tolist() for rows in (high, ~high)]
        return {"cosines": {"edges": edges.round(2).tolist(), "high": counted[0], "low": counted[1]}}

    def section(self, found: Mapping[str, Any]) -> str:
        """Both histograms, one above the other."""
        from sluice.report import svg

        c = found["cosines"]
        drawn = (svg.histogram(c["edges"], c[k], f"cosine of pairs with {k} scores") for k in ("high", "low"))
        return "<h3>What tells pairs apart</h3>" + "".join(f"<figure>{d}</figure>" for d in drawn)

    def columns(self, outputs: np.ndarray, labels: Sequence[str], rule: Rule | None) -> dict[str, pa.Array]:
        """``vector``: a list a row."""
        import pyarrow as pa

        return {self.output: pa.array(list(np.asarray(outputs, dtype=np.float32)), pa.list_(pa.float32()))}


class Vectors(Arrays):
    """Vectors of length one, by the angle between two graphs' own."""

    name: ClassVar[str] = "vectors"

    def targets(self, column: pa.ChunkedArray, labels: Sequence[str]) -> np.ndarray:
        """As `Similarity.targets`: nothing is true of a vector by itself."""
        return np.asarray(column.to_numpy(), dtype=np.float64)

    def proof(self, targets: np.ndarray, reference: np.ndarray) -> np.ndarray:
        """The trained model's own vectors."""
        return reference

    @functools.cached_property
    def _metrics(self) -> dict[str, Metric]:
        from sluice.problems.of_pairs import CosineDistance

        return {"cosine_distance": CosineDistance("cosine_distance", self.name, "lower", most=2.0)}

    def scale(self, reference: np.ndarray) -> float:
        return 1.0

    def change(self, outputs: np.ndarray, base: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """One less the cosine."""
        return np.asarray(1 - (_unit(outputs) * _unit(base)).sum(axis=1))

    def agreement(self, outputs: np.ndarray, others: np.ndarray, labels: Sequence[str], rule: Rule | None, reference: np.ndarray) -> float:
        """The share of rows whose vectors have a cosine of 0.99."""
        return float((self.change(outputs, others, outputs) <= 0.01).mean())


def one_score(scores: np.ndarray) -> bool:
    """Whether all pairs have the same score."""
    return len(scores) < 2 or bool((scores == scores[0]).all())


def shifted(rows: int) -> np.ndarray:
    """For each pair another one, always the same: a third of the way on."""
    return (np.arange(rows) + max(1, rows // 3)) % max(1, rows)


def _unit(vectors: np.ndarray) -> np.ndarray:
    found = np.asarray(vectors, dtype=np.float64)
    return np.asarray(found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12))
