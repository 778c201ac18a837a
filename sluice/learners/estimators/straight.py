"""A linear model over a matrix as trees read it: numbers with gaps, flags, categories' columns."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sluice.learners.estimators.base import Rows
from sluice.learners.estimators.rounds import loss_of

if TYPE_CHECKING:
    from sluice.learners.tables.nodes import Nodes

#: Strengths of the L2 penalty that are tried on held-out rows, and the one that libraries take. The weak ones cost most and say least where rows are many.
_STRENGTHS, _MANY = (0.01, 0.1, 1.0, 10.0, 100.0), 5000
USUAL = 1.0
#: What the held-out rows say of a strength counts half, since the folds' models share rows and err together; a strength ten times the usual one, or
#: a tenth, is e times less likely beforehand.
_COUNTS, _STRANGE = 0.5, 1.0
#: A probability below this counts as this much when models are judged: a label that one fold's rows lack is no verdict on a model.
LEAST = 1e-3
#: Which rows are learnt, and which are held out: two masks each.
Parts = Sequence[tuple[np.ndarray, np.ndarray]]
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

    @classmethod
    def added(cls, models: Sequence[Straight], shares: np.ndarray) -> Straight:
        """Models of the same rows as one: the mean of their weights."""
        weights, bias = (sum(np.float64(s) * getattr(m, name) for s, m in zip(shares, models, strict=True)) for name in ("weights", "bias"))
        return dataclasses.replace(models[0], weights=_fp32(weights), bias=_fp32(bias))

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


def parts_of(folds: np.ndarray) -> Parts:
    """Folds [divisions, rows] as what is learnt and what is held out."""
    return [(fold != f, fold == f) for fold in folds for f in np.unique(fold)]


def choose_straight(rows: Rows, parts: Parts, classes: int, whole: Rows | None = None) -> tuple[Straight, np.ndarray]:
    """The models of several penalties as one, weighed by how likely each makes rows held out, and what it answers to these without them.

    The mean over what is likely is a better guess than the likeliest (Bayesian model averaging; Hoeting and others 1999): of few rows one penalty
    or another comes out best by chance.

    Args:
        rows: to judge by, and to learn the rest of.
        parts: of the rows, which are learnt and which held out; a row that is held out several times is answered by the mean.
        classes: 0 for a quantity.
        whole: what the model is fitted to; None: all of `rows`.
    """
    strengths = [s for s in _STRENGTHS if s >= USUAL or len(rows.targets) <= _MANY]
    made = [[_fitted(rows.only(left), classes, s) for s in strengths] for left, _ in parts]
    judged = rows.only(np.any([away for _, away in parts], axis=0))
    held = [_held([m[i] for m in made], parts, rows) for i in range(len(strengths))]
    losses = [loss_of(np.maximum(h, LEAST) if classes else h, judged.targets, judged.weights) for h in held]
    share = _likely(losses, strengths, judged, classes)
    model = Straight.added([Straight.fitted(whole or rows, classes, s) for s in strengths], share)
    return model, _held([Straight.added(m, share) for m in made], parts, rows)


def _fitted(rows: Rows, classes: int, strength: float) -> Straight:
    """`Straight.fitted`; of one label only, its share."""
    if not classes or len(np.unique(rows.targets)) > 1:
        return Straight.fitted(rows, classes, strength)
    width = rows.matrix.shape[1]
    share = np.clip(np.bincount(rows.targets, minlength=classes) / len(rows.targets), 1e-7, 1)
    bias = np.log(share[1:] / share[:1]) if classes == 2 else np.log(share)
    plain, scale = np.zeros(width, np.float32), np.ones(width, np.float32)
    return Straight(plain, scale, np.zeros(0, np.int64), np.zeros((width, len(bias)), np.float32), _fp32(bias), True)


def _held(models: Sequence[Straight], parts: Parts, rows: Rows) -> np.ndarray:
    """What each row that is held out is answered by models without it, FP32."""
    times = np.sum([away for _, away in parts], axis=0)
    shape = (len(times), max(2, len(models[0].bias))) if models[0].classes else len(times)
    out = np.zeros(shape, dtype=np.float32)
    for model, (_, away) in zip(models, parts, strict=True):
        out[away] += model.answers(rows.matrix[away])
    found = out[times > 0]
    return np.asarray(found / times[times > 0].reshape(-1, *[1] * (found.ndim - 1)), dtype=np.float32)


def _likely(losses: Sequence[float], strengths: Sequence[float], rows: Rows, classes: int) -> np.ndarray:
    """How likely each strength is by its loss on held-out rows, FP64, 1 in all. Rows of a group count as one."""
    count = len(rows.targets) if rows.groups is None else len(np.unique(rows.groups))
    loss = np.maximum(np.array(losses), 1e-300)
    evidence = -loss if classes else -0.5 * np.log(loss)
    score = _COUNTS * count * evidence - _STRANGE * np.abs(np.log10(np.array(strengths) / USUAL))
    likely = np.exp(score - score.max())
    return np.asarray(likely / likely.sum())


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
