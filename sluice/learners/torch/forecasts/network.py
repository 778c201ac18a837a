"""How the torch learner learns forecasts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from sluice.learners.forecasts.state import fit_windows
from sluice.learners.state import State
from sluice.learners.tables.codes import coded, codes, take_strings
from sluice.learners.torch.network import Network
from sluice.problems.forecast import QUANTILES
from sluice.tasks.base import settings
from sluice.tasks.config import ForecastModel

if TYPE_CHECKING:
    import onnx
    import torch

    from sluice.data.dataset import Dataset
    from sluice.learners.torch.encode import Encoded
    from sluice.learners.torch.forecasts.model import ForecastNet
    from sluice.learners.torch.plan import Defaults, Plan

#: Numbers, of all rows and columns, the linear start is fitted to.
_MOST_FITTED = 10_000_000
#: Rows learnt from that are looked at for the width of the band, and rows at a time.
_MOST_SCORED, _CHUNK = 5_000, 1_000


class ForecastNetwork(Network):
    """A linear model over the seasonal naive forecast, and residual blocks; scaling happens inside the exported graph, which takes raw values."""

    def fit(self, dataset: Dataset) -> State:
        """See `fit_windows`."""
        return fit_windows(dataset)

    def build(self, state: State) -> torch.nn.Module:
        """A `ForecastNet` for the state's columns."""
        from sluice.learners.torch.forecasts.model import ForecastNet

        return ForecastNet(settings(self.task, ForecastModel), state)

    def preload(self, state: State) -> None:
        """The network's module."""
        import sluice.learners.torch.forecasts.model  # noqa: F401

    def defaults(self, state: State, rows: int) -> Defaults:
        """Small steps from the linear model, averaged."""
        from sluice.learners.torch.plan import Defaults

        batch = 64 if rows < 5_000 else 256
        return Defaults(
            batch_size=batch, learning_rate=1e-3, weight_decay=0.02, schedule="constant", ema=0.98, steps=2500, patience=8, most=100
        )

    def adapt(self, model: torch.nn.Module, state: State, rows: Encoded) -> bool:
        """Fit the linear part to the training rows, or to an even choice of many."""
        from typing import cast

        import torch

        from sluice.learners.torch.forecasts.model import ForecastNet, fit_straight

        net, f = cast(ForecastNet, model), state.extra["windows"]
        step = -(-rows.rows * f["context"] // _MOST_FITTED)
        chosen = np.arange(0, rows.rows, step)
        past = self.tensors(rows.batch(chosen), state)[f["history"]]
        fit_straight(net, past, torch.from_numpy(np.asarray(rows.labels[chosen, : f["horizon"]], dtype=np.float32)))
        return True

    def calibrate(self, model: torch.nn.Module, state: State, learnt: Encoded, held: Encoded) -> None:
        """Stretch the outer quantiles, by step and side, until they hold what they say of the validation values; see `sluice.stats.conformal`."""
        from typing import cast

        import torch

        from sluice.learners.torch.forecasts.model import ForecastNet
        from sluice.problems.of_forecasts import NOMINAL
        from sluice.stats.conformal import stretches

        net, f = cast(ForecastNet, model), state.extra["windows"]
        own = self._scores(net, state, learnt, -(-learnt.rows // _MOST_SCORED)), self._scores(net, state, held, 1)
        net.stretch.copy_(torch.from_numpy(stretches(own[1], own[0], f["independent"], NOMINAL)))

    def _scores(self, net: ForecastNet, state: State, rows: Encoded, every: int) -> np.ndarray:
        """How far what came lies from the middle, [rows, horizon]; see `sluice.stats.conformal.scores`."""
        import torch

        from sluice.stats.conformal import scores

        parts, at = [], np.arange(0, rows.rows, every)
        with torch.no_grad():
            for i in range(0, len(at), _CHUNK):
                chosen = at[i : i + _CHUNK]
                found = net.bare(**self.tensors(rows.batch(chosen), state)).double().numpy()
                values = np.asarray(rows.labels[chosen, : net.horizon], dtype=np.float64)
                parts.append(scores(values, found[:, :, 0], found[:, :, 1], found[:, :, 2]))
        return np.concatenate(parts)

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor, train: Plan) -> torch.Tensor:
        """The pinball loss, each series in its own naive error."""
        from sluice.learners.torch.forecasts.model import pinball

        return pinball(outputs.float(), targets, QUANTILES)

    def tensors(self, batch: dict[str, np.ndarray], state: State) -> dict[str, torch.Tensor]:
        """FP32 as they come; a category as INT64 codes [rows, 1]."""
        import torch

        tables = {name: codes(values) for name, values in state.extra["categories"].items()}
        return {
            name: torch.from_numpy(coded(tables[name], array)) if name in tables else torch.from_numpy(np.ascontiguousarray(array))
            for name, array in batch.items()
        }

    def graph(self, serving: torch.nn.Module, state: State, inputs: Mapping[str, str], output: str, opset: int) -> onnx.ModelProto | None:
        """Written node by node where the serving module is this network's own; see `forecast_graph`."""
        from sluice.learners.torch.forecasts.graph import forecast_graph
        from sluice.learners.torch.forecasts.model import ForecastNet

        return forecast_graph(serving, inputs, output, opset) if isinstance(getattr(serving, "model", None), ForecastNet) else None

    def finish_graph(self, graph: onnx.ModelProto, state: State) -> onnx.ModelProto:
        """Let the graph take strings; see `take_strings`."""
        return take_strings(graph, {name: codes(values) for name, values in state.extra["categories"].items()})
