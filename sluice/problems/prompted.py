"""Answers of a language model to items of a golden set: texts, judged by scores an item."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from sluice.core.errors import DataError
from sluice.problems.arrays import Arrays
from sluice.problems.metric import Metric
from sluice.problems.of_scores import COLUMNS, MEASURED, SCORES, OfScores

if TYPE_CHECKING:
    import pyarrow as pa

    from sluice.data.dataset import Dataset
    from sluice.problems.answers import Answers
    from sluice.problems.decision import Rule
    from sluice.problems.units import Units


class Prompted(Arrays):
    """An answer is a text. What is judged is an item of a golden set: float64 [items, `COLUMNS`], the mean of its samples, NaN where nothing asks for a score."""

    name: ClassVar[str] = "prompted"
    served: ClassVar[str] = "prompted"
    label: ClassVar[str] = "text"
    output: ClassVar[str] = "answer"
    datatype: ClassVar[str] = "BYTES"
    counted: ClassVar[str] = "items"
    better: ClassVar[str] = "change the prompt, or the model it asks"
    more: ClassVar[str] = "change the prompt, with an eye on items"
    splits: ClassVar[tuple[str, ...]] = ("hash", "group")
    replayed_by: ClassVar[str] = "sluice.llm.replay:judges"
    asked_by: ClassVar[str] = "sluice.llm.evaluation:judged"

    # --- labels, targets, outputs ---

    def labels(self, column: pa.ChunkedArray) -> list[str]:
        """None: an answer is any text."""
        return []

    def check_labels(self, labels: Sequence[str]) -> None:
        if labels:
            raise ValueError("name labels, and an answer is any text")

    def described(self, labels: Sequence[str]) -> str:
        return "an answer is a text"

    def targets(self, column: pa.ChunkedArray, labels: Sequence[str]) -> np.ndarray:
        """The expected texts, object [rows]; "" where none is."""
        return np.array([v or "" for v in column.to_pylist()], dtype=object)

    def width(self, labels: Sequence[str]) -> tuple[int, ...]:
        return ()

    # --- judging ---

    @functools.cached_property
    def _metrics(self) -> dict[str, Metric]:
        scores = [OfScores(name, self.name, "higher", at=i) for i, name in enumerate(SCORES)]
        other = [OfScores(n, self.name, better, most=most, at=COLUMNS.index(n)) for n, (better, most) in MEASURED.items()]
        return {m.name: m for m in (*scores, *other)}

    def metrics(self) -> Mapping[str, Metric]:
        """The mean score decides."""
        return self._metrics

    def answers(
        self,
        outputs: np.ndarray,
        targets: np.ndarray,
        labels: Sequence[str],
        *,
        rule: Rule | None = None,
        positive: str | None = None,
        units: Units | None = None,
    ) -> Answers:
        """What was found of each item. Raises `DataError`: there are none, or of another number."""
        from sluice.problems.answers import Answers

        outputs = np.asarray(outputs, dtype=np.float64)
        if outputs.shape != (len(targets), len(COLUMNS)) or not len(targets):
            raise DataError(
                "holds no items that were judged", field="data.source", value=list(outputs.shape), fix="add items to the golden set"
            )
        return Answers(outputs, np.asarray(targets), np.empty(0, dtype=np.int64), None, units)

    def told_apart(self, ours: Answers, theirs: Answers) -> dict[str, float]:
        """Items with another score, and on how many each is better."""
        gain = ours.outputs[:, 0] - theirs.outputs[:, 0]
        return {"n_discordant": int((gain != 0).sum()), "candidate_better": int((gain > 0).sum()), "champion_better": int((gain < 0).sum())}

    def constant(self, targets: np.ndarray, labels: Sequence[str], metric: str, positive: str | None) -> tuple[str, np.ndarray]:
        """The commonest expected answer."""
        said, times = Counter(map(str, targets)).most_common(1)[0]
        row = np.full(len(COLUMNS), 0.0)
        row[: len(SCORES)] = times / len(targets)
        return f"answering {said[:40]!r} throughout", row

    def trivial(self, dataset: Dataset, labels: Sequence[str], metric: str, positive: str | None) -> tuple[str, np.ndarray]:
        """The commonest expected answer of the golden set, given to each of its items: right where it is the item's own."""
        targets = self.targets(dataset.read("test", ["label"]).column("label"), labels)
        said = Counter(t for t in map(str, targets) if t).most_common(1)
        found = np.zeros((len(targets), len(COLUMNS)))
        if not said:
            return "answering nothing", found
        found[:, : len(SCORES)] = np.array([t == said[0][0] for t in targets], dtype=np.float64)[:, None]
        return f"answering {said[0][0][:40]!r} throughout", found

    def missed(self, answer: np.ndarray, targets: np.ndarray) -> np.ndarray:
        return np.ones(len(targets), dtype=bool)

    def details(self, a: Answers, labels: Sequence[str], rule: Rule | None, config: Any) -> dict[str, Any]:
        """Nothing: what was answered is told by the check of prompts."""
        return {}

    # --- answering ---

    def columns(self, outputs: np.ndarray, labels: Sequence[str], rule: Rule | None) -> dict[str, pa.Array]:
        """The texts."""
        import pyarrow as pa

        return {self.output: pa.array([str(v) for v in outputs], pa.string())}

    def observed(self, outputs: np.ndarray) -> np.ndarray:
        """How long each answer is, in characters."""
        return np.array([len(str(v)) for v in outputs], dtype=np.float64)
