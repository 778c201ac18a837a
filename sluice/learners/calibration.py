"""Probabilities that come true as often as they say: fitted on validation rows, in memory and inside the ONNX graph.

Isotonic regression (Zadrozny, Elkan, KDD 2002) and a logistic curve over the log-odds (Platt 1999), a label against the rest, divided by
their sum. Of two labels one curve is fitted and turned over for the other, so they add up to 1 by themselves.

The isotonic steps are joined by straight lines between the steps' middles, and steps so close that a line would be steeper than `_STEEPEST`
are pooled: the last bit of a probability, in which two runtimes differ, then moves no answer. No value is nearer to 0 or 1 than the rule of
succession allows for so many rows.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

if TYPE_CHECKING:
    from sluice.learners.tables.nodes import Nodes

#: Validation rows of a label, and of the others, without which its probability stays as it is.
FEWEST = 10
_STEEPEST = 100.0
_MOST_KNOTS = 64
#: A probability nearer to 0 or 1 is taken for this one: nearer, 32 bits do not tell log-odds apart.
_NEAREST = 1e-5
_STEPS = 100


class Curves(ABC):
    """A curve a label from its probability to how often it comes true.

    Args:
        curves: a label's, as `fitted` gives it; None: its probability stays as it is.
    """

    name: ClassVar[str]

    @abstractmethod
    def __init__(self, curves: Sequence[Curve | None]): ...

    @classmethod
    @abstractmethod
    def fitted(cls, probabilities: np.ndarray, truth: np.ndarray) -> Curve:
        """One label's curve.

        Args:
            probabilities: of the label, float64 [rows].
            truth: whether it is the row's, bool [rows].
        """

    @abstractmethod
    def scores(self, p: np.ndarray) -> np.ndarray:
        """The curves' values FP32 [rows, labels] for probabilities FP32 [rows, labels]."""

    @abstractmethod
    def score_nodes(self, g: Nodes, p: str) -> str:
        """The same inside a graph: the name of the values, of the probabilities' name."""

    def of(self, probabilities: np.ndarray) -> np.ndarray:
        """Calibrated probabilities, FP32 [rows, labels]."""
        found = self.scores(probabilities.astype(np.float32))
        return np.asarray(found / found.sum(axis=1, keepdims=True), dtype=np.float32)

    def nodes(self, g: Nodes, p: str, name: str) -> None:
        """The same inside a graph, as the value `name`."""
        found = self.score_nodes(g, p)
        g.add("Div", found, g.add("ReduceSum", found, g.ints(-1), keepdims=1), name=name)


#: One label's part of `Curves`: the knots and their values, or slope and offset.
Curve = tuple[np.ndarray, np.ndarray]


class Isotonic(Curves):
    """Straight lines between knots, flat outside of them.

    Args:
        curves: a label's knots and values, rising, [knots] each; None: the probability stays as it is.
    """

    name = "isotonic"

    def __init__(self, curves: Sequence[Curve | None]):
        parts = [_pieces(*c) if c is not None else _pieces(np.array([0.0, 1.0]), np.array([0.0, 1.0])) for c in curves]
        most = max(len(p) for p in parts)
        # What is padded adds nothing; the first piece is 1 throughout, times the lowest value.
        self.start, self.width, self.rise = (
            np.stack([np.pad(p[:, i], (0, most - len(p)), constant_values=i == 1) for p in parts]).astype(np.float32) for i in range(3)
        )

    @classmethod
    def fitted(cls, probabilities: np.ndarray, truth: np.ndarray) -> Curve:
        """Pool adjacent violators (Ayer et al. 1955), then what is too near to be told apart."""
        at, inverse = np.unique(probabilities, return_inverse=True)
        rows = np.bincount(inverse).astype(np.float64)
        steps = _pooled(at, np.bincount(inverse, truth) / rows, rows)
        while len(steps) > _MOST_KNOTS:
            nearest = int(np.argmin(np.diff(steps[:, 1])))
            steps = np.insert(
                np.delete(steps, [nearest, nearest + 1], axis=0), nearest, _joined(steps[nearest], steps[nearest + 1]), axis=0
            )
        least = 1 / (len(truth) + 2)
        return steps[:, 0], np.clip(steps[:, 1], least, 1 - least)

    def scores(self, p: np.ndarray) -> np.ndarray:
        """See `Curves.scores`."""
        return np.asarray((np.clip((p[:, :, None] - self.start) / self.width, 0, 1) * self.rise).sum(axis=2), dtype=np.float32)

    def score_nodes(self, g: Nodes, p: str) -> str:
        """A table of pieces [labels, pieces], looked up by what each adds."""
        x = g.add("Sub", g.add("Unsqueeze", p, g.ints(2)), g.constant(self.start))
        x = g.add("Clip", g.add("Div", x, g.constant(self.width)), g.number(0.0), g.number(1.0))
        return g.add("ReduceSum", g.add("Mul", x, g.constant(self.rise)), g.ints(2), keepdims=0)


