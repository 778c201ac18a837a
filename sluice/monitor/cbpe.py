"""How good a classifier's answers are, estimated before anybody tells what was true.

Confidence-based performance estimation (CBPE; Bialek, Kuberski, Perrakis, Bifet: Estimating Model Performance Under Covariate Shift Without
Labels, arXiv 2401.08348, 2024; NannyML's documentation): where probabilities are calibrated, they say how often the answers are right. They
are calibrated on held-out rows, labels are drawn from them, and the problem's own metrics are measured against the draws: their mean is the
estimate, for two labels and for many.

It follows rows that become harder, wherever the model is as calibrated as on the held-out rows. It cannot see a change of what is true of a
row that looks the same (concept drift), nor rows beyond anything the model has seen, where its confidence means nothing: `BLIND` says so, and
stands beside every estimate.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from sluice.monitor.quality import Judge

Floats = NDArray[np.float64]

#: What an estimate cannot tell.
BLIND = (
    "estimated from the model's own confidence: a change of what is true of rows that look the same (concept drift) does not show, nor do rows "
    "beyond anything in the training data; labels alone tell those"
)
_SEED, _DRAWS, _FOLDS, _LEAST = 17, 40, 5, 1e-6
#: Held-out rows, below which nothing is calibrated and the probabilities are taken as they are.
FEW = 100


def temperature(outputs: Floats, targets: NDArray[np.int64]) -> float:
    """The power of probabilities [rows, labels] under which the true ones are likeliest (Guo et al., ICML 2017); 1: as they are."""
    logs = np.log(np.clip(outputs, _LEAST, 1.0))

    def loss(t: float) -> float:
        z = logs * t
        z = z - z.max(axis=1, keepdims=True)
        return float((np.log(np.exp(z).sum(axis=1)) - z[np.arange(len(z)), targets]).mean())

    low, high = np.log(0.05), np.log(20.0)
    ratio = (np.sqrt(5) - 1) / 2
    for _ in range(40):  # golden section
        a, b = high - ratio * (high - low), low + ratio * (high - low)
        low, high = (low, b) if loss(float(np.exp(a))) < loss(float(np.exp(b))) else (a, high)
    return float(np.exp((low + high) / 2))


def isotonic(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """The rising steps nearest to `y` (pool adjacent violators; Ayer et al. 1955): places and values for `np.interp`."""
    order = np.argsort(x, kind="stable")
    xs, ys = x[order], y[order]
    first = np.flatnonzero(np.concatenate([[True], xs[1:] != xs[:-1]]))
    sums, weights = np.add.reduceat(ys, first), np.diff(np.append(first, len(xs))).astype(np.float64)
    means: list[float] = []
    sizes: list[float] = []
    ends: list[int] = []
    for i, (s, w) in enumerate(zip(sums.tolist(), weights.tolist(), strict=True)):
        mean, size = s / w, w
        while means and means[-1] >= mean:
            mean = (mean * size + means[-1] * sizes[-1]) / (size + sizes[-1])
            size += sizes.pop()
            means.pop()
            ends.pop()
        means.append(mean)
        sizes.append(size)
        ends.append(i)
    places = xs[first]
    starts = np.concatenate([[0], np.array(ends[:-1], dtype=np.int64) + 1])
    value = np.array(means)
    return np.concatenate([places[starts], places[ends]])[_woven(len(value))], np.repeat(value, 2)


def _woven(n: int) -> NDArray[np.int64]:
    """0, n, 1, n + 1, ..."""
    return np.stack([np.arange(n), np.arange(n) + n], axis=1).ravel()


@dataclasses.dataclass(frozen=True, eq=False)
class Calibration:
    """From a model's probabilities to calibrated ones.

    Attributes:
        how: ``none``, ``temperature`` or ``isotonic``. rows: held-out ones it was found on.
        power: of ``temperature``. steps: of ``isotonic``, a label each.
    """

    how: str = "none"
    rows: int = 0
    power: float = 1.0
    steps: tuple[tuple[Floats, Floats], ...] = ()

    def __call__(self, outputs: Floats) -> Floats:
        """Probabilities [rows, labels] -> such that each row adds up to 1."""
        p = np.clip(np.asarray(outputs, dtype=np.float64), 0.0, 1.0)
        if self.how == "temperature":
            logs = np.log(np.clip(p, _LEAST, 1.0)) * self.power
            p = np.exp(logs - logs.max(axis=1, keepdims=True))
        elif self.how == "isotonic":
            p = np.stack([np.interp(p[:, k], *step) for k, step in enumerate(self.steps)], axis=1)
        whole = p.sum(axis=1, keepdims=True)
        return np.where(whole > 0, p / np.where(whole > 0, whole, 1.0), 1.0 / p.shape[1])

    @classmethod
    def fit(cls, outputs: Floats, targets: NDArray[np.int64]) -> Calibration:
        """The way that leaves the least log loss on rows it was not found on, in five parts; the simplest of those that are as good.

        Args:
            outputs: held-out probabilities [rows, labels]. targets: indices of what is true [rows]; rows of -1 are left out.
        """
        known = np.asarray(targets) >= 0
        p, y = np.asarray(outputs, dtype=np.float64)[known], np.asarray(targets)[known]
        if len(y) < FEW:
            return cls(rows=len(y))
        fold = np.random.default_rng(_SEED).permutation(len(y)) % _FOLDS
        losses: dict[str, Floats] = {}
        for how in ("none", "temperature", "isotonic"):
            each = np.empty(len(y))
            for f in range(_FOLDS):
                out = fold == f
                each[out] = -np.log(np.clip(cls._made(how, p[~out], y[~out])(p[out])[np.arange(out.sum()), y[out]], 1e-4, 1.0))
            losses[how] = each
        best = "none"
        for how in ("temperature", "isotonic"):
            gain = losses[best] - losses[how]
            if gain.mean() > gain.std() / np.sqrt(len(gain)):
                best = how
        return cls._made(best, p, y)

    @classmethod
    def _made(cls, how: str, p: Floats, y: NDArray[np.int64]) -> Calibration:
        if how == "temperature":
            return cls(how, len(y), temperature(p, y))
        if how == "isotonic":
            # A half of a row of either kind at both ends: no step says that something never happens.
            ends, seen = np.array([0.0, 1.0]), np.array([0.5 / len(y), 1 - 0.5 / len(y)])
            steps = []
            for k in range(p.shape[1]):
                x, v = isotonic(p[:, k], (y == k).astype(np.float64))
                steps.append((np.concatenate([ends[:1], x, ends[1:]]), np.clip(np.concatenate([v[:1], v, v[-1:]]), seen[0], seen[1])))
            return cls(how, len(y), 1.0, tuple(steps))
        return cls(how, len(y))


def estimate(judge: Judge, outputs: Floats, calibration: Calibration, names: tuple[str, ...] = ()) -> dict[str, dict[str, Any]]:
    """The metrics of a window whose labels are not known.

    Args:
        judge: whose problem is one of labels.
        outputs: of the window, as logged [rows, labels]. calibration: from held-out rows.
        names: of metrics; empty: the deciding one.

    Returns:
        name -> ``value``, ``low``, ``high``: the middle, and where the metric of these rows lies once labels are there, as far as chance alone moves it.
    """
    p = calibration(outputs)
    rng = np.random.default_rng(_SEED)
    sums = np.cumsum(p, axis=1)
    wanted = names or (judge.metric.name,)
    found: dict[str, list[float]] = {n: [] for n in wanted}
    for _ in range(_DRAWS):
        drawn = (rng.random((len(p), 1)) > sums[:, :-1]).sum(axis=1).astype(np.int64)
        a = judge.answers(outputs, drawn)
        for name in wanted:
            found[name].append(judge.every[name].value(a))
    out = {}
    for name, values in found.items():
        v = np.array([x for x in values if np.isfinite(x)])
        reach = 1.96 * float(v.std(ddof=1)) if len(v) > 1 else 0.0
        metric = judge.every[name]
        middle = float(v.mean()) if len(v) else None
        limits = (None, None) if middle is None else (max(metric.least, middle - reach), min(metric.most, middle + reach))
        out[name] = {"value": middle, "low": limits[0], "high": limits[1]}
    return out
