"""What boosted trees are told of a step of a forecast: lags and means of the past, what is known of the step, its place in day, week and year.

It is one ONNX graph, which makes the training rows' numbers as well as those of a served row: there is no second implementation that could differ.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from onnx import TensorProto, helper

from sluice.learners.forecasts.nodes import filled, lags, naive_places, scaled, weights
from sluice.learners.tables.codes import codes
from sluice.learners.tables.nodes import Nodes

if TYPE_CHECKING:
    import onnx

    from sluice.learners.state import State

#: Newest values of the past that each step is told of.
_NEWEST = 4


@dataclasses.dataclass(frozen=True)
class Made:
    """Names of a graph's values.

    Attributes:
        features: FP32 [rows, steps, features].
        base: what the trees' answers are added to, the seasonal naive forecast, FP32 [rows, steps], scaled.
        level, spread: FP32 [rows, 1]: what scaled numbers are multiplied by, and then added to.
        names: of the features.
    """

    features: str
    base: str
    level: str
    spread: str
    names: list[str]


def add_features(g: Nodes, state: State, own: Mapping[str, str]) -> Made:
    """The nodes from the package's inputs to the features.

    Args:
        g: the graph.
        state: of `fit_windows`.
        own: the package's inputs -> what they are called in the graph.
    """
    return _Features(g, state, own).made()


def features_graph(state: State, opset: int) -> tuple[onnx.ModelProto, list[str]]:
    """The graph of the features alone: outputs ``features``, ``base``, ``level``, ``spread``; and what the features are called."""
    from sluice.package import graph as graphs

    g = Nodes()
    own = {t.name: f"input_{i}__" for i, t in enumerate(state.processor.inputs)}
    made = add_features(g, state, own)
    ends = []
    for name, axes in (("features", 3), ("base", 2), ("level", 2), ("spread", 2)):
        g.add("Identity", getattr(made, name), name=name)
        ends.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *([None] * (axes - 1))]))
    model = g.model(inputs_of(state, own), ends, opset)
    graphs.name_inputs(model, {new: name for name, new in own.items()})
    return model, made.names


def inputs_of(state: State, own: Mapping[str, str]) -> list[onnx.ValueInfoProto]:
    """The package's inputs as a graph's, under the names they have in it."""
    f = state.extra["windows"]
    wide = {f["history"]: int(f["context"]), **f["sequences"]}
    return [
        helper.make_tensor_value_info(
            own[t.name], TensorProto.STRING if t.datatype == "BYTES" else TensorProto.FLOAT, ["batch", int(wide.get(t.name, 1))]
        )
        for t in state.processor.inputs
    ]


class _Features:
    """Collects parts [rows or 1, steps or 1, numbers], all as wide in the end."""

    def __init__(self, g: Nodes, state: State, own: Mapping[str, str]):
        f = state.extra["windows"]
        self.g, self.f, self.own, self.extra = g, f, own, state.extra
        self.context, self.horizon, self.season = int(f["context"]), int(f["horizon"]), int(f["season"])
        least = np.array(f["least"], dtype=np.float32)
        self.past, self.known, self.level, self.spread = scaled(g, own[f["history"]], weights(self.context, self.season), least)
        self.told = g.add("Where", g.add("Greater", self.known, g.number(0.5)), self.past, g.number(math.nan))
        self.naive = np.array(naive_places(self.context, self.horizon, self.season))
        self.base = g.add("Gather", self.past, g.ints(*self.naive.tolist()), axis=1)
        self.base3 = g.add("Unsqueeze", self.base, g.ints(2))
        self.nothing = g.add("Mul", self.base3, g.number(0.0))
        self.parts: list[str] = []
        self.names: list[str] = []

    def made(self) -> Made:
        """All of them."""
        self._put(self.base3, "naive")
        self._put(self.g.constant(np.arange(1, self.horizon + 1, dtype=np.float32)[None, :, None]), "step")
        self._lags()
        self._means()
        self._size()
        self._others()
        self._cycles()
        return Made(self.g.add("Concat", *self.parts, axis=2), self.base, self.level, self.spread, self.names)

    def _put(self, part: str, *names: str) -> None:
        """A part and what its numbers are called."""
        self.parts.append(self.g.add("Add", part, self.nothing))
        self.names += names

    def _less(self, part: str) -> str:
        """Less the naive forecast: what is left to learn does not depend on where in the season a step is."""
        return self.g.add("Sub", part, self.base3)

    def _at(self, x: str, places: np.ndarray) -> str:
        """The numbers of [rows, times] at places [steps, numbers]: [rows, steps, numbers]."""
        found = self.g.add("Gather", x, self.g.ints(*places.ravel().tolist()), axis=1)
        return self.g.add("Reshape", found, self.g.ints(-1, *places.shape))

    def _mean(self, shares: np.ndarray) -> str:
        """Means of the known values of the past, weighed by columns of [context, means]; NaN where none is known: [rows, means]."""
        table = self.g.constant(shares.astype(np.float32))
        sums, counts = (self.g.add("MatMul", x, table) for x in (self.past, self.known))
        return self.g.add(
            "Where", self.g.add("Greater", counts, self.g.number(0.0)), self.g.add("Div", sums, counts), self.g.number(math.nan)
        )

    def _lags(self) -> None:
        """The values seasons before the step, and the newest of all."""
        places = np.array(lags(self.context, self.horizon, [int(m) for m in self.f["seasons"]]))
        self._put(self._less(self._at(self.told, places)), *(f"lag {i + 1}" for i in range(places.shape[1])))
        newest = np.arange(self.context - 1, max(-1, self.context - 1 - _NEWEST), -1)
        found = self.g.add("Unsqueeze", self.g.add("Gather", self.told, self.g.ints(*newest.tolist()), axis=1), self.g.ints(1))
        self._put(self._less(found), *(f"newest {i + 1}" for i in range(len(newest))))

    def _means(self) -> None:
        """Means of the newest values over several stretches, of the step's own phase of the season, and how the second half differs from the first."""
        age = np.arange(self.context - 1, -1, -1)
        lengths = sorted({n for n in (3, self.season // 2, self.season, 2 * self.season, self.context) if 2 <= n <= self.context})
        if lengths:
            table = np.stack([(age < n) for n in lengths], axis=1)
            self._put(self._less(self.g.add("Unsqueeze", self._mean(table), self.g.ints(1))), *(f"mean of {n}" for n in lengths))
        if self.context >= 2 * self.season > 2:
            phases = (np.arange(self.context)[:, None] - self.naive[None, :]) % self.season == 0
            self._put(self._less(self.g.add("Unsqueeze", self._mean(phases), self.g.ints(2))), "mean of the phase")
        if self.context >= 4:
            halves = np.stack([age < self.context // 2, age >= self.context // 2], axis=1)
            both = self._mean(halves)
            ends = [self.g.add("Slice", both, self.g.ints(i), self.g.ints(i + 1), self.g.ints(1)) for i in range(2)]
            self._put(self.g.add("Unsqueeze", self.g.add("Sub", *ends), self.g.ints(2)), "rise")

    def _size(self) -> None:
        """The spread as part of the level, how many values are known."""
        g = self.g
        size = g.add("Add", g.add("Abs", self.level), self.spread)
        self._put(g.add("Unsqueeze", g.add("Div", self.spread, size), g.ints(2)), "spread of level")
        self._put(g.add("Unsqueeze", g.add("ReduceSum", self.known, g.ints(1), keepdims=1), g.ints(2)), "known")

    def _others(self) -> None:
        """Of columns whose coming values are known the step's and how it differs from the naive forecast's; of others the newest value and mean; categories."""
        g, own = self.g, self.own
        for name, length in sorted(self.f["sequences"].items()):
            if length == self.context + self.horizon:
                now = self._at(own[name], np.arange(self.context, length)[:, None])
                self._put(now, name)
                self._put(g.add("Sub", now, self._at(own[name], self.naive[:, None])), f"{name}, change")
            else:
                last = g.add("Slice", own[name], g.ints(self.context - 1), g.ints(self.context), g.ints(1))
                known = g.add("Where", g.add("IsNaN", own[name]), g.number(0.0), g.number(1.0))
                counts = g.add("ReduceSum", known, g.ints(1), keepdims=1)
                sums = g.add("ReduceSum", filled(g, own[name]), g.ints(1), keepdims=1)
                mean = g.add("Where", g.add("Greater", counts, g.number(0.0)), g.add("Div", sums, counts), g.number(math.nan))
                self._put(g.add("Unsqueeze", g.add("Concat", last, mean, axis=1), g.ints(1)), f"{name}, newest", f"{name}, mean")
        for name in sorted(self.extra["categories"]):
            code = g.add("Cast", g.codes(own[name], codes(self.extra["categories"][name])), to=TensorProto.FLOAT)
            self._put(g.add("Unsqueeze", code, g.ints(2)), name)

    def _cycles(self) -> None:
        """Sine and cosine of the step's place in the day, the week, the year."""
        g, ahead = self.g, np.arange(1, self.horizon + 1, dtype=np.float32)
        for c in self.f["cycles"]:
            turned = 2 * np.pi * ahead * float(c["turn"])
            a, b = (g.constant(f(turned)[None].astype(np.float32)) for f in (np.sin, np.cos))
            sin, cos = (filled(g, self.own[c[part]]) for part in ("sin", "cos"))
            self._put(g.add("Unsqueeze", g.add("Add", g.add("Mul", sin, b), g.add("Mul", cos, a)), g.ints(2)), c["sin"])
            self._put(g.add("Unsqueeze", g.add("Sub", g.add("Mul", cos, b), g.add("Mul", sin, a)), g.ints(2)), c["cos"])
