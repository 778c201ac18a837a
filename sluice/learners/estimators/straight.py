"""A linear model over a matrix as trees read it: numbers with gaps, flags, categories' columns."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from sluice.learners.estimators.base import Rows
from sluice.learners.estimators.rounds import loss_of

if TYPE_CHECKING:
    from sluice.learners.tables.nodes import Nodes

#: Strengths of the L2 penalty that are tried on held-out rows, and the one that libraries take.
_STRENGTHS = (0.1, 1.0, 10.0, 100.0)
USUAL = 1.0
#: Rows it is fitted to at the most, evenly chosen.
_MOST = 50_000


@dataclasses.dataclass(frozen=True)
class Straight:
    """Logistic (multinomial for more than two classes) or ridge regression.

    Attributes:
        fill: what stands for what is missing in a column, and is then taken away from it [columns].
        scale: what it is then divided by [columns].
        flags: columns with another one beside them that is 1 where they are missing.
        weights: [columns + flags, outputs]; of two classes only the second has one.
        bias: [outputs].
        classes: whether the answer is probabilities, not a value.
    """

    fill: np.ndarray
    scale: np.ndarray
    flags: np.ndarray
    weights: np.ndarray
    bias: np.ndarray
    classes: bool

    @classmethod
    def fitted(cls, rows: Rows, classes: int, strength: float) -> Straight:
        """Of least penalised loss. A class that no row has gets an output that stays near 0."""
        from sklearn.linear_model import LogisticRegression, Ridge

        rows = rows.only(np.arange(len(rows.targets)) % -(-len(rows.targets) // _MOST) == 0)
        x = rows.matrix.astype(np.float64)
        fill, scale, flags = _levels(x)
        made = cls(fill, scale, flags, np.zeros(0, np.float32), np.zeros(0, np.float32), classes > 0)
        z = made.columns(rows.matrix)
        if not classes:
            ridge = Ridge(alpha=strength).fit(z, rows.targets)
            return dataclasses.replace(made, weights=_fp32(ridge.coef_).reshape(-1, 1), bias=_fp32([ridge.intercept_]))
        model = LogisticRegression(C=1 / strength, max_iter=500).fit(z, rows.targets, sample_weight=rows.weights)
        known = model.classes_
        outputs = 1 if classes == 2 else classes
        weights, bias = np.zeros((outputs, z.shape[1])), np.full(outputs, -10.0)
        if classes == 2 or len(known) > 2:
            at = [0] if classes == 2 else known
            weights[at], bias[at] = model.coef_, model.intercept_
        else:  # two of more classes: halves of the difference each
            weights[known] = np.array([[-0.5], [0.5]]) * model.coef_
            bias[known] = np.array([-0.5, 0.5]) * model.intercept_
        return dataclasses.replace(made, weights=_fp32(weights.T), bias=_fp32(bias))

    def columns(self, matrix: np.ndarray) -> np.ndarray:
        """What is weighed: FP32 [rows, columns + flags]."""
        missing = np.isnan(matrix)
        x = (np.where(missing, self.fill, matrix) - self.fill) / self.scale
        return np.concatenate([x, missing[:, self.flags].astype(np.float32)], axis=1)

    def answers(self, matrix: np.ndarray) -> np.ndarray:
        """Probabilities [rows, classes] or values [rows], FP32."""
        scores = self.columns(matrix) @ self.weights + self.bias
        if not self.classes:
            return np.asarray(scores[:, 0])
        if scores.shape[1] == 1:
            p = 1 / (1 + np.exp(-np.clip(scores, -80, 80)))
            return np.concatenate([1 - p, p], axis=1)
        e = np.exp(scores - scores.max(axis=1, keepdims=True))
        return np.asarray(e / e.sum(axis=1, keepdims=True))

    def nodes(self, g: Nodes, source: str) -> str:
        """The same in a graph: [rows, classes] or [rows, 1]."""
        from onnx import TensorProto

        missing, fill = g.add("IsNaN", source), g.constant(self.fill)
        x = g.add("Div", g.add("Sub", g.add("Where", missing, fill, source), fill), g.constant(self.scale))
        if len(self.flags):
            flags = g.add("Cast", g.add("Gather", missing, g.ints(*self.flags.tolist()), axis=1), to=TensorProto.FLOAT)
            x = g.add("Concat", x, flags, axis=1)
        scores = g.add("Add", g.add("MatMul", x, g.constant(self.weights)), g.constant(self.bias))
        if not self.classes:
            return scores
        if len(self.bias) == 1:
            p = g.add("Sigmoid", scores)
            return g.add("Concat", g.add("Sub", g.number(1.0), p), p, axis=1)
        return g.add("Softmax", scores, axis=1)

    def dump(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in vars(self).items()}

    @classmethod
    def load(cls, plain: Mapping[str, Any]) -> Straight:
        """What `dump` gave. Raises `KeyError`, `TypeError`: it is something else."""
        arrays = {k: _fp32(plain[k]) for k in ("fill", "scale", "bias")}
        weights = _fp32(plain["weights"]).reshape(-1, len(arrays["bias"]))
        return cls(**arrays, flags=np.array(plain["flags"], dtype=np.int64), weights=weights, classes=bool(plain["classes"]))


def choose_straight(rows: Rows, folds: np.ndarray, classes: int) -> tuple[Straight, np.ndarray]:
    """The model of all rows with the penalty that does best on each fold in turn, and what it answers to each row without its fold.

    Args:
        rows: to learn from.
        folds: of each row, INT64 [divisions, rows]; of several divisions a row's answer is the mean.
        classes: 0 for a quantity.
    """
    held = {s: np.stack([_held(rows, f, classes, s) for f in folds]).mean(axis=0) for s in _STRENGTHS}
    best = min(held, key=lambda s: loss_of(held[s], rows.targets, rows.weights))
    return Straight.fitted(rows, classes, best), held[best]


def _held(rows: Rows, fold: np.ndarray, classes: int, strength: float) -> np.ndarray:
    """What each row is answered by the model of the other folds."""
    out = np.zeros((len(fold), classes) if classes else len(fold), dtype=np.float32)
    for f in np.unique(fold):
        left = rows.only(fold != f)
        if classes and len(np.unique(left.targets)) < 2:
            out[fold == f] = np.bincount(left.targets, minlength=classes) / len(left.targets)
        else:
            out[fold == f] = Straight.fitted(left, classes, strength).answers(rows.matrix[fold == f])
    return out


def _levels(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, deviation and gaps of each column; what holds 0 and 1 alone stays as it is, so that rare values stay penalised."""
    gaps = np.isnan(x)
    known = np.maximum((~gaps).sum(axis=0), 1)
    plain = np.where(gaps, 0.0, x)
    fill = plain.sum(axis=0) / known
    scale = np.sqrt(np.where(gaps, 0.0, (plain - fill) ** 2).sum(axis=0) / known)
    binary = ((x == 0) | (x == 1)).all(axis=0)
    fill, scale = np.where(binary, 0.0, fill), np.where(binary | ~(scale > 1e-12 * np.maximum(np.abs(fill), 1e-300)), 1.0, scale)
    return _fp32(fill), _fp32(scale), np.flatnonzero(gaps.any(axis=0))


def _fp32(values: Any) -> np.ndarray:
    return np.asarray(values, dtype=np.float32)
