"""Ranking: an answer is a list of items, the best first, each with its score.

On the graph's side an answer is ``ranking`` FP32 [rows, top, 2]: the item's place among the labels, and its score; where there are fewer
items than places, -1 and 0. For judging a third number is put behind: the item's self-information in bits, by the training rows.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from sluice.core.datatypes import TensorSpec
from sluice.core.errors import DataError, SluiceError
from sluice.problems.arrays import Arrays
from sluice.problems.metric import Metric
from sluice.problems.truth import Truth

if TYPE_CHECKING:
    import pyarrow as pa

    from sluice.data.dataset import Dataset
    from sluice.problems.answers import Answers
    from sluice.problems.decision import Rule
    from sluice.problems.units import Units

#: Places of an answer; metrics look at as many, or at the first `FIRST`.
TOP, FIRST = 20, 10
#: The dataset's column of who a row is of.
USER = "user"


class Ranking(Arrays):
    """What a user takes next, as a list. The truth is the list of items that came after the cut."""

    name: ClassVar[str] = "ranking"
    served: ClassVar[str] = "ranking"
    label: ClassVar[str] = "names"
    splits: ClassVar[tuple[str, ...]] = ("hash", "group", "time")
    output: ClassVar[str] = "ranking"
    #: Names of each history that no item is called.
    further: ClassVar[tuple[TensorSpec, ...]] = (TensorSpec("unknown", "INT64", (-1,)),)
    #: Share of the first items that others took the place of.
    answer_change: ClassVar[float] = 0.5
    changes: ClassVar[str] = "of the first items"
    tells: ClassVar[Mapping[str, tuple[str, tuple[int, ...]]]] = MappingProxyType({"items": ("BYTES", (-1,)), "scores": ("FP32", (-1,))})

    # --- labels, targets, outputs ---

    def labels(self, column: pa.ChunkedArray) -> list[str]:
        """Every item of any row, sorted."""
        import pyarrow.compute as pc

        return sorted(pc.list_flatten(column).unique().to_pylist())

    def check_labels(self, labels: Sequence[str]) -> None:
        if len(labels) < 2:
            raise ValueError("name the items to choose between, and there must be two at least")
        if len(set(labels)) != len(labels):
            raise ValueError("name an item twice")

    def described(self, labels: Sequence[str]) -> str:
        return f"an answer is a list of {len(labels):,} items"

    def targets(self, column: pa.ChunkedArray, labels: Sequence[str]) -> np.ndarray:
        """See `Truth`; of the rows' histories and of how common items are it tells nothing."""
        return Truth.of(column, labels).array

    def width(self, labels: Sequence[str]) -> tuple[int, ...]:
        return (min(TOP, len(labels)), 2)

    # --- judging ---

    @functools.cached_property
    def _metrics(self) -> dict[str, Metric]:
        from sluice.problems.of_lists import METRICS

        return {m.name: m for m in METRICS}

    def judged(
        self,
        predict: Callable[[Sequence[Any]], np.ndarray],
        ask: Callable[[str], np.ndarray],
        dataset: Dataset,
        split: str,
        labels: Sequence[str],
    ) -> tuple[np.ndarray, np.ndarray]:
        """Lists with each item's self-information, and the truth with each row's history."""
        table = dataset.read(split, ["history", "label"])
        bits = information(dataset, labels)
        return informed(ask(split), bits), Truth.of(table.column("label"), labels, table.column("history"), bits).array

    def units(self, dataset: Dataset, split: str) -> Units | None:
        """Users."""
        from sluice.problems.units import Units

        return Units.told(USER, dataset.read(split, [USER]).column(USER).to_pylist())

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
        from sluice.problems.answers import Answers

        outputs, targets = np.asarray(outputs, dtype=np.float64), np.asarray(targets, dtype=np.float64)
        if not len(targets):
            raise DataError(
                "has no rows to judge a model on", field="test split", fix="raise data.split.test, or give interactions of more users"
            )
        places = self.width(labels)[0]
        if outputs.ndim != 3 or outputs.shape[:2] != (len(targets), places) or outputs.shape[2] not in (2, 3):
            raise DataError(
                f"have shape {list(outputs.shape)}, the held-out rows need {[len(targets), places, 2]}", field="the model's outputs"
            )
        if not np.isfinite(outputs).all():
            raise SluiceError(
                "are not finite", field="the model's outputs", fix="train with more regularisation, or a smaller learning_rate"
            )
        if outputs.shape[2] == 2:
            outputs = np.concatenate([outputs, np.zeros((*outputs.shape[:2], 1))], axis=2)
        return Answers(outputs, targets, np.empty(0, dtype=np.int64), None, units)

    def pair(
        self, ours: Answers, labels: Sequence[str], outputs: np.ndarray, their_labels: Sequence[str], rule: Rule | None
    ) -> tuple[Answers, Answers, np.ndarray]:
        """All rows; an item that only the other knows is none that came."""
        import dataclasses

        self.check_labels(their_labels)
        index = {label: i for i, label in enumerate(labels)}
        place = np.array([*(index.get(label, -1) for label in their_labels), -1], dtype=np.float64)
        found = np.array(outputs, dtype=np.float64)
        found[..., 0] = place[found[..., 0].astype(np.int64)]
        if found.shape[2] == 2:
            found = np.concatenate([found, np.zeros((*found.shape[:2], 1))], axis=2)
        theirs = dataclasses.replace(ours, outputs=found, memo={})
        return ours, theirs, np.ones(len(ours.targets), dtype=bool)

    def told_apart(self, ours: Answers, theirs: Answers) -> dict[str, float]:
        """Rows whose first items are not the same in the same order."""
        first, second = ours.outputs[:, :FIRST, 0], theirs.outputs[:, :FIRST, 0]
        k = min(first.shape[1], second.shape[1])
        return {"n_discordant": int((first[:, :k] != second[:, :k]).any(axis=1).sum())}

    def trivial(self, dataset: Dataset, labels: Sequence[str], metric: str, positive: str | None) -> tuple[str, np.ndarray]:
        """The items that most training rows hold, but for those of the history where no item comes again."""
        table = dataset.read("test", ["history", "label"])
        counts = popularity(dataset, labels)
        seen = None if comes_again(table) else Truth.of(table.column("history"), labels).codes
        return "the most popular items", informed(popular(counts, seen, len(table), self.width(labels)[0]), information(dataset, labels))

    def constant(self, targets: np.ndarray, labels: Sequence[str], metric: str, positive: str | None) -> tuple[str, np.ndarray]:
        codes = Truth(targets).codes
        counts = np.bincount(codes[codes >= 0], minlength=len(labels)).astype(np.float64)
        return "the most popular items", popular(counts, None, 1, self.width(labels)[0])[0]

    # --- two graphs' answers to the same rows ---

    def scale(self, reference: np.ndarray) -> float:
        """The deviation of the scores."""
        return super().scale(reference[..., 1])

    def apart(self, outputs: np.ndarray, others: np.ndarray) -> float:
        """The largest difference of the scores at one place, or of one item's; an item that is in one list alone has at most the last score of
        the other. Items of all but equal scores may change places."""
        a, b = outputs.astype(np.float64), others.astype(np.float64)
        found = float(np.abs(a[..., 1] - b[..., 1]).max())
        same = a[:, :, None, 0] == b[:, None, :, 0]
        own = np.abs(a[:, :, None, 1] - b[:, None, :, 1])
        found = max(found, float(np.where(same, own, 0.0).max()))
        for first, other, shared in ((a, b, same.any(axis=2)), (b, a, same.any(axis=1))):
            above = first[..., 1] - other[:, -1:, 1]
            found = max(found, float(np.where(shared | (first[..., 0] < 0), 0.0, above).max()))
        return found

    def change(self, outputs: np.ndarray, base: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """The share of the first items that are no longer among the first."""
        a, b = outputs[:, :FIRST, 0], base[:, :FIRST, 0]
        kept = (b[:, :, None] == a[:, None, :]).any(axis=2)
        return np.asarray(1.0 - kept.mean(axis=1))

    def agreement(self, outputs: np.ndarray, others: np.ndarray, labels: Sequence[str], rule: Rule | None, reference: np.ndarray) -> float:
        """The share of rows with the same first item."""
        return float((outputs[:, 0, 0] == others[:, 0, 0]).mean())

    # --- answering ---

    def details(self, a: Answers, labels: Sequence[str], rule: Rule | None, config: Any) -> dict[str, Any]:
        """By how long the history is, items of the head and of the tail, and some rows."""
        from sluice.problems.ranking_details import details

        return {"ranking": details(a, labels, config)}

    def section(self, found: Mapping[str, Any]) -> str:
        """See `details`."""
        from sluice.problems.ranking_details import section

        return section(found["ranking"])

    def told(self, outputs: np.ndarray, labels: Sequence[str]) -> dict[str, np.ndarray]:
        """``items`` (object [rows, top], "" where there is none) and ``scores`` (FP32 [rows, top])."""
        names = np.array([*labels, ""], dtype=object)
        return {"items": names[outputs[..., 0].astype(np.int64)], "scores": np.ascontiguousarray(outputs[..., 1], dtype=np.float32)}

    def observed(self, outputs: np.ndarray) -> np.ndarray:
        """The first item's score."""
        return np.asarray(outputs[:, 0, 1], dtype=np.float64)


def popularity(dataset: Dataset, labels: Sequence[str]) -> np.ndarray:
    """How often each item was taken in the training rows, float64 [items]."""
    import pyarrow.compute as pc

    found = pc.list_flatten(dataset.read("train", ["label"]).column("label")).value_counts()
    counts = dict(zip(found.field("values").to_pylist(), found.field("counts").to_pylist(), strict=True))
    return np.array([counts.get(label, 0) for label in labels], dtype=np.float64)


def information(dataset: Dataset, labels: Sequence[str]) -> np.ndarray:
    """Bits each item tells, -log2 of its share of what was taken in the training rows, as if once more, float64 [items] (Zhou et al., PNAS 107, 2010)."""
    counts = popularity(dataset, labels) + 1
    return np.asarray(-np.log2(counts / counts.sum()))


def informed(outputs: np.ndarray, bits: np.ndarray) -> np.ndarray:
    """Lists [rows, top, 2] with each item's bits behind, [rows, top, 3]; 0 where there is no item."""
    return np.concatenate([outputs, np.append(bits, 0.0)[outputs[..., 0].astype(np.int64)][..., None]], axis=2)


def popular(counts: np.ndarray, seen: np.ndarray | None, rows: int, places: int) -> np.ndarray:
    """The items of the largest counts for each row, but for those seen (codes [rows, any], below 0 for none): [rows, places, 2]."""
    order = np.argsort(-counts, kind="stable")
    order = order[counts[order] > 0]
    out = np.zeros((rows, places, 2))
    out[..., 0] = -1
    for row in range(rows):
        hidden = set() if seen is None else set(seen[row].tolist())
        best = [i for i in order[: places + len(hidden)].tolist() if i not in hidden][:places]
        out[row, : len(best), 0], out[row, : len(best), 1] = best, counts[best]
    return out


def comes_again(table: pa.Table) -> bool:
    """Whether an item of a row's answer was in its history."""
    pairs = zip(table.column("history").to_pylist(), table.column("label").to_pylist(), strict=True)
    return any(not set(before or ()).isdisjoint(after or ()) for before, after in pairs)
