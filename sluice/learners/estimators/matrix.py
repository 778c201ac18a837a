"""A table's rows as one matrix of numbers, in memory and inside the ONNX graph: the same operations, so the same numbers."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sluice.learners.estimators.words import Words
from sluice.learners.tables.codes import KNOWN, coded, codes

if TYPE_CHECKING:
    from sluice.learners.estimators.base import Estimator
    from sluice.learners.state import State
    from sluice.learners.tables.nodes import Nodes

#: Values of a category, the commonest first, that have a column of their own.
_ONE_HOT = 64


@dataclasses.dataclass(frozen=True)
class Category:
    """A category's columns: one for what is missing, one for each of its commonest values, all 0 for a value the training rows did not hold.

    Attributes:
        values: known ones, the commonest first.
        ranks: whether a further column holds a value's rank by frequency, from 1, where they are too many for a column each.
        narrow: whether the rank stands in place of a column a value.
        scores: of each value what is learnt of it from the answers, in the last columns [values, scores]; 0 for what is unknown.
    """

    values: Sequence[str]
    ranks: bool
    scores: Sequence[Sequence[float]] = dataclasses.field(default_factory=list)
    narrow: bool = False

    @property
    def many(self) -> bool:
        """Whether they are too many for a column each."""
        return len(self.values) > _ONE_HOT

    @functools.cached_property
    def codes(self) -> dict[str, int]:
        """value -> row of `table`."""
        return codes(self.values)

    @functools.cached_property
    def table(self) -> np.ndarray:
        """What stands for each code, FP32 [codes, columns]."""
        many, shown = self.many or self.narrow, 0 if self.narrow else min(len(self.values), _ONE_HOT)
        out = np.zeros((len(self.values) + KNOWN, 1 + shown + (self.ranks and many)), dtype=np.float32)
        out[0, 0] = 1
        out[np.arange(shown) + KNOWN, np.arange(shown) + 1] = 1
        if self.ranks and many:
            out[KNOWN:, -1] = np.arange(1, len(self.values) + 1)
            out[1, -1] = len(self.values) + 1
        if len(self.scores):
            scores = np.array(self.scores, dtype=np.float32)
            out = np.concatenate([out, np.concatenate([np.zeros((KNOWN, scores.shape[1]), np.float32), scores])], axis=1)
        return out


@dataclasses.dataclass(frozen=True)
class TableMatrix:
    """What was fitted to the training rows: numbers, with their means for what is missing, then flags, then categories.

    Attributes:
        numbers: the graph's numeric inputs.
        fill: what stands for a missing number, [numbers]; NaN where the estimator reads that itself.
        flags: numbers that have a column which is 1 where they are missing.
        shift, scale: what is taken away from a number, and what it is then divided by; None: it stays.
        categories: the graph's inputs of strings.
        words: the graph's inputs of texts.
    """

    numbers: list[str]
    fill: list[float | None]
    flags: list[int]
    shift: list[float] | None
    scale: list[float] | None
    categories: dict[str, Category]
    words: dict[str, Words] = dataclasses.field(default_factory=dict)

    @classmethod
    def fitted(cls, state: State, kind: type[Estimator]) -> TableMatrix:
        """Of a table's fitted state, as an estimator wants it.

        A number that no training row lacks is the mean where it is missing later, also for an estimator that reads NaN: it has learnt nothing of it.
        """
        numbers = dict(sorted(state.extra["numeric"].items()))
        lacking = [i for i, n in enumerate(numbers.values()) if n["missing"]]
        means = [float(np.float32(n["mean"])) for n in numbers.values()]
        return cls(
            numbers=list(numbers),
            fill=[None if kind.reads_missing and i in lacking else mean for i, mean in enumerate(means)],
            flags=[] if kind.reads_missing else lacking,
            shift=means if kind.scaled else None,
            scale=[float(np.float32(n["std"])) or 1.0 for n in numbers.values()] if kind.scaled else None,
            categories={
                name: Category(values, kind.ranks, narrow=not kind.one_hot) for name, values in sorted(state.extra["categories"].items())
            },
            words={name: Words(values, "") for name, values in sorted(state.extra.get("texts", {}).items())},
        )

    @classmethod
    def load(cls, raw: Mapping[str, Any]) -> TableMatrix:
        """What `dump` gave. Raises `KeyError`, `TypeError`: it is something else."""
        words = {name: Words(**w) for name, w in raw.get("words", {}).items()}
        return cls(**{**raw, "categories": {name: Category(**c) for name, c in raw["categories"].items()}, "words": words})

    def dump(self) -> dict[str, Any]:
        """Plain JSON values."""
        found = dataclasses.asdict(self)
        for category in found["categories"].values():
            if not category["narrow"]:
                del category["narrow"]
        return found

    def renamed(self, names: Mapping[str, str]) -> TableMatrix:
        """The same, of inputs with other names."""
        categories = {names[name]: c for name, c in self.categories.items()}
        words = {names[name]: w for name, w in self.words.items()}
        return dataclasses.replace(self, numbers=[names[n] for n in self.numbers], categories=categories, words=words)

    @property
    def features(self) -> int:
        """Columns."""
        return (
            len(self.numbers)
            + len(self.flags)
            + sum(c.table.shape[1] for c in self.categories.values())
            + sum(w.width for w in self.words.values())
        )

    def learnt(self, scores: Mapping[str, Sequence[Sequence[float]]], words: Mapping[str, Words]) -> TableMatrix:
        """The same with what was learnt of categories' values and of words (`sluice.learners.estimators.learnt`)."""
        categories = {name: dataclasses.replace(c, scores=scores.get(name, [])) for name, c in self.categories.items()}
        return dataclasses.replace(self, categories=categories, words={**self.words, **words})

    def put(self, matrix: np.ndarray, held: Mapping[str, np.ndarray]) -> None:
        """Write into training rows what the others say of them.

        Args:
            matrix: what `of` gave, changed in place.
            held: of a category its scores, of a text all its numbers, FP32 [rows, numbers].
        """
        at = len(self.numbers) + len(self.flags)
        for name, width in [*((n, c.table.shape[1]) for n, c in self.categories.items()), *((n, w.width) for n, w in self.words.items())]:
            at += width
            if name in held:
                matrix[:, at - held[name].shape[1] : at] = held[name]

    def owners(self) -> list[str]:
        """Of each feature the input that it is made of."""
        flagged = [self.numbers[i] for i in self.flags]
        texts = (name for name, w in self.words.items() for _ in range(w.width))
        return [*self.numbers, *flagged, *(name for name, c in self.categories.items() for _ in range(c.table.shape[1])), *texts]

    def places(self, processor: Any) -> dict[str, int]:
        """Each column that is one number -> its feature.

        Args:
            processor: the state's `TabularProcessor`.
        """
        return {c.name: self.numbers.index(c.tensor) for c in processor.columns if c.field.quantity and c.tensor in self.numbers}

    def of(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """The package's input tensors, [rows, 1] each, as FP32 [rows, features]."""
        parts = []
        if self.numbers:
            x = np.concatenate([inputs[name] for name in self.numbers], axis=1).astype(np.float32)
            missing = np.isnan(x)
            x = np.where(missing, self._row(self.fill), x)
            if self.shift is not None and self.scale is not None:
                x = (x - self._row(self.shift)) / self._row(self.scale)
            parts += [x, missing[:, self.flags].astype(np.float32)]
        parts += [c.table[coded(c.codes, inputs[name][:, 0])] for name, c in self.categories.items()]
        parts += [w.of(inputs[name][:, 0]) for name, w in self.words.items()]
        return np.ascontiguousarray(np.concatenate(parts, axis=1), dtype=np.float32)

    def nodes(self, g: Nodes) -> str:
        """The same inside a graph, whose inputs are the package's. Returns the matrix's name."""
        from onnx import TensorProto

        parts = []
        if self.numbers:
            x = g.add("Concat", *self.numbers, axis=1)
            missing = g.add("IsNaN", x)
            if any(f is not None for f in self.fill):
                x = g.add("Where", missing, g.constant(self._row(self.fill)), x)
            if self.shift is not None and self.scale is not None:
                x = g.add("Div", g.add("Sub", x, g.constant(self._row(self.shift))), g.constant(self._row(self.scale)))
            parts.append(x)
            if self.flags:
                parts.append(g.add("Cast", g.add("Gather", missing, g.ints(*self.flags), axis=1), to=TensorProto.FLOAT))
        for name, c in self.categories.items():
            code = g.add("Squeeze", g.codes(name, c.codes), g.ints(1))
            parts.append(g.add("Gather", g.constant(c.table), code, axis=0))
        parts += [w.nodes(g, name) for name, w in self.words.items()]
        return g.add("Concat", *parts, axis=1) if len(parts) > 1 else parts[0]

    @staticmethod
    def _row(values: Sequence[float | None]) -> np.ndarray:
        return np.array([[math.nan if v is None else v for v in values]], dtype=np.float32)
