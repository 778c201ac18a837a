"""From scores to a list: new users get what is popular, what was taken is hidden, the best come first. In numpy, and in the graph."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from sluice.problems.ranking import TOP

if TYPE_CHECKING:
    from sluice.learners.tables.nodes import Nodes

#: Of an item that must not be recommended, and what is below it is none.
_HIDDEN, _NONE = -1e30, -1e29
#: How much of what is popular with everybody is mixed into what new users take, which fewer rows tell.
_ALL = 0.2


@dataclasses.dataclass(frozen=True, eq=False)
class Ranker:
    """What stands behind every way to score items.

    Attributes:
        popular: what a new user is answered, FP32 [items]: shares of what new users take; 0 for an item nobody took.
        repeat: whether an item of the history may be recommended.
        new_users: whether scores are of histories without a known item too; else these are answered what is popular.
    """

    popular: np.ndarray
    repeat: bool
    new_users: bool = False

    @classmethod
    def of(cls, counts: np.ndarray, first: np.ndarray, repeat: bool, new_users: bool = False) -> Ranker:
        """From how many took each item, and how many as one of their first [items]."""
        popular = first / max(1.0, first.sum()) + _ALL * counts / max(1.0, counts.sum())
        return cls((popular / max(1e-12, popular.max(initial=0.0))).astype(np.float32), repeat, new_users)

    @property
    def items(self) -> int:
        """How many there are."""
        return len(self.popular)

    @property
    def places(self) -> int:
        """Of a list."""
        return min(TOP, self.items)

    def held(self, codes: np.ndarray) -> np.ndarray:
        """FP32 [rows, items]: 1 for each item of a history (`matrix.codes_of`)."""
        out = np.zeros((len(codes), self.items + 2), dtype=np.float32)
        np.put_along_axis(out, codes, np.float32(1), axis=1)
        return np.ascontiguousarray(out[:, : self.items])

    def ranked(self, codes: np.ndarray, scores: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
        """Lists [rows, places, 2], FP32.

        Args:
            codes: histories, INT64 [rows, length].
            scores: codes and `held` to scores [rows, items].
        """
        held = self.held(codes)
        found = scores(codes, held)
        if not self.new_users:
            found = np.where(held.any(axis=1, keepdims=True), found, self.popular)
        hidden = (self.popular <= 0) if self.repeat else (held + (self.popular <= 0) > 0)
        found = np.where(hidden, np.float32(_HIDDEN), found)
        place = np.argpartition(-found, self.places - 1, axis=1)[:, : self.places]
        best = np.take_along_axis(found, place, axis=1)
        order = np.lexsort((place, -best), axis=1)
        place, best = np.take_along_axis(place, order, axis=1), np.take_along_axis(best, order, axis=1)
        there = best > _NONE
        return np.stack([np.where(there, place, -1), np.where(there, best, 0)], axis=2).astype(np.float32)

    def codes(self, g: Nodes, history: str, labels: list[str]) -> str:
        """Histories of strings as codes, in a graph."""
        n = self.items
        return g.add(
            "LabelEncoder",
            history,
            domain="ai.onnx.ml",
            keys_strings=[*labels, ""],
            values_int64s=[*range(n), n + 1],
            default_int64=n,
        )

    def nodes(self, g: Nodes, codes: str, scores: Callable[[str, str], str], output: str, unknown: str) -> None:
        """The same as `ranked` in a graph, to the outputs `output` and `unknown`: names of each history that no item is called, INT64 [rows]."""
        from onnx import TensorProto, helper

        n = self.items
        missed = g.add("Cast", g.add("Equal", codes, g.ints(n)), to=TensorProto.INT64)
        g.add("ReduceSum", missed, g.ints(1), name=unknown, keepdims=0)
        shape = g.add("Shape", codes)
        rows = g.add("Slice", shape, g.ints(0), g.ints(1))
        zeros = g.add("Expand", g.constant(np.zeros((1, 1), np.float32)), g.add("Concat", rows, g.ints(n + 2), axis=0))
        ones = g.add("Expand", g.constant(np.ones((1, 1), np.float32)), shape)
        held = g.add("Slice", g.add("ScatterElements", zeros, codes, ones, axis=1), g.ints(0), g.ints(n), g.ints(1))
        found = scores(codes, held)
        if not self.new_users:
            some = g.add("Greater", g.add("ReduceMax", held, g.ints(1), keepdims=1), g.number(0.0))
            found = g.add("Where", some, found, g.constant(self.popular[None]))
        never = (self.popular <= 0).astype(np.float32)[None]
        hidden = g.constant(never) if self.repeat else g.add("Add", held, g.constant(never))
        found = g.add("Where", g.add("Greater", hidden, g.number(0.0)), g.number(_HIDDEN), found)
        best, place = f"{output}_scores", f"{output}_places"
        g.nodes.append(helper.make_node("TopK", [found, g.ints(self.places)], [best, place], axis=1))
        there = g.add("Greater", best, g.number(_NONE))
        parts = [
            g.add("Where", there, g.add("Cast", place, to=TensorProto.FLOAT), g.number(-1.0)),
            g.add("Where", there, best, g.number(0.0)),
        ]
        last = g.ints(2)
        g.add("Concat", *(g.add("Unsqueeze", p, last) for p in parts), name=output, axis=2)
