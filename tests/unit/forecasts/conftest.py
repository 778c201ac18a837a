"""Series in long form."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from sluice.project import Project, parse
from sluice.tasks.forecast import ForecastTask


def long_table(series: int = 6, months: int = 72, seed: int = 3) -> pa.Table:
    """Monthly sales of shops: a level, a season, noise; a price that is known ahead."""
    rng = np.random.default_rng(seed)
    shops, times, sales, prices = [], [], [], []
    for s in range(series):
        price = rng.choice([1.0, 2.0], months)
        level = 50.0 * (s + 1)
        y = level * (1 + 0.3 * np.sin(2 * np.pi * np.arange(months) / 12)) - 0.1 * level * price + rng.normal(0, 0.02 * level, months)
        for t in range(months):
            shops.append(f"shop {s}")
            times.append(str(np.datetime64("2015-01") + t))
            sales.append(float(y[t]))
            prices.append(float(price[t]))
    return pa.table({"shop": shops, "month": times, "price": prices, "sales": sales})


@pytest.fixture
def table() -> pa.Table:
    return long_table()


@pytest.fixture
def task() -> Callable[..., ForecastTask]:
    """A forecast task with such a `model:`."""

    def made(label: str = "sales", data: dict[str, Any] | None = None, **model: Any) -> ForecastTask:
        raw = {"name": "x", "task": "forecast", "data": {"source": "x.csv", "columns": {"label": label}, **(data or {})}, "model": model}
        project: Project = parse(raw)
        return ForecastTask(project, Path())

    return made
