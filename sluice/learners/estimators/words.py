"""A text's words as a few numbers, in memory and inside the ONNX graph."""

from __future__ import annotations

import base64
import dataclasses
import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sluice.learners.tables.codes import KNOWN, codes

if TYPE_CHECKING:
    from sluice.learners.tables.nodes import Nodes

#: The largest number in the table. It holds whole numbers, of which so many as a text has words add up below 2^24: FP32 sums of them are exact
#: in whatever order, and a tree's threshold lies on the same side in memory and in the graph.
_LARGEST = 20_000


@dataclasses.dataclass(frozen=True)
class Words:
    """Each known word's own numbers, added up over a text and divided by the length of its vector of word weights.

    So a text is what TF-IDF makes of it (unit length), times a matrix [words, numbers], each column of it in a unit of its own.

    Attributes:
        values: the known words.
        weights: INT16 [words, 1 + numbers] in base64: a word's squared weight, then its numbers times its weight.
    """

    values: Sequence[str]
    weights: str

    @classmethod
    def made(cls, values: Sequence[str], idf: np.ndarray, numbers: np.ndarray) -> tuple[Words, np.ndarray]:
        """Of each word's weight [words] and what it says [words, numbers]; and how many of its unit each number is, FP64 [numbers]."""
        table = np.concatenate([idf[:, None] ** 2, idf[:, None] * numbers], axis=1)
        units = _LARGEST / np.maximum(np.abs(table).max(axis=0), 1e-12)
        whole = np.rint(table * units).astype("<i2")
        return cls(list(values), base64.b64encode(whole.tobytes()).decode()), units[1:] / np.sqrt(units[0])

    @functools.cached_property
    def codes(self) -> dict[str, int]:
        """word -> row of `table`."""
        return codes(self.values)

    @functools.cached_property
    def table(self) -> np.ndarray:
        """What stands for each code, FP32 [codes, 1 + numbers]; nothing for what is missing or unknown."""
        found = np.frombuffer(base64.b64decode(self.weights), "<i2").reshape(len(self.values), -1) if self.values else np.zeros((0, 2))
        return np.concatenate([np.zeros((KNOWN, found.shape[1])), found]).astype(np.float32)

    @property
    def width(self) -> int:
        """Numbers a text."""
        return self.table.shape[1] - 1

    def of(self, strings: np.ndarray) -> np.ndarray:
        """Texts as their field gives them, [rows], as FP32 [rows, numbers]."""
        found = counts(strings, self.codes, len(self.table)) @ self.table
        return np.asarray(found[:, 1:] / np.sqrt(np.maximum(found[:, :1], np.float32(1))), dtype=np.float32)

    def nodes(self, g: Nodes, name: str) -> str:
        """The same in a graph of operators from 20 on. Returns [rows, numbers]."""
        from onnx import helper

        parts, lengths = f"{name}__parts", f"{name}__lengths"
        g.nodes.append(helper.make_node("StringSplit", [name], [parts, lengths], delimiter=" "))
        each = g.add("Gather", g.constant(self.table), g.codes(parts, self.codes), axis=0)
        total = g.add("ReduceSum", each, g.ints(1, 2), keepdims=0)
        norm = g.add("Sqrt", g.add("Max", g.add("Gather", total, g.ints(0), axis=1), g.number(1)))
        return g.add("Div", g.add("Gather", total, g.ints(*range(1, self.width + 1)), axis=1), norm)


def counts(strings: np.ndarray, known: dict[str, int], width: int) -> Any:
    """How often each text holds each code: scipy CSR, FP32 [rows, width]; words that are not known are left out."""
    from scipy import sparse

    at: list[int] = []
    ends = [0]
    for text in strings:
        at += [known[w] for w in text.split() if w in known]
        ends.append(len(at))
    found = sparse.csr_matrix((np.ones(len(at), np.float32), np.array(at, np.int64), ends), shape=(len(ends) - 1, width))
    found.sum_duplicates()
    return found
