"""`sluice predict` on a long table: each series from its end."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest

from sluice.core import files
from sluice.core.errors import DataError
from sluice.data.dataset import Dataset
from sluice.data.scheme import Found
from sluice.learners.state import State
from sluice.learners.torch.graph import network_graph
from sluice.package.package import Package, write
from sluice.prediction.files import predict_file
from tests.unit.forecasts.conftest import long_table


@pytest.fixture(scope="module")
def package(fitted: tuple[Any, State, Any, Dataset], tmp_path_factory: pytest.TempPathFactory) -> Package:
    """Such a network as a package."""
    network, state, net, _ = fitted
    root = tmp_path_factory.mktemp("package") / "p"
    root.mkdir()
    graph = network_graph(network, state, network.serving_module(net, state), 20)
    (root / "model.onnx").write_bytes(graph.SerializeToString())
    for name, data in state.files.items():
        (root / name).write_bytes(data)
    files.write_json(root / "reading.json", {"columns": {"label": "sales"}})
    return write(
        root,
        name="sales",
        task="forecast",
        objective="series_forecast",
        inputs=list(state.processor.inputs),
        outputs=[state.output],
        labels=state.labels,
        preprocess=state.preprocess,
        precision="fp32",
        metrics={"mase": 0.9},
        provenance={"seed": 1},
    )


def rows(ahead: int = 6, series: int = 4) -> list[dict[str, Any]]:
    """The table the network was fitted to, with rows for the times to come."""
    found = long_table(series, 60).to_pylist()
    for i, row in enumerate(found):
        row["visitors"] = float(i % 7)
    for s in range(series):
        for h in range(ahead):
            found.append({"shop": f"shop {s}", "month": str(np.datetime64("2020-01") + h), "price": 1.0, "sales": None, "visitors": None})
    return found


def written(path: Path, table: list[dict[str, Any]]) -> Found:
    pyarrow.csv.write_csv(pa.Table.from_pylist(table), path)
    return Found(path, path.name)


def test_each_series_is_forecast_from_its_end(package: Package, tmp_path: Path) -> None:
    done = predict_file(package, written(tmp_path / "x.csv", rows()), tmp_path / "y.csv")
    made = list(csv.DictReader((tmp_path / "y.csv").open()))
    assert (done.rows, done.columns, len(made)) == (24, ["0.1", "0.5", "0.9"], 24)
    assert [r["month"] for r in made[:6]] == [f"2020-0{m}-01" for m in range(1, 7)]
    assert all(float(r["0.1"]) <= float(r["0.5"]) <= float(r["0.9"]) for r in made)


def test_what_is_known_of_the_times_to_come_is_needed(package: Package, tmp_path: Path) -> None:
    table = [r for r in rows() if not (r["shop"] == "shop 2" and r["sales"] is None)]
    file = written(tmp_path / "x.csv", table)
    with pytest.raises(DataError, match="has no rows for the 6 times after its last value, which tell 'price'") as e:
        predict_file(package, file, tmp_path / "y.csv")
    assert e.value.field == "x.csv: series 'shop 2'" and not (tmp_path / "y.csv").exists()
    done = predict_file(package, file, tmp_path / "y.csv", on_error="skip")
    assert done.rows == 18 and "shop 2" in done.skipped_rows[0]


def test_a_column_that_is_not_there_is_named(package: Package, tmp_path: Path) -> None:
    table = [{k: v for k, v in r.items() if k != "price"} for r in rows()]
    with pytest.raises(DataError, match="has no such column, which the model was trained on") as e:
        predict_file(package, written(tmp_path / "x.csv", table), tmp_path / "y.csv")
    assert e.value.value == "price"
