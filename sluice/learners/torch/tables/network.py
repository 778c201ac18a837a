"""The network of a table, and what is fitted with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from sluice.learners.state import State
from sluice.learners.tables.codes import coded, codes, take_strings
from sluice.learners.tables.fit import fit_table
from sluice.learners.torch.network import Network
from sluice.tasks.base import settings
from sluice.tasks.config import TabularModel

if TYPE_CHECKING:
    import onnx
    import torch

    from sluice.data.dataset import Dataset
    from sluice.learners.torch.encode import Encoded
    from sluice.learners.torch.plan import Defaults, Plan

#: Numbers, of all rows and columns, the linear start is fitted to.
_MOST_FITTED = 10_000_000


class TableNetwork(Network):
    """A linear model and an ensemble of perceptrons; imputation, scaling and encoding happen inside the exported graph, which takes raw values."""

    def fit(self, dataset: Dataset) -> State:
        """As `fit_table`."""
        return fit_table(dataset)

    def build(self, state: State) -> torch.nn.Module:
        """A `TabularMLP` of as many inputs as the state has."""
        from sluice.learners.torch.tables.mlp import TabularMLP

        return TabularMLP(settings(self.task, TabularModel), state)

    def preload(self, state: State) -> None:
        """The network's module."""
        import sluice.learners.torch.tables.mlp  # noqa: F401

    def defaults(self, state: State, rows: int) -> Defaults:
        """Small steps from the linear model, averaged; larger batches for more rows."""
        from sluice.learners.torch.plan import Defaults

        batch = 128 if rows < 20_000 else 256 if rows < 100_000 else 1024
        return Defaults(batch_size=batch, learning_rate=2e-3, weight_decay=0.02, schedule="constant", ema=0.99, steps=6000, patience=15)

    def adapt(self, model: torch.nn.Module, state: State, rows: Encoded) -> bool:
        """Fit the linear part to the training rows, or to an even choice of many."""
        from typing import cast

        import torch

        from sluice.learners.torch.linear import fit_linear
        from sluice.learners.torch.tables.mlp import TabularMLP
        from sluice.learners.weights import label_weights

        net = cast(TabularMLP, model)
        step = -(-rows.rows * max(1, len(net.numeric)) // _MOST_FITTED)
        chosen = np.arange(0, rows.rows, step)
        with torch.no_grad():
            flat, _, codes = net.eval().features(self.tensors(rows.batch(chosen), state))
        weights = label_weights(self.task.project.train.class_weights, state.labels, np.asarray(rows.labels))
        labels = np.asarray(rows.labels[chosen])
        weigh = torch.tensor(weights)[torch.from_numpy(labels)] if weights else None
        fit_linear(net.straight, net.linear_parts(), flat, codes, self.targets(labels, state), weigh)
        return True

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor, train: Plan) -> torch.Tensor:
        """While training every member has its own loss."""
        if outputs.dim() == (2 if targets.is_floating_point() else 3):
            targets, outputs = targets.repeat_interleave(outputs.shape[1]), outputs.flatten(0, 1)
        return super().loss(outputs, targets, train)

    def tensors(self, batch: dict[str, np.ndarray], state: State) -> dict[str, torch.Tensor]:
        """FP32 [rows, 1] a numeric column; a categorical one as INT64 codes [rows, 1]."""
        import torch

        tables = self._codes(state)
        out = {}
        for name, array in batch.items():
            table = tables.get(name)
            if table is None:
                out[name] = torch.from_numpy(array)
            else:
                out[name] = torch.from_numpy(coded(table, array))
        return out

    def _codes(self, state: State) -> dict[str, dict[str, int]]:
        cached = getattr(self, "_tables", None)
        if cached is None or cached[0] is not state:
            cached = (state, {name: codes(values) for name, values in state.extra["categories"].items()})
            self._tables = cached
        return cached[1]  # type: ignore[no-any-return]

    def targets(self, labels: np.ndarray, state: State) -> torch.Tensor:
        """Class indices INT64 [rows], or values standardised by the training rows, FP32 [rows]."""
        import torch

        if state.problem.classes:
            return super().targets(labels, state)
        scale = state.extra["target"]
        return torch.from_numpy(((labels - scale["mean"]) / scale["std"]).astype(np.float32))

    def serving_module(self, model: torch.nn.Module, state: State) -> torch.nn.Module:
        """Probabilities, or values in the label's own unit."""
        if state.problem.classes:
            return super().serving_module(model, state)
        from sluice.learners.torch.tables.mlp import Denormalised

        return Denormalised(model, state.extra["target"]["mean"], state.extra["target"]["std"]).eval()

    def graph(self, serving: torch.nn.Module, state: State, inputs: Mapping[str, str], output: str, opset: int) -> onnx.ModelProto | None:
        """Written node by node where the serving module is this network's own; see `tabular_graph`."""
        from sluice.learners.torch.tables.graph import tabular_graph
        from sluice.learners.torch.tables.mlp import TabularMLP

        return tabular_graph(serving, inputs, output, opset) if isinstance(getattr(serving, "model", None), TabularMLP) else None

    def finish_graph(self, graph: onnx.ModelProto, state: State) -> onnx.ModelProto:
        """Let the graph take strings; see `take_strings`."""
        return take_strings(graph, self._codes(state))
