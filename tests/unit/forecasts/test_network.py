"""The network of forecasts and its graph."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from sluice.data.dataset import Dataset
from sluice.engines.onnxruntime import OnnxRuntime
from sluice.engines.rows import rows_from_arrow
from sluice.learners.state import State
from sluice.learners.torch.forecasts.model import ForecastNet, fit_straight, pinball
from sluice.learners.torch.forecasts.network import ForecastNetwork
from sluice.learners.torch.graph import network_graph
from sluice.problems.forecast import QUANTILES
from sluice.tasks.forecast import ForecastTask
from tests.unit.forecasts.conftest import long_table


def test_the_graph_answers_as_the_network_does(fitted: tuple[ForecastNetwork, State, ForecastNet, Dataset]) -> None:
    network, state, net, dataset = fitted
    rows = rows_from_arrow(state.preprocess, dataset.read("test"))
    rows[0] |= {"shop": "another", "history": [None, 3.0], "price": [1.0] * 6, "visitors": None}
    batch = state.processor.encode_batch(rows)
    serving = network.serving_module(net, state)
    with torch.no_grad():
        expected = serving(**network.tensors(batch, state)).numpy()
    engine = OnnxRuntime.open(network_graph(network, state, serving, 20).SerializeToString())
    found = next(iter(engine.run(batch).values()))
    assert found.shape == (len(rows), 6, 3)
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=1e-3)
    assert (np.diff(found, axis=2) >= 0).all()


def test_each_known_value_moves_its_own_step_most(fitted: tuple[ForecastNetwork, State, ForecastNet, Dataset]) -> None:
    network, state, net, dataset = fitted
    row = rows_from_arrow(state.preprocess, dataset.read("test"))[0]
    before = net(**network.tensors(state.processor.encode_batch([row]), state))
    changed = {**row, "price": [*row["price"][:-1], row["price"][-1] + 1]}
    after = net(**network.tensors(state.processor.encode_batch([changed]), state))
    moved = (after - before).abs().amax(dim=2)[0]
    assert moved[-1] > 0 and moved[:-1].max() < 1e-6 * before.abs().max()


def test_an_untrained_network_is_the_seasonal_naive_forecast(fitted: tuple[ForecastNetwork, State, ForecastNet, Dataset]) -> None:
    network, state, _, dataset = fitted
    rows = rows_from_arrow(state.preprocess, dataset.read("test"))
    net = network.build(state).eval()
    with torch.no_grad():
        found = net(**network.tensors(state.processor.encode_batch(rows), state)).numpy()[:, :, 1]
    naive = np.array([r["history"][-12:][:6] for r in rows])
    np.testing.assert_allclose(found, naive, rtol=1e-4)


def test_the_linear_start_finds_a_plain_rule() -> None:
    net = ForecastNet.__new__(ForecastNet)
    torch.nn.Module.__init__(net)
    net.horizon = 2
    net.register_buffer("weight", torch.ones(8))
    net.register_buffer("least", torch.tensor(1e-6))
    net.straight, net.head = torch.nn.Parameter(torch.zeros(8, 2)), torch.nn.Linear(1, 6)
    past = torch.randn(300, 8, generator=torch.Generator().manual_seed(1))
    level = past.mean(dim=1, keepdim=True)
    fit_straight(net, past, torch.stack([past[:, -1], past[:, -4]], dim=1))
    x, _, _, spread = net.scaled(past)
    found = ((x @ net.straight) * spread + level).detach()
    assert float((found[:, 0] - past[:, -1]).abs().mean()) < 0.1 and float((found[:, 1] - past[:, -4]).abs().mean()) < 0.1


def test_the_loss_is_least_at_the_quantiles_and_blind_to_what_is_missing() -> None:
    values = torch.linspace(0, 1, 101).unsqueeze(1)
    targets = torch.cat([values, torch.zeros(101, 1), torch.ones(101, 1)], dim=1)

    def loss(low: float, middle: float, high: float) -> float:
        return float(pinball(torch.tensor([low, middle, high]).expand(101, 1, 3), targets, QUANTILES))

    best = loss(0.1, 0.5, 0.9)
    assert all(best < other for other in (loss(0.2, 0.5, 0.9), loss(0.1, 0.4, 0.9), loss(0.1, 0.5, 0.8)))
    gone = targets.clone()
    gone[3, 0] = float("nan")
    assert np.isfinite(float(pinball(torch.zeros(101, 1, 3), gone, QUANTILES)))


def test_what_a_client_must_send(fitted: tuple[ForecastNetwork, State, ForecastNet, Dataset], task: Callable[..., ForecastTask]) -> None:
    from sluice.core.errors import InputError

    _, state, _, _ = fitted
    good = {"shop": "shop 1", "month": "2020-01", "history": [1, 2, 3], "price": [1] * 6}
    assert state.processor.encode_batch([good])["price"].shape == (1, 30)
    for row, message in (
        ({**good, "price": [1, 2]}, r"rows\[0\].price.*has 2 numbers of 2.*at least 6"),
        ({k: v for k, v in good.items() if k != "history"}, r"rows\[0\].history"),
        ({**good, "history": [None, None]}, "has 0 numbers of 2"),
        ({**good, "history": "1 2 3"}, "is not a list of numbers"),
        ({**good, "history": [1e300]}, "is not a finite 32-bit number"),
        ({**good, "month": "soon"}, "is not a time"),
    ):
        with pytest.raises(InputError) as e:
            state.processor.encode_batch([row])
        import re

        assert re.search(message, str(e.value), re.S), str(e.value)


def test_a_package_without_its_settings_is_refused(tmp_path: Path) -> None:
    from sluice.core.errors import PackageError
    from sluice.fields import load_processor

    with pytest.raises(PackageError, match="must be a whole number of 1 to"):
        load_processor({"kind": "tabular", "columns": [{"name": "history", "type": "sequence", "least": 1}]}, {})


class _Rows:
    """Rows as the loop has them encoded."""

    def __init__(self, state: State, dataset: Dataset, split: str):
        from sluice.engines.rows import tensors_from_arrow

        table = dataset.read(split)
        self._tensors, self.rows = tensors_from_arrow(state.processor, table), table.num_rows
        self.labels = dataset.problem.targets(table.column("label"), state.labels)

    def batch(self, at: np.ndarray) -> dict[str, np.ndarray]:
        return {name: values[at] for name, values in self._tensors.items()}


def test_the_band_is_stretched_by_what_the_validation_rows_say(fitted: tuple[ForecastNetwork, State, ForecastNet, Dataset]) -> None:
    from typing import cast

    from sluice.learners.torch.encode import Encoded

    network, state, _, dataset = fitted
    rows = {split: cast(Encoded, _Rows(state, dataset, split)) for split in ("train", "validation")}
    net = network.build(state).eval()
    network.adapt(net, state, rows["train"])
    with torch.no_grad():
        net.head.bias.view(6, 3)[:, 1:] -= 3  # much too sure
    told = {}
    for when in ("before", "after"):
        with torch.no_grad():
            found = net(**network.tensors(rows["validation"].batch(np.arange(rows["validation"].rows)), state)).numpy()
        values = rows["validation"].labels[:, :6]
        told[when] = float(((values >= found[:, :, 0]) & (values <= found[:, :, 2])).mean()), found[:, :, 1]
        network.calibrate(net, state, rows["train"], rows["validation"])
    assert told["before"][0] < 0.35 and 0.7 < told["after"][0] < 0.95
    np.testing.assert_array_equal(told["before"][1], told["after"][1])


def test_what_is_independent_of_the_validation_times(fitted: tuple[ForecastNetwork, State, ForecastNet, Dataset]) -> None:
    _, state, _, dataset = fitted
    origins = len(set(dataset.read("validation").column("month").to_pylist()))
    assert state.extra["windows"]["independent"] == pytest.approx((origins + 5) / 6 * 2)


def test_series_of_very_different_sizes_are_each_told_apart(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from sluice.data.prepare import prepare
    from sluice.learners.forecasts.state import fit_windows
    from sluice.project import parse

    table = long_table(2, 60)
    sizes = [1e9 if s == "shop 1" else 1.0 for s in table.column("shop").to_pylist()]
    sales = pa.array([v * k for v, k in zip(table.column("sales").to_pylist(), sizes, strict=True)])
    pq.write_table(table.set_column(3, "sales", sales), tmp_path / "x.parquet")
    project = parse(
        {"name": "x", "task": "forecast", "data": {"source": "x.parquet", "columns": {"label": "sales"}}, "model": {"horizon": 6}}
    )
    state = fit_windows(prepare(project, tmp_path, ForecastTask(project, tmp_path), tmp_path / "data"))
    assert state.extra["windows"]["least"] < 0.1
