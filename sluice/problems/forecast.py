"""Forecasts: an answer is the next values of a series, each as three quantiles.

The truth of a row is what came, the seasonal naive forecast of it, and the error of such forecasts while the series was learnt from: that is
what is to be beaten, and what errors are scaled by, so both go with the row wherever it is judged.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from statistics import NormalDist
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from sluice.problems.arrays import Arrays
from sluice.problems.closeness import CLOSE
from sluice.problems.metric import Metric
from sluice.problems.units import Units

if TYPE_CHECKING:
    import pyarrow as pa

    from sluice.data.dataset import Dataset
    from sluice.problems.answers import Answers
    from sluice.problems.decision import Rule

#: What is answered of each value to come; the middle one is the forecast, the outer ones hold four values of five.
QUANTILES = (0.1, 0.5, 0.9)
#: From so many series on each is a unit; below, times are.
ENOUGH_SERIES = 5
_NAMES = tuple(str(q) for q in QUANTILES)
#: A normal error's deviation by its mean size.
_BY_SIZE = (np.pi / 2) ** 0.5


@dataclasses.dataclass(frozen=True)
class Truth:
    """What the rows' targets [rows, 2 horizon + 1 and more] hold.

    Attributes:
        values: float64 [rows, horizon], NaN where one is missing.
        naive: float64 [rows, horizon].
        scale: float64 [rows, 1].
        past: float64 [rows, times], oldest first; without columns where it was not asked for.
    """

    values: np.ndarray
    naive: np.ndarray
    scale: np.ndarray
    past: np.ndarray

    @classmethod
    def of(cls, targets: np.ndarray, horizon: int) -> Truth:
        """Taken apart."""
        return cls(
            targets[:, :horizon],
            targets[:, horizon : 2 * horizon],
            targets[:, 2 * horizon : 2 * horizon + 1],
            targets[:, 2 * horizon + 1 :],
        )


@dataclasses.dataclass(frozen=True, eq=False)
class NamedUnits(Units):
    """Units that are called something: `names` by code."""

    names: tuple[str, ...] = ()


class Forecast(Arrays):
    """The next values of a series."""

    name: ClassVar[str] = "series_forecast"
    served: ClassVar[str] = "series_forecast"
    #: A task divides forecasts by time whatever the project says.
    splits: ClassVar[tuple[str, ...]] = ("hash", "time")
    output: ClassVar[str] = "quantiles"
    tells = MappingProxyType(dict.fromkeys(_NAMES, ("FP32", (-1,))))
    by_file: ClassVar[str] = "sluice.prediction.series:predict_series"
    #: Of a series' naive error.
    answer_change: ClassVar[float] = 0.1

    def labels(self, column: pa.ChunkedArray) -> list[str]:
        """``1:0.1``, ``1:0.5``, ...: step and quantile."""
        first = column[0].as_py() if len(column) else ()
        return [f"{step}:{q}" for step in range(1, (len(first) - 1) // 2 + 1) for q in _NAMES]

    def check_labels(self, labels: Sequence[str]) -> None:
        steps = len(labels) // len(_NAMES)
        if not labels or list(labels) != [f"{step}:{q}" for step in range(1, steps + 1) for q in _NAMES]:
            raise ValueError(
                f"are not the steps of a forecast with the quantiles {', '.join(_NAMES)} each: 1:{_NAMES[0]}, 1:{_NAMES[1]}, ..."
            )

    def described(self, labels: Sequence[str]) -> str:
        return f"an answer is {self.width(labels)[0]} values to come"

    def width(self, labels: Sequence[str]) -> tuple[int, ...]:
        """(horizon, quantiles)."""
        return (len(labels) // len(_NAMES), len(_NAMES))

    @functools.cached_property
    def _metrics(self) -> dict[str, Metric]:
        from sluice.problems.of_forecasts import CoverageGap, Mase, Pinball, Smape

        made = (Mase("mase", self.name, "lower", relative=True), Pinball("pinball", self.name, "lower", relative=True),
                Smape("smape", self.name, "lower", most=2.0), CoverageGap("coverage_gap", self.name, "lower"))  # fmt: skip
        return {m.name: m for m in made}

    def judged(
        self,
        predict: Callable[[Sequence[Any]], np.ndarray],
        ask: Callable[[str], np.ndarray],
        dataset: Dataset,
        split: str,
        labels: Sequence[str],
    ) -> tuple[np.ndarray, np.ndarray]:
        """The split's forecasts; behind what is true of each stands its past, for the pictures."""
        read = dataset.read(split, ["label", "history"])
        past = super().targets(read.column("history"), labels)
        return ask(split), np.concatenate([self.targets(read.column("label"), labels), past], axis=1)

    def units(self, dataset: Dataset, split: str) -> Units | None:
        """The series; of fewer than `ENOUGH_SERIES` stretches of time as long as the horizon, the same for all of them, since what befalls one series
        may befall the others."""
        found = dataset.found
        names = [*found["series"]]
        read = dataset.read(split, [*names, found["time"]])
        keys = [" / ".join(str(v) for v in row) for row in zip(*(read.column(n).to_pylist() for n in names), strict=True)] if names else []
        told = list(dict.fromkeys(keys))
        if len(told) >= ENOUGH_SERIES:
            place = {key: i for i, key in enumerate(told)}
            units = NamedUnits(", ".join(names), np.array([place[k] for k in keys], dtype=np.int64), tuple(told))
            return units if units.or_rows() is not None else None
        blocks = grid_steps(read.column(found["time"]), found["grid"]) // int(found["horizon"])
        codes = np.unique(blocks, return_inverse=True)[1].astype(np.int64)
        return Units(f"{found['horizon']} {_times(found['grid'])}", codes)

    def trivial(self, dataset: Dataset, labels: Sequence[str], metric: str, positive: str | None) -> tuple[str, np.ndarray]:
        """What was there a season before, and as far around it as such forecasts used to be off."""
        targets = self.targets(dataset.read("test", ["label"]).column("label"), labels)
        season = int(dataset.found["season"])
        name = f"the seasonal naive forecast (season {season})" if season > 1 else "the naive forecast (the last value)"
        return name, naive_quantiles(Truth.of(targets, self.width(labels)[0]))

    def change(self, outputs: np.ndarray, base: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """The largest difference of a value, in the naive error of its series."""
        scale = Truth.of(targets, outputs.shape[1]).scale
        return np.asarray(np.abs(outputs.astype(np.float64) - base).reshape(len(outputs), -1).max(axis=1) / scale[:, 0])

    def agreement(self, outputs: np.ndarray, others: np.ndarray, labels: Sequence[str], rule: Rule | None, reference: np.ndarray) -> float:
        """The share of rows of which no value differs by more than a hundredth of the largest."""
        far = np.abs(outputs.astype(np.float64) - others).reshape(len(outputs), -1).max(axis=1)
        return float((far <= CLOSE * np.abs(others).reshape(len(outputs), -1).max(axis=1)).mean())

    def details(self, a: Answers, labels: Sequence[str], rule: Rule | None, config: Any) -> dict[str, Any]:
        """``forecast``: errors by step and by series, coverage with its interval, a few forecasts beside what came."""
        from sluice.problems.forecast_details import details

        return {"forecast": details(a, config)}

    def section(self, found: Mapping[str, Any]) -> str:
        """A few forecasts as pictures, errors by step, the series with the largest errors."""
        from sluice.problems.forecast_details import drawn

        return drawn(found["forecast"])

    def told(self, outputs: np.ndarray, labels: Sequence[str]) -> dict[str, np.ndarray]:
        """Each quantile by its name: [rows, horizon]."""
        return {name: np.ascontiguousarray(outputs[:, :, i]) for i, name in enumerate(_NAMES)}

    def observed(self, outputs: np.ndarray) -> np.ndarray:
        """The mean of the forecast over its steps."""
        return np.asarray(outputs[:, :, _NAMES.index("0.5")], dtype=np.float64).mean(axis=1)


def naive_quantiles(truth: Truth) -> np.ndarray:
    """The naive forecast with the quantiles of a normal error of its usual size: float64 [rows, horizon, quantiles]."""
    normal = NormalDist()
    around = np.array([normal.inv_cdf(q) for q in QUANTILES]) * _BY_SIZE
    return np.asarray(truth.naive[:, :, None] + truth.scale[:, :, None] * around)


def grid_steps(column: Any, grid: Mapping[str, Any]) -> np.ndarray:
    """Times as whole numbers of their grid."""
    import pyarrow as pa

    from sluice.fields.grid import Grid

    values = column.cast(pa.int64()).to_numpy() if grid["unit"] != "number" else column.to_numpy().astype(np.int64)
    return np.asarray(Grid.load(grid).index(values))


def _times(grid: Mapping[str, Any]) -> str:
    """What a step of a grid is called, many of it."""
    from sluice.fields.grid import Grid

    name = Grid.load(grid).name
    return f"times of {name}" if name[0].isdigit() else f"{name}s"
