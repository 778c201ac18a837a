"""Trees of forecasts that were grown: their answers, their graph, how they are written down."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import TensorProto, helper

from sluice.core import files
from sluice.engines.onnxruntime import OnnxRuntime
from sluice.engines.rows import tensors_from_arrow
from sluice.learners.base import HISTORY, Trained
from sluice.learners.estimators.base import Rows
from sluice.learners.forecasts.features import add_features, features_graph, inputs_of
from sluice.learners.forecasts.nodes import CUT
from sluice.learners.forecasts.trees import QuantileTrees
from sluice.learners.state import State
from sluice.learners.tables.nodes import Nodes
from sluice.problems.forecast import QUANTILES, Truth
from sluice.problems.of_forecasts import NOMINAL
from sluice.stats.conformal import scores, stretches

if TYPE_CHECKING:
    import onnx

    from sluice.data.dataset import Dataset

#: Of a model's directory: by what the band is stretched.
STRETCH = "stretch.json"
_OPSET, _CHUNK = 17, 512
#: Steps that trees are grown on, and by which rounds end, evenly chosen of more.
_MOST = {"train": 100_000, "validation": 30_000}
_MOST_SCORED = 5_000
#: A step weighs as much as its series' spread is of its naive error, within these.
_LIGHTEST, _HEAVIEST = 0.1, 10.0
#: A bound lies at least this share of the spread from the middle.
_APART = 1e-3


def folder(root: Path, quantile: float) -> Path:
    """Where the trees of a quantile lie."""
    return root / f"quantile-{quantile}"


class Steps:
    """Forecasts as what trees learn: a row a step.

    Args:
        state: of `fit_windows`.
    """

    def __init__(self, state: State):
        self.state, self.horizon = state, int(state.extra["windows"]["horizon"])
        graph, self.names = features_graph(state, _OPSET)
        self._engine = OnnxRuntime.open(graph.SerializeToString())

    def of(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """``features`` [rows, steps, features], ``base`` [rows, steps], ``level`` and ``spread`` [rows, 1], FP32."""
        return self._engine.run(inputs)

    def rows(self, dataset: Dataset, split: str) -> Rows:
        """What trees are grown on: how far each value lies from the naive forecast, in spreads."""
        x, y, w = [np.zeros((0, len(self.names)), np.float32)], [np.zeros(0)], [np.zeros(0)]
        every, at = self._every(dataset, split), 0
        for inputs, t in batches(self.state, dataset, split):
            found = self.of(inputs)
            level, spread = found["level"].astype(np.float64), found["spread"].astype(np.float64)
            target = np.clip((t.values - level) / spread, -CUT, CUT) - found["base"]
            weight = np.clip(spread / t.scale, _LIGHTEST, _HEAVIEST) * np.ones_like(target)
            use = ~np.isnan(target) & ((at + np.arange(target.size).reshape(target.shape)) % every == 0)
            at += target.size
            x.append(found["features"][use])
            y.append(target[use])
            w.append(weight[use])
        return Rows(np.concatenate(x), np.concatenate(y), np.concatenate(w))

    def _every(self, dataset: Dataset, split: str) -> int:
        """Of how many steps one is taken: a number that passes over no step of the horizon."""
        rows = dataset.rows(split) if split in dataset.manifest["splits"] else 0
        every = max(1, -(-rows * self.horizon // _MOST[split]))
        while every > 1 and math.gcd(every, self.horizon) > 1:
            every += 1
        return every


def batches(state: State, dataset: Dataset, split: str) -> Iterator[tuple[dict[str, np.ndarray], Truth]]:
    """A split's inputs and what is true of them; nothing where there is no such split."""
    horizon = int(state.extra["windows"]["horizon"])
    for batch in dataset.batches(split, rows=_CHUNK) if split in dataset.manifest["splits"] else ():
        targets = dataset.problem.targets(batch.column("label"), state.labels)
        yield tensors_from_arrow(state.processor, batch), Truth.of(np.asarray(targets, dtype=np.float64), horizon)


