"""What scores the items for a history: each way to do it in numpy and, by the same operations, as nodes of an ONNX graph."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import numpy as np

if TYPE_CHECKING:
    from scipy import sparse

    from sluice.learners.tables.nodes import Nodes

#: Steps of conjugate gradients that a history's factors are found in.
STEPS = 12
_TINY = 1e-12


class Scorer(ABC):
    """Scores of all items for histories.

    Args:
        arrays: what was learnt, FP32.
    """

    name: ClassVar[str]
    #: Whether a history without a known item has scores of its own; else it is answered what is popular.
    new_users: ClassVar[bool] = False

    def __init__(self, arrays: Mapping[str, np.ndarray]):
        self.arrays = dict(arrays)

    @abstractmethod
    def scores(self, codes: np.ndarray, held: np.ndarray) -> np.ndarray:
        """FP32 [rows, items].

        Args:
            codes: histories, INT64 [rows, length], of `matrix.codes_of`.
            held: the same as FP32 [rows, items], 1 for an item that is in the history.
        """

    @abstractmethod
    def nodes(self, g: Nodes, codes: str, held: str) -> str:
        """The same in a graph; returns the name of the scores."""


class Popularity(Scorer):
    """The same for every history: ``popular`` [items]."""

    name = "popularity"

    def scores(self, codes: np.ndarray, held: np.ndarray) -> np.ndarray:
        return held * np.float32(0) + self.arrays["popular"]

    def nodes(self, g: Nodes, codes: str, held: str) -> str:
        return g.add("Add", g.add("Mul", held, g.number(0.0)), g.constant(self.arrays["popular"]))


class Ease(Scorer):
    """Each item is told from the others by one linear model, fitted in closed form (Steck: Embarrassingly shallow autoencoders for sparse data,
    WWW 2019): ``weights`` [items, items] with a diagonal of 0."""

    name = "ease"

    @classmethod
    def fit(cls, gram: np.ndarray, regularisation: float) -> Ease:
        """From what items are taken together, float64 [items, items]."""
        inverse = np.linalg.inv(gram + regularisation * np.eye(len(gram)))
        weights = inverse / -np.diag(inverse)
        np.fill_diagonal(weights, 0.0)
        return cls({"weights": weights.astype(np.float32)})

    def scores(self, codes: np.ndarray, held: np.ndarray) -> np.ndarray:
        return held @ self.arrays["weights"]

    def nodes(self, g: Nodes, codes: str, held: str) -> str:
        return g.add("MatMul", held, g.constant(self.arrays["weights"]))


class Transitions(Scorer):
    """What comes next is told from what came before by one linear model, in closed form (the transitions of Choi et al.: Session-aware linear
    item-item models for session-based recommendation, WWW 2021): ``weights`` [items, items], ``base`` [items] for whom nothing is known of. A
    history of n items has the weight of the square root of n."""

    name = "transitions"
    new_users = True

    @classmethod
    def fit(cls, before: sparse.csr_matrix, after: sparse.csr_matrix, regularisation: float) -> Transitions:
        """From histories and answers, [rows, items] of 0 and 1 (answers: weights)."""
        from scipy import linalg, sparse

        lengths = np.asarray(before.sum(axis=1)).ravel()
        scaled = sparse.diags(1 / np.sqrt(np.maximum(lengths, 1))) @ before
        x = sparse.hstack([scaled, np.ones((before.shape[0], 1))]).tocsr()
        gram = np.asarray((x.T @ x).todense())
        gram[np.diag_indices(len(gram) - 1)] += regularisation
        gram[-1, -1] += 1e-3
        found = linalg.cho_solve(linalg.cho_factor(gram, overwrite_a=True), np.asarray((x.T @ after).todense()), overwrite_b=True)
        return cls({"weights": found[:-1].astype(np.float32), "base": found[-1].astype(np.float32)})

    def scores(self, codes: np.ndarray, held: np.ndarray) -> np.ndarray:
        n = np.maximum(held.sum(axis=1, keepdims=True, dtype=np.float32), np.float32(1))
        return (held / np.sqrt(n)) @ self.arrays["weights"] + self.arrays["base"]

    def nodes(self, g: Nodes, codes: str, held: str) -> str:
        n = g.add("Max", g.add("ReduceSum", held, g.ints(1), keepdims=1), g.number(1.0))
        scaled = g.add("Div", held, g.add("Sqrt", n))
        return g.add("Add", g.add("MatMul", scaled, g.constant(self.arrays["weights"])), g.constant(self.arrays["base"]))


class Factors(Scorer):
    """Users and items as vectors whose product says whether one takes the other, by alternating least squares over all pairs (Hu, Koren, Volinsky:
    Collaborative filtering for implicit feedback datasets, ICDM 2008), with the weights and the regularisation by frequency of Rendle et al.
    (Revisiting the performance of iALS, RecSys 2022). A history's vector is found anew, by conjugate gradients in the graph itself.

    ``items`` FP32 [items + 2, dimensions], 0 in the last two; ``gram`` [dimensions, dimensions], items' products weighted as unobserved;
    ``ridge`` [2]: what is added to the diagonal for each item of the history, and at all."""

    name = "factors"

    @classmethod
    def of(cls, items: np.ndarray, unobserved: float, regularisation: float) -> Factors:
        """From vectors float64 [items, dimensions]."""
        padded = np.concatenate([items, np.zeros((2, items.shape[1]))]).astype(np.float32)
        ridge = np.array([regularisation, regularisation * unobserved * len(items)], dtype=np.float32)
        return cls({"items": padded, "gram": (unobserved * items.T @ items).astype(np.float32), "ridge": ridge})

    @classmethod
    def fit(
        cls, matrix: sparse.csr_matrix, unobserved: float, regularisation: float, dimensions: int, iterations: int, seed: int
    ) -> Factors:
        """By sweeps over users and items; `matrix` [users, items] holds the weights of what was taken."""
        rng = np.random.default_rng(seed)
        items = rng.normal(0.0, 0.1 / np.sqrt(dimensions), (matrix.shape[1], dimensions))
        turned = matrix.T.tocsr()
        for _ in range(iterations):
            users = _solved(matrix, items, unobserved, regularisation)
            items = _solved(turned, users, unobserved, regularisation)
        return cls.of(items, unobserved, regularisation)

    def scores(self, codes: np.ndarray, held: np.ndarray) -> np.ndarray:
        items, gram, (each, base) = self.arrays["items"], self.arrays["gram"], self.arrays["ridge"]
        own = items[codes]
        ridge = held.sum(axis=1, keepdims=True, dtype=np.float32) * each + base

        def applied(v: np.ndarray) -> np.ndarray:
            along = own @ v[:, :, None]
            return v @ gram + (own * along).sum(axis=1) + v * ridge

        residual = own.sum(axis=1)
        x, direction = np.zeros_like(residual), residual
        size = (residual * residual).sum(axis=1, keepdims=True)
        for _ in range(STEPS):
            image = applied(direction)
            step = size / np.maximum((direction * image).sum(axis=1, keepdims=True), np.float32(_TINY))
            x, residual = x + step * direction, residual - step * image
            grown = (residual * residual).sum(axis=1, keepdims=True)
            direction = residual + grown / np.maximum(size, np.float32(_TINY)) * direction
            size = grown
        return x @ items[:-2].T

    def nodes(self, g: Nodes, codes: str, held: str) -> str:
        items, gram = g.constant(self.arrays["items"]), g.constant(self.arrays["gram"])
        first, last, tiny = g.ints(1), g.ints(2), g.number(_TINY)

        def dot(a: str, b: str) -> str:
            return g.add("ReduceSum", g.add("Mul", a, b), first, keepdims=1)

        own = g.add("Gather", items, codes, axis=0)
        ridge = g.add(
            "Add",
            g.add("Mul", g.add("ReduceSum", held, first, keepdims=1), g.constant(self.arrays["ridge"][:1])),
            g.constant(self.arrays["ridge"][1:]),
        )
        residual = g.add("ReduceSum", own, first, keepdims=0)
        x, direction, size = g.add("Mul", residual, g.number(0.0)), residual, dot(residual, residual)
        for _ in range(STEPS):
            along = g.add("MatMul", own, g.add("Unsqueeze", direction, last))
            spread = g.add("ReduceSum", g.add("Mul", own, along), first, keepdims=0)
            image = g.add("Add", g.add("Add", g.add("MatMul", direction, gram), spread), g.add("Mul", direction, ridge))
            step = g.add("Div", size, g.add("Max", dot(direction, image), tiny))
            x = g.add("Add", x, g.add("Mul", step, direction))
            residual = g.add("Sub", residual, g.add("Mul", step, image))
            grown = dot(residual, residual)
            direction = g.add("Add", residual, g.add("Mul", g.add("Div", grown, g.add("Max", size, tiny)), direction))
            size = grown
        return g.add("MatMul", x, g.constant(np.ascontiguousarray(self.arrays["items"][:-2].T)))


SCORERS: dict[str, type[Scorer]] = {s.name: s for s in (Popularity, Ease, Transitions, Factors)}


def _solved(matrix: sparse.csr_matrix, others: np.ndarray, unobserved: float, regularisation: float) -> np.ndarray:
    """The vectors of one side, float64 [rows, dimensions], by those of the other."""
    d = others.shape[1]
    whole, out = unobserved * others.T @ others, np.zeros((matrix.shape[0], d))
    eye, base = np.eye(d), regularisation * unobserved * len(others)
    for row in range(matrix.shape[0]):
        start, end = matrix.indptr[row], matrix.indptr[row + 1]
        if end > start:
            own, w = others[matrix.indices[start:end]], matrix.data[start:end, None]
            out[row] = np.linalg.solve(whole + own.T @ (own * w) + (regularisation * (end - start) + base) * eye, (own * w).sum(axis=0))
    return out
