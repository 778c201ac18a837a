"""A policy as it is shipped: an observation's numbers in, probabilities of actions out; the same in memory and in the ONNX graph."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from sluice.learners.state import State
    from sluice.learners.tables.nodes import Nodes

_NODES = {"tanh": "Tanh", "relu": "Relu"}
_FUNCTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {"tanh": np.tanh, "relu": lambda x: np.maximum(x, np.float32(0))}


@dataclasses.dataclass(frozen=True)
class Encoding:
    """How the graph's inputs become the network's: quantities as they are or scaled, then a 1 for the state each other number is in.

    Attributes:
        inputs: the graph's inputs, one an observation's number, [rows, 1] each.
        states: of each, how many states it tells apart; 0: it is a quantity.
        centre: what a row's encoding has taken away from each.
        fill: what stands for a missing quantity.
        shift, scale: of each quantity, what is taken away and what it is divided by.
    """

    inputs: list[str]
    states: list[int]
    centre: list[float]
    fill: list[float]
    shift: list[float]
    scale: list[float]

    @classmethod
    def fitted(cls, state: State, names: list[str], states: list[int], normalise: bool) -> Encoding:
        """Of a table's fitted state, for an observation's numbers in their order."""
        from sluice.fields import TabularProcessor

        assert isinstance(state.processor, TabularProcessor)
        columns = {c.name: c for c in state.processor.columns}
        inputs = [columns[n].tensor for n in names]
        seen = [state.extra["numeric"][t] for t in inputs]
        means = [float(np.float32(s["mean"])) for s in seen]
        return cls(
            inputs=inputs,
            states=list(states),
            centre=[float(columns[n].centre) for n in names],
            fill=means,
            shift=means if normalise else [-float(columns[n].centre) for n in names],
            scale=[float(np.float32(s["std"])) or 1.0 for s in seen] if normalise else [1.0] * len(names),
        )

    @property
    def features(self) -> int:
        """Numbers that the network takes."""
        return sum(n or 1 for n in self.states)

    def observed(self, rows: np.ndarray) -> np.ndarray:
        """An environment's observations [rows, numbers] as the network's input."""
        return self.of(rows - np.array(self.centre, dtype=np.float32))

    def of(self, x: np.ndarray) -> np.ndarray:
        """The graph's inputs side by side, FP32 [rows, numbers] with NaN where one is missing, as FP32 [rows, features]."""
        parts = []
        quantities = [i for i, n in enumerate(self.states) if not n]
        if quantities:
            q = x[:, quantities]
            q = np.where(np.isnan(q), self._of(self.fill, quantities), q)
            parts.append((q - self._of(self.shift, quantities)) / self._of(self.scale, quantities))
        for i, n in enumerate(self.states):
            if n:
                parts.append((x[:, [i]] + np.float32(self.centre[i]) == np.arange(n, dtype=np.float32)).astype(np.float32))
        return np.ascontiguousarray(np.concatenate(parts, axis=1), dtype=np.float32)

    def nodes(self, g: Nodes, inputs: list[str]) -> str:
        """The same inside a graph. Returns the name of what it gives."""
        from onnx import TensorProto

        parts = []
        quantities = [i for i, n in enumerate(self.states) if not n]
        if quantities:
            x = g.add("Concat", *(inputs[i] for i in quantities), axis=1)
            x = g.add("Where", g.add("IsNaN", x), g.constant(self._of(self.fill, quantities)), x)
            x = g.add("Sub", x, g.constant(self._of(self.shift, quantities)))
            parts.append(g.add("Div", x, g.constant(self._of(self.scale, quantities))))
        for i, n in enumerate(self.states):
            if n:
                raw = g.add("Add", inputs[i], g.number(self.centre[i]))
                same = g.add("Equal", raw, g.constant(np.arange(n, dtype=np.float32)[None]))
                parts.append(g.add("Cast", same, to=TensorProto.FLOAT))
        return g.add("Concat", *parts, axis=1) if len(parts) > 1 else parts[0]

    @staticmethod
    def _of(values: list[float], chosen: list[int]) -> np.ndarray:
        return np.array([[values[i] for i in chosen]], dtype=np.float32)


@dataclasses.dataclass(frozen=True, eq=False)
class PolicyNetwork:
    """A perceptron from observations to probabilities of actions.

    Attributes:
        encoding: of observations.
        weights: of its layers in their order, FP32 [out, in] and [out] each.
        activation: between the layers: ``tanh`` or ``relu``.
        temperature: the last layer's values are divided by it before their softmax.
        place: of each of the package's labels, which of the last layer's values is its own.
    """

    encoding: Encoding
    weights: list[tuple[np.ndarray, np.ndarray]]
    activation: str
    temperature: float
    place: list[int]

    def values(self, x: np.ndarray) -> np.ndarray:
        """The last layer's values, FP32 [rows, actions], for what `Encoding` gives."""
        act = _FUNCTIONS[self.activation]
        for i, (w, b) in enumerate(self.weights):
            x = x @ w.T + b
            x = act(x) if i < len(self.weights) - 1 else x
        return x

    def probabilities(self, x: np.ndarray) -> np.ndarray:
        """Of the package's labels, FP32 [rows, labels], for what `Encoding` gives."""
        v = self.values(x)[:, self.place] / np.float32(self.temperature)
        e = np.exp(v - v.max(axis=1, keepdims=True))
        return np.asarray(e / e.sum(axis=1, keepdims=True), dtype=np.float32)

    def run(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """The same for the package's inputs, [rows, 1] each."""
        return self.probabilities(self.encoding.of(np.concatenate([inputs[t] for t in self.encoding.inputs], axis=1).astype(np.float32)))

    def choose(self, observations: np.ndarray) -> np.ndarray:
        """The greedy action of each of an environment's observations, int64 [rows]."""
        return self.values(self.encoding.observed(observations)).argmax(axis=1)

    def nodes(self, g: Nodes, inputs: list[str], output: str) -> None:
        """The whole graph, from the package's inputs to its output."""
        x = self.encoding.nodes(g, inputs)
        for i, (w, b) in enumerate(self.weights):
            x = g.add("Gemm", x, g.constant(w), g.constant(b), transB=1)
            x = g.add(_NODES[self.activation], x) if i < len(self.weights) - 1 else x
        if self.place != list(range(len(self.place))):
            x = g.add("Gather", x, g.ints(*self.place), axis=1)
        g.add("Softmax", g.add("Div", x, g.number(self.temperature)), name=output, axis=1)

    def dump(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """As JSON values and tensors."""
        plain = {
            "encoding": dataclasses.asdict(self.encoding),
            "activation": self.activation,
            "temperature": self.temperature,
            "place": self.place,
            "layers": len(self.weights),
        }
        tensors = {f"{i}.{part}": t for i, pair in enumerate(self.weights) for part, t in zip(("weight", "bias"), pair, strict=True)}
        return plain, tensors

    @classmethod
    def load(cls, plain: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> PolicyNetwork:
        """What `dump` gave. Raises `KeyError`, `TypeError`: it is something else."""
        weights = [(tensors[f"{i}.weight"], tensors[f"{i}.bias"]) for i in range(plain["layers"])]
        return cls(Encoding(**plain["encoding"]), weights, plain["activation"], plain["temperature"], plain["place"])
