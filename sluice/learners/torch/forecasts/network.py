"""How the torch learner learns forecasts."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from sluice.fields.grid import Grid
from sluice.fields.tabular import TabularProcessor
from sluice.fields.timeparts import CYCLES
from sluice.learners.state import State
from sluice.learners.tables.codes import coded, codes, take_strings
from sluice.learners.tables.fit import fit_table
from sluice.learners.torch.network import Network
from sluice.problems.forecast import QUANTILES
from sluice.tasks.base import settings
from sluice.tasks.config import ForecastModel

if TYPE_CHECKING:
    import onnx
    import torch

    from sluice.data.dataset import Dataset
    from sluice.fields.column import Column
    from sluice.learners.torch.encode import Encoded
    from sluice.learners.torch.plan import Defaults, Plan

HISTORY = "history"
#: Numbers, of all rows and columns, the linear start is fitted to.
_MOST_FITTED = 10_000_000


class ForecastNetwork(Network):
    """A linear model over the seasonal naive forecast, and residual blocks; scaling happens inside the exported graph, which takes raw values."""

    def fit(self, dataset: Dataset) -> State:
        """Moments of each number, the values of each category, which parts of the time go round; and how the series were read."""
        state, found = fit_table(dataset), dataset.found
        processor = state.processor
        assert isinstance(processor, TabularProcessor)
        ahead = {*found["known"]}
        columns = [
            _column(c, int(found["horizon"]) if c.name in ahead else 1 if c.name == HISTORY else 0, found) for c in processor.columns
        ]
        made = TabularProcessor(columns, processor.written)
        history = next(c.tensor for c in columns if c.name == HISTORY)
        wide = {c.tensor: int(c.own["length"]) for c in columns if "length" in c.own}
        numbers, categories = state.extra["numeric"], state.extra["categories"]
        names = [t.name for t in made.inputs]
        told = {
            "history": history,
            "context": wide.pop(history),
            "horizon": int(found["horizon"]),
            "season": int(found["season"]),
            "seasons": sorted({int(found["season"]), *(m for m in Grid.load(found["grid"]).seasons if m > 1)}),
            "cycles": _cycles(columns, Grid.load(found["grid"])),
            "sequences": wide,
            "numeric": [n for n in names if n in numbers and n != history and n not in wide],
            "least": max(1e-6 * float(numbers[history]["std"]), 1e-12),
            "positive": numbers[history]["low"] >= 0,
        }
        extra = {
            "numeric": {n: v for n, v in numbers.items() if n in names},
            "categories": {n: v for n, v in categories.items() if n in names},
            "windows": told,
        }
        return State(state.objective, state.labels, made.spec(), made.files(), extra)

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


def _cycles(columns: list[Column], grid: Grid) -> list[dict[str, Any]]:
    """The parts of the time that go round: their inputs, and how much of a round a step is."""
    found = []
    for c in columns:
        for part in c.time.parts if c.time is not None else ():
            turn = grid.turn(part)
            if turn is not None:
                found.append({"sin": f"{c.tensor}.{part}_sin", "cos": f"{c.tensor}.{part}_cos", "turn": turn})
    return found


def _column(column: Column, least: int, found: Mapping[str, Any]) -> Column:
    """A column as forecasts keep it: of a time the parts that go round, of a sequence how many numbers a client has to send; the past has the layout."""
    if column.time is not None:
        parts = tuple(p for p in column.time.parts if p in CYCLES) or ("age",)
        return dataclasses.replace(column, time=dataclasses.replace(column.time, parts=parts))
    if "length" in column.own:
        return dataclasses.replace(
            column, own={**column.own, "least": least, **({"layout": dict(found)} if column.name == HISTORY else {})}
        )
    return column
