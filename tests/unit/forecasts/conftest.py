"""Series in long form."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest

from sluice.data.dataset import Dataset
from sluice.data.prepare import prepare
from sluice.learners.state import State
from sluice.project import Project, parse
from sluice.tasks.forecast import ForecastTask

if TYPE_CHECKING:
    from sluice.learners.torch.forecasts.model import ForecastNet
    from sluice.learners.torch.forecasts.network import ForecastNetwork


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


@pytest.fixture(scope="module", params=["network", "gru", "tcn"])
def fitted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[ForecastNetwork, State, ForecastNet, Dataset]:
    import pyarrow.parquet as pq
    import torch

    from sluice.learners.torch.forecasts.network import ForecastNetwork

    root = tmp_path_factory.mktemp("forecast")
    table = long_table(4, 60)
    table = table.append_column("visitors", pa.array([float(i % 7) if i % 5 else None for i in range(table.num_rows)]))
    pq.write_table(table, root / "x.parquet")
    project = parse(
        {"name": "x", "task": "forecast", "data": {"source": "x.parquet", "columns": {"label": "sales"}},
         "model": {"horizon": 6, "known": ["price"], "hidden": 16, "method": request.param}}
    )  # fmt: skip
    task = ForecastTask(project, root)
    dataset = prepare(project, root, task, root / "data")
    network = ForecastNetwork(task)
    state = network.fit(dataset)
    torch.manual_seed(1)
    net = network.build(state)
    for p in net.parameters():  # a trained one has no zeros that hide a mistake
        p.data += 0.1 * torch.randn_like(p)
    net.stretch += torch.rand(6, 2)
    return network, state, net.eval(), dataset  # type: ignore[return-value]


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
