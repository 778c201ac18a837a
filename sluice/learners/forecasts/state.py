"""What is fitted to forecasts before any model is: moments, categories, parts of the time that go round, and how the series were read."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from sluice.fields.grid import Grid
from sluice.fields.tabular import TabularProcessor
from sluice.fields.timeparts import CYCLES
from sluice.learners.state import State
from sluice.learners.tables.fit import fit_table

if TYPE_CHECKING:
    from sluice.data.dataset import Dataset
    from sluice.fields.column import Column

HISTORY = "history"
#: Of the smallest naive error of a series: nothing that lies closer together is told apart.
_LEAST = 1e-3


def fit_windows(dataset: Dataset) -> State:
    """Moments of each number, the values of each category, which parts of the time go round; and under ``windows`` of `State.extra` how the series were read."""
    state, found = fit_table(dataset), dataset.found
    processor = state.processor
    assert isinstance(processor, TabularProcessor)
    ahead, grid = {*found["known"]}, Grid.load(found["grid"])
    columns = [_column(c, int(found["horizon"]) if c.name in ahead else 1 if c.name == HISTORY else 0, found) for c in processor.columns]
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
        "seasons": sorted({int(found["season"]), *(m for m in grid.seasons if m > 1)}),
        "cycles": _cycles(columns, grid),
        "sequences": wide,
        "numeric": [n for n in names if n in numbers and n != history and n not in wide],
        "least": max(min(1e-6 * float(numbers[history]["std"]), _LEAST * _smallest(dataset)), 1e-12),
        "positive": numbers[history]["low"] >= 0,
        "independent": independent(dataset),
    }
    extra = {
        "numeric": {n: v for n, v in numbers.items() if n in names},
        "categories": {n: v for n, v in categories.items() if n in names},
        "windows": told,
    }
    return State(state.objective, state.labels, made.spec(), made.files(), extra)


def independent(dataset: Dataset) -> float:
    """How many stretches as long as the horizon the validation's times make up, by the root of how many series: what befalls one befalls others too."""
    from sluice.problems.forecast import grid_steps

    if not dataset.manifest["splits"].get("validation", {}).get("rows"):
        return 0.0
    found = dataset.found
    names = [*found["series"]]
    read = dataset.read("validation", [*names, found["time"]])
    series = len(set(zip(*(read.column(n).to_pylist() for n in names), strict=True))) if names else 1
    at = grid_steps(read.column(found["time"]), found["grid"])
    horizon = int(found["horizon"])
    return float((np.ptp(at) + horizon) / horizon * series**0.5)


def _smallest(dataset: Dataset) -> float:
    """The smallest naive error of a series that is learnt from."""
    return min(
        float(b.column("label").values.to_numpy(zero_copy_only=False)[b.column("label").offsets.to_numpy()[1:] - 1].min())
        for b in dataset.batches("train", ["label"], 65_536)
    )


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