class TreesTrained(Trained):
    """A folder of trees a quantile, ``stretch.json``, ``state.json`` with the processor's files, ``training.json``."""

    def __init__(
        self,
        state: State,
        record: dict[str, Any],
        each: Sequence[QuantileTrees],
        boosters: Sequence[Any],
        stretch: np.ndarray | None = None,
    ):
        self.state, self.record, self._each, self._boosters = state, record, each, boosters
        self._horizon = int(state.extra["windows"]["horizon"])
        self._stretch = np.ones((self._horizon, 2)) if stretch is None else stretch

    @property
    def text(self) -> str:  # type: ignore[override]
        """How many rounds each quantile has."""
        rounds = ", ".join(f"{n} of {q}" for q, n in zip(QUANTILES, self.record["rounds"], strict=True))
        return f"boosted trees over lags, rounds kept by quantile: {rounds}"

    @functools.cached_property
    def _steps(self) -> Steps:
        return Steps(self.state)

    def bare(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """As `run`, where values below 0 are not cut off."""
        f = self._steps.of(inputs)
        flat = f["features"].reshape(-1, f["features"].shape[2])
        low, middle, high = (
            f["base"] + np.asarray(made.predict(b, flat), dtype=np.float32).reshape(-1, self._horizon)
            for made, b in zip(self._each, self._boosters, strict=True)
        )
        below, above = (np.maximum(d, np.float32(_APART)) for d in (middle - low, high - middle))
        far = self._stretch.astype(np.float32)
        bounds = [middle - below * far[:, 0], middle, middle + above * far[:, 1]]
        return np.asarray(np.stack(bounds, axis=2) * f["spread"][:, :, None] + f["level"][:, :, None])

    def run(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """See `Trained.run`."""
        found = self.bare(inputs)
        return np.maximum(found, 0) if self.state.extra["windows"]["positive"] else found

    def calibrate(self, dataset: Dataset) -> None:
        """Stretch the band by what it holds of the validation values; see `sluice.stats.conformal`."""
        held, learnt = (self._scores(dataset, split) for split in ("validation", "train"))
        if len(held):
            self._stretch = stretches(held, learnt, self.state.extra["windows"]["independent"], NOMINAL)

    def _scores(self, dataset: Dataset, split: str) -> np.ndarray:
        """How far what came lies from the middle, [rows, steps]."""
        parts = [np.zeros((0, self._horizon))]
        for inputs, t in self._looked_at(dataset, split):
            out = self.bare(inputs).astype(np.float64)
            parts.append(scores(t.values, out[:, :, 0], out[:, :, 1], out[:, :, 2]))
        return np.concatenate(parts)

    def _looked_at(self, dataset: Dataset, split: str) -> Iterator[tuple[dict[str, np.ndarray], Truth]]:
        """Of many batches of rows every second, third, ..."""
        rows = dataset.rows(split) if split in dataset.manifest["splits"] else 0
        every = -(-rows // _MOST_SCORED)
        return (found for i, found in enumerate(batches(self.state, dataset, split)) if i % every == 0)

    def judged(self, dataset: Dataset) -> dict[str, Any]:
        """The history's one entry: the pinball loss, and the metrics of the validation rows."""
        from sluice.problems import evaluator

        entry: dict[str, Any] = {"epoch": 1, "train_loss": None, "validation_loss": None, "validation_metrics": {}}
        for split in ("train", "validation"):
            found = [
                (self.run(inputs), np.concatenate([t.values, t.naive, t.scale], axis=1)) for inputs, t in self._looked_at(dataset, split)
            ]
            if found:
                out, targets = (np.concatenate(part) for part in zip(*found, strict=True))
                told = evaluator.values(out, targets, self.state.labels, positive=None, asked=self.state.problem)
                entry[f"{split}_loss"] = told["pinball"]
                if split == "validation":
                    entry["validation_metrics"] = {n: v for n, v in told.items() if v is not None}
        return entry

    def graph(self, opset: int) -> onnx.ModelProto:
        """Features, trees and band in one graph; see `Trained.graph`."""
        from sluice.package import graph as graphs

        g, state = Nodes(), self.state
        own = {t.name: f"input_{i}__" for i, t in enumerate(state.processor.inputs)}
        made = add_features(g, state, own)
        flat = g.add("Reshape", made.features, g.ints(-1, len(made.names)))
        low, middle, high = (
            g.add("Add", made.base, g.add("Reshape", g.embed(t.graph(b, len(made.names), opset), flat), g.ints(-1, self._horizon)))
            for t, b in zip(self._each, self._boosters, strict=True)
        )
        far = [g.constant(self._stretch.astype(np.float32)[None, :, i]) for i in range(2)]
        below = g.add("Mul", g.add("Max", g.add("Sub", middle, low), g.number(_APART)), far[0])
        above = g.add("Mul", g.add("Max", g.add("Sub", high, middle), g.number(_APART)), far[1])
        bounds = (g.add("Sub", middle, below), middle, g.add("Add", middle, above))
        axis, name = g.ints(2), state.output.name
        out = g.add("Concat", *(g.add("Unsqueeze", b, axis) for b in bounds), axis=2)
        out = g.add("Add", g.add("Mul", out, g.add("Unsqueeze", made.spread, axis)), g.add("Unsqueeze", made.level, axis))
        g.add("Relu" if state.extra["windows"]["positive"] else "Identity", out, name=name)
        end = helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *state.output.shape[1:]])
        model = g.model(inputs_of(state, own), [end], opset)
        graphs.name_inputs(model, {new: name for name, new in own.items()})
        return model

    def save(self, root: Path) -> None:
        """Write the trees, the band, the state and the history."""
        for q, made, booster in zip(QUANTILES, self._each, self._boosters, strict=True):
            folder(root, q).mkdir()
            made.write(booster, folder(root, q))
        files.write_json(root / STRETCH, self._stretch.tolist())
        self.state.save(root)
        files.write_json(root / HISTORY, self.record)
