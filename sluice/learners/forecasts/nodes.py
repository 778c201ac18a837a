"""What every graph of forecasts begins with, written node by node: a past at level 0 and spread 1."""

from __future__ import annotations

import numpy as np

from sluice.learners.tables.nodes import Nodes

#: Scaled values beyond this are cut off.
CUT = 20.0
#: A series' spread is at least this share of its level.
FLAT = 1e-3
#: Most seasons back a step is told of.
_MOST_LAGS = 10


def weights(context: int, season: int) -> np.ndarray:
    """How much each value of the past says of the level it has now, FP32 [context], oldest first."""
    age = np.arange(context - 1, -1, -1, dtype=np.float32)
    return np.asarray(np.exp(-age / max(4.0, float(season))), dtype=np.float32)


def lags(context: int, horizon: int, seasons: list[int]) -> list[list[int]]:
    """For each step the places in the context of the values one and two seasons before it, for each season that fits; the last value where none does."""
    backs = [m * k for m in seasons for k in (1, 2, 3)]
    fits = [b for b in dict.fromkeys(backs) if b <= context] or [1]
    chosen = sorted(fits)[:_MOST_LAGS]
    return [[context + h - b * (h // b + 1) for b in chosen] for h in range(horizon)]


def naive_places(context: int, horizon: int, season: int) -> list[int]:
    """For each step the place in the context of its seasonal naive forecast; the last value where the context is shorter than a season."""
    at = [context - season + h % season for h in range(horizon)]
    return [a if a >= 0 else context - 1 for a in at]


def scaled(g: Nodes, history: str, weight: np.ndarray, least: np.ndarray) -> tuple[str, str, str, str]:
    """A past [rows, context] at level 0 and spread 1, with 0 where a value is missing; where one is not (0 and 1); level and spread [rows, 1]."""
    missing, zero, last = g.add("IsNaN", history), g.number(0.0), g.ints(1)
    known = g.add("Where", missing, zero, g.number(1.0))
    shares = g.add("Mul", known, g.constant(weight))
    shares = g.add("Div", shares, g.add("Max", g.add("ReduceSum", shares, last, keepdims=1), g.number(1e-12)))
    whole = g.add("Where", missing, zero, history)
    level = g.add("ReduceSum", g.add("Mul", shares, whole), last, keepdims=1)
    apart = g.add("Mul", g.add("Sub", whole, level), known)
    spread = g.add("ReduceSum", g.add("Mul", shares, g.add("Abs", apart)), last, keepdims=1)
    spread = g.add("Max", spread, g.add("Mul", g.add("Abs", level), g.number(FLAT)), g.constant(least))
    return g.add("Clip", g.add("Div", apart, spread), g.number(-CUT), g.number(CUT)), known, level, spread


def filled(g: Nodes, x: str) -> str:
    """0 where a number is missing."""
    return g.add("Where", g.add("IsNaN", x), g.number(0.0), x)
