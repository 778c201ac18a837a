"""Boosted trees over lags: their features, their graph, what they find."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sluice.core.errors import ProjectError, SluiceError
from sluice.data.dataset import Dataset
from sluice.data.prepare import prepare
from sluice.engines.onnxruntime import OnnxRuntime
from sluice.engines.rows import tensors_from_arrow
from sluice.formats.export import export_graph
from sluice.learners.fit import fit
from sluice.learners.forecasts.features import features_graph
from sluice.project import parse
from sluice.tasks import load_task
from tests.unit.forecasts.conftest import long_table

if TYPE_CHECKING:
    from sluice.learners.forecasts.trained import TreesTrained


def project(**model: Any) -> Any:
    model = {"horizon": 6, "known": ["price"], "method": "boosted", "trees": 60, "leaves": 7, **model}
    return parse({"name": "x", "task": "forecast", "data": {"source": "x.parquet", "columns": {"label": "sales"}}, "model": model})


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> tuple[TreesTrained, Dataset, Path]:
    root = tmp_path_factory.mktemp("trees")
    table = long_table(6, 60)
    visitors = [float(i % 7) if i % 5 else None for i in range(table.num_rows)]
    pq.write_table(table.append_column("visitors", pa.array(visitors)), root / "x.parquet")
    asked = project()
    dataset = prepare(asked, root, load_task(asked, root), root / "data")
    return fit(asked, dataset, root / "model"), dataset, root  # type: ignore[return-value]


def test_the_graph_answers_as_the_trees_do(grown: tuple[TreesTrained, Dataset, Path]) -> None:
    trained, dataset, _ = grown
    inputs = tensors_from_arrow(trained.processor, dataset.read("test"))
    own = trained.run(inputs)
    found = next(iter(OnnxRuntime.open(export_graph(trained, 20)).run(inputs).values()))
    assert own.shape == found.shape == (dataset.rows("test"), 6, 3)
    np.testing.assert_allclose(found, own, rtol=1e-5)
    assert (np.diff(found, axis=2) >= 0).all() and (found >= 0).all()


def test_it_beats_the_seasonal_naive_forecast_by_what_is_known_ahead(grown: tuple[TreesTrained, Dataset, Path]) -> None:
    trained, dataset, _ = grown
    asked, labels = dataset.problem, trained.state.labels
    test = dataset.read("test")
    targets = asked.targets(test.column("label"), labels)
    mase = asked.metrics()["mase"]
    ours = asked.answers(trained.run(tensors_from_arrow(trained.processor, test)), targets, labels)
    naive = asked.answers(asked.trivial(dataset, labels, "mase", None)[1], targets, labels)
    assert mase.value(ours) < 0.8 * mase.value(naive)
    assert trained.metrics["mase"] > 0 and "boosted trees over lags" in trained.text


def test_it_is_read_back_as_it_was_and_as_nothing_else(grown: tuple[TreesTrained, Dataset, Path]) -> None:
    trained, dataset, root = grown
    inputs = tensors_from_arrow(trained.processor, dataset.read("test"))
    again = load_task(project(), root).learner().load(root / "model")
    np.testing.assert_array_equal(again.run(inputs), trained.run(inputs))
    (root / "model" / "stretch.json").rename(root / "gone.json")
    with pytest.raises(ProjectError, match="does not build this model") as e:
        load_task(project(), root).learner().load(root / "model")
    (root / "gone.json").rename(root / "model" / "stretch.json")
    assert e.value.field == "model.method"


def test_equal_data_and_seed_grow_equal_trees(grown: tuple[TreesTrained, Dataset, Path], tmp_path: Path) -> None:
    _, dataset, root = grown
    fit(project(), dataset, tmp_path / "again")
    files = [f.relative_to(tmp_path / "again") for f in (tmp_path / "again").rglob("*") if f.is_file() and f.name != "training.json"]
    assert len(files) >= 5 and all((tmp_path / "again" / f).read_bytes() == (root / "model" / f).read_bytes() for f in files)


def test_what_the_trees_are_told(grown: tuple[TreesTrained, Dataset, Path]) -> None:
    trained, _, _ = grown
    graph, names = features_graph(trained.state, 20)
    row = {"shop": "shop 1", "month": "2018-12", "history": [*range(100, 122), None, 123.0], "price": [*[1.0] * 24, *[2.0] * 6]}
    found = OnnxRuntime.open(graph.SerializeToString()).run(trained.processor.encode_batch([row]))
    told = dict(zip(names, found["features"][0].T, strict=True))
    spread, level, base = found["spread"][0, 0], found["level"][0, 0], found["base"][0]
    np.testing.assert_allclose(base * spread + level, [112, 113, 114, 115, 116, 117], rtol=1e-4)
    np.testing.assert_allclose(told["lag 1"], 0, atol=1e-5)
    np.testing.assert_allclose(told["lag 2"] * spread, -12, rtol=1e-4)
    np.testing.assert_allclose((told["newest 1"] + base) * spread + level, 123, rtol=1e-4)
    assert np.isnan(told["newest 2"]).all() and (told["known"] == 23).all() and (told["step"] == [1, 2, 3, 4, 5, 6]).all()
    assert (told["price"] == 2).all() and (told["price, change"] == 1).all() and np.isnan(told["visitors, mean"]).all()


def test_settings_of_another_learner_are_refused() -> None:
    with pytest.raises(SluiceError, match="epochs"):
        parse({"name": "x", "task": "forecast", "data": {"source": "x.csv"}, "model": {"method": "boosted"}, "train": {"epochs": 3}})


def test_auto_keeps_the_better_of_both_and_says_so(grown: tuple[TreesTrained, Dataset, Path], tmp_path: Path) -> None:
    _, dataset, root = grown
    raw = project(method="auto").model_dump(mode="json", exclude_unset=True)
    asked = parse({**raw, "train": {"epochs": 1, "seed": 17}})
    told: list[str] = []
    found = fit(asked, dataset, tmp_path / "model", on_event=lambda e: told.append(e.get("text", "")))
    tried = found.record["tried"]
    assert set(tried) == {"network", "boosted"} and found.record["kept"] == min(tried, key=tried.__getitem__)
    assert any(t.startswith(f"kept: {found.record['kept']} (pinball loss") for t in told)
    again = load_task(asked, root).learner().load(tmp_path / "model")
    inputs = tensors_from_arrow(found.processor, dataset.read("test"))
    np.testing.assert_array_equal(again.run(inputs), found.run(inputs))
    assert not list(tmp_path.glob(".partial*"))
