"""A raw score as a number between 0 and 1, by where it lies among the scores of the rows that were learnt from."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from sluice.learners.tables.nodes import Nodes

#: Parts of the distribution's body, and of its tail behind the threshold.
BODY, TAIL = 32, 32
#: A part is no narrower than this share of the scores' range: a difference in the last bits of a score must not move the answer.
_NARROWEST = 1e-4


@dataclasses.dataclass(frozen=True)
class ScoreCurve:
    """A curve that rises strictly: the threshold gives 1/2, below and above it the share of training scores passed, and beyond them all it nears 0 and 1.

    Piecewise linear between `knots`; below the least and above the largest one a hyperbola, so that no two scores become one.

    Attributes:
        knots: raw scores, strictly rising.
        levels: what they become, strictly rising inside (0, 1).
        scale: the distance over which a score beyond the knots goes half the way to 0 or 1.
    """

    knots: Sequence[float]
    levels: Sequence[float]
    scale: float

    @classmethod
    def fitted(cls, scores: np.ndarray, contamination: float) -> ScoreCurve:
        """Of training scores [rows], all finite; at most the share `contamination` of them is past the threshold.

        Raises:
            ValueError: they are all the same.
        """
        x = np.sort(np.asarray(scores, dtype=np.float64))
        width = float(x[-1] - x[0])
        if not width > 1e-9 * max(1.0, abs(float(x[-1]))):
            raise ValueError("every row has the same score")
        scale = float(np.subtract(*np.quantile(x, [0.75, 0.25]))) or width
        least = _NARROWEST * width
        n = len(x) - int(contamination * len(x))
        while 0 < n < len(x) and x[n] - x[n - 1] < 2 * least:  # equal scores are on one side, the one that calls fewer rows anomalies
            n += 1
        body, tail = x[:n], x[n:]
        threshold = (body[-1] + tail[0]) / 2 if len(tail) else body[-1] + scale
        parts = [(threshold, 0.5)]
        for q in np.linspace(1, 0, BODY + 1):
            at = float(np.quantile(body, q))
            if parts[0][0] - at >= least:
                parts.insert(0, (at, 0.5 * (q * len(body) + 0.5) / (len(body) + 1)))
        for q in np.linspace(0, 1, TAIL + 1) if len(tail) else ():
            at = float(np.quantile(tail, q))
            if at - parts[-1][0] >= least:
                parts.append((at, 0.5 + 0.5 * (q * len(tail) + 0.5) / (len(tail) + 1)))
        knots, levels = zip(*parts, strict=True)
        return cls([float(np.float32(v)) for v in knots], [float(np.float32(v)) for v in levels], float(np.float32(scale)))

    @classmethod
    def load(cls, raw: Mapping[str, Any]) -> ScoreCurve:
        """What `dump` gave. Raises `KeyError`, `TypeError`: it is something else."""
        return cls(raw["knots"], raw["levels"], raw["scale"])

    def dump(self) -> dict[str, Any]:
        """Plain JSON values."""
        return dataclasses.asdict(self)

    @property
    def threshold(self) -> float:
        """The raw score that becomes 1/2."""
        return float(np.interp(0.5, self.levels, self.knots))

    def of(self, scores: np.ndarray) -> np.ndarray:
        """Raw scores [rows] as [rows, 2]: of an anomaly, and of a normal row; float64."""
        x, (first, last) = np.asarray(scores, dtype=np.float64), (self.knots[0], self.knots[-1])
        inside = np.interp(x, self.knots, self.levels)
        below, above = np.maximum(first - x, 0) / self.scale, np.maximum(x - last, 0) / self.scale
        out = inside - self.levels[0] * below / (1 + below) + (1 - self.levels[-1]) * above / (1 + above)
        return np.stack([out, 1 - out], axis=1)

    def nodes(self, g: Nodes, score: str) -> str:
        """The same inside a graph, of a score FP32 [rows, 1]: the name of [rows, 2]."""
        start, width = np.array(self.knots[:-1], dtype=np.float32), np.diff(self.knots).astype(np.float32)
        rise = np.diff(self.levels).astype(np.float32)[:, None]
        parts = g.add(
            "Clip", g.add("Div", g.add("Sub", score, g.constant(start[None])), g.constant(width[None])), g.number(0.0), g.number(1.0)
        )
        out = g.add("Add", g.add("MatMul", parts, g.constant(rise)), g.number(self.levels[0]))
        first, last = (g.constant(np.array([[v]], dtype=np.float32)) for v in (self.knots[0], self.knots[-1]))
        below, above = (_far(g, g.add("Sub", *pair), self.scale) for pair in ((first, score), (score, last)))
        out = g.add("Sub", out, g.add("Mul", below, g.number(self.levels[0])))
        out = g.add("Add", out, g.add("Mul", above, g.number(1 - self.levels[-1])))
        return g.add("Concat", out, g.add("Sub", g.number(1.0), out), axis=1)


def _far(g: Nodes, distance: str, scale: float) -> str:
    """d / (1 + d) of a distance in units of `scale`; 0 where it is negative."""
    d = g.add("Div", g.add("Relu", distance), g.number(scale))
    return g.add("Div", d, g.add("Add", d, g.number(1.0)))