class Platt(Curves):
    """A logistic curve over the log-odds.

    Args:
        curves: a label's slope and offset, [1] each; None: the probability stays as it is.
    """

    name = "platt"

    def __init__(self, curves: Sequence[Curve | None]):
        told = [c if c is not None else (np.ones(1), np.zeros(1)) for c in curves]
        self.slope, self.offset = (np.concatenate([c[i] for c in told]).astype(np.float32) for i in range(2))

    @classmethod
    def fitted(cls, probabilities: np.ndarray, truth: np.ndarray) -> Curve:
        """The most likely curve that does not fall, for Platt's targets: a little off 0 and 1, by the rows of each."""
        x = _log_odds(probabilities)
        hits = int(truth.sum())
        target = np.where(truth, (hits + 1) / (hits + 2), 1 / (len(truth) - hits + 2))
        slope, offset = _logistic(x, target)
        if slope < 0:  # it would turn the order round
            slope, offset = 0.0, float(np.log(target.mean() / (1 - target.mean())))
        return np.array([slope]), np.array([offset])

    def scores(self, p: np.ndarray) -> np.ndarray:
        """See `Curves.scores`."""
        return np.asarray(1 / (1 + np.exp(-(_log_odds(p) * self.slope + self.offset))), dtype=np.float32)

    def score_nodes(self, g: Nodes, p: str) -> str:
        """A sigmoid."""
        logs = [g.add("Log", g.add("Max", x, g.number(_NEAREST))) for x in (p, g.add("Sub", g.number(1.0), p))]
        x = g.add("Mul", g.add("Sub", *logs), g.constant(self.slope))
        return g.add("Sigmoid", g.add("Sub", x, g.constant(-self.offset)))


#: By ``export.calibrate``.
METHODS: dict[str, type[Curves]] = {kind.name: kind for kind in (Isotonic, Platt)}


@dataclasses.dataclass(frozen=True)
class Fit:
    """What became of fitting curves.

    Attributes:
        curves: None where the probabilities stay as they are.
        rows: that they were fitted to.
        kept: labels with too few rows, whose probability is only divided by the sum.
        why: there are none, a clause.
    """

    curves: Curves | None
    rows: int
    kept: tuple[str, ...] = ()
    why: str = ""


def fit(method: str, probabilities: np.ndarray, targets: np.ndarray, labels: Sequence[str]) -> Fit:
    """Curves of a method for a model's answers to rows that it was not trained on.

    Args:
        method: of `METHODS`.
        probabilities: [rows, labels].
        targets: indices into `labels` [rows]; rows with -1 are left out.
        labels: names of the classes.
    """
    kind, known = METHODS[method], targets >= 0
    p, targets = np.asarray(probabilities, dtype=np.float64)[known], targets[known]
    rows = np.bincount(targets, minlength=len(labels))
    told = [min(int(n), len(targets) - int(n)) >= FEWEST for n in rows]
    kept = tuple(label for label, enough in zip(labels, told, strict=True) if not enough)
    if not any(told):
        return Fit(None, len(targets), kept, f"no label has {FEWEST} of {len(targets)} validation rows, and {FEWEST} are of others")
    if len(labels) == 2:
        curve = kind.fitted(p[:, 1], targets == 1)
        return Fit(kind([_turned(method, curve), curve]), len(targets))
    curves = [kind.fitted(p[:, k], targets == k) if enough else None for k, enough in enumerate(told)]
    return Fit(kind(curves), len(targets), kept)


def _turned(method: str, curve: Curve) -> Curve:
    """The curve of the other one of two labels."""
    if METHODS[method] is Platt:
        return curve[0], -curve[1]
    return 1 - curve[0][::-1], 1 - curve[1][::-1]


def _pieces(knots: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Where each piece of a line starts, how wide it is and how much it rises, [pieces, 3]; the first is all of it: probabilities are above -1."""
    rest = np.stack([knots[:-1], np.diff(knots), np.diff(values)], axis=1)
    return np.concatenate([[[-1.0, 1.0, values[0]]], rest])


def _pooled(at: np.ndarray, share: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Steps that rise, none steeper than `_STEEPEST`: place, value, rows, [steps, 3]."""
    steps: list[np.ndarray] = []
    for step in np.stack([at, share, rows], axis=1):
        while steps and not 0 < step[1] - steps[-1][1] <= _STEEPEST * (step[0] - steps[-1][0]):
            step = _joined(steps.pop(), step)
        steps.append(step)
    return np.array(steps)


def _joined(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    rows = one[2] + two[2]
    return np.array([*((one[:2] * one[2] + two[:2] * two[2]) / rows), rows])


def _log_odds(p: np.ndarray) -> np.ndarray:
    return np.asarray(np.log(np.maximum(p, p.dtype.type(_NEAREST))) - np.log(np.maximum(1 - p, p.dtype.type(_NEAREST))))


def _logistic(x: np.ndarray, target: np.ndarray) -> tuple[float, float]:
    """Slope and offset with the least log loss, by damped steps of Newton's (Lin, Lin, Weng, Machine Learning 68, 2007)."""

    def loss(w: np.ndarray) -> Any:
        z = w[0] * x + w[1]
        return np.logaddexp(0, z).sum() - (target * z).sum()

    w = np.array([0.0, np.log(target.mean() / (1 - target.mean()))])
    design = np.stack([x, np.ones(len(x))], axis=1)
    for _ in range(_STEPS):
        p = 1 / (1 + np.exp(-(design @ w)))
        slope = design.T @ (p - target)
        if np.abs(slope).max() < 1e-9 * len(x):
            break
        step = np.linalg.solve((design * (p * (1 - p))[:, None]).T @ design + 1e-12 * np.eye(2), slope)
        size = 1.0
        while size > 1e-10 and loss(w - size * step) > loss(w):
            size /= 2
        w = w - size * step
    return float(w[0]), float(w[1])
