"""A kind of field that another distribution brings goes from the source to a package's answers, its log and its drift."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from serving.runtime.logs.parquet import prediction_table
from serving.runtime.logs.predictions import FRAME, encoded
from serving.runtime.models.model import Model
from serving.runtime.protocols import v1, v2
from sluice.core.errors import DataError, InputError, PackageError, ProjectError
from sluice.data.prepare import prepare, validate_project_data
from sluice.data.profile import profile_counts
from sluice.engines.predictor import Predictor
from sluice.engines.rows import rows_from_arrow, tensors_from_arrow
from sluice.fields import load_processor
from sluice.formats.export import export_graph
from sluice.gates.features import blocks_of
from sluice.learners.torch.learner import TorchTrained
from sluice.learners.torch.network import network_of
from sluice.package import package as packages
from sluice.project import parse
from sluice.tasks import load_task
from sluice.tracking.card import schema

HERE = Path(__file__).parent
ROWS = 300
PROJECT = {
    "name": "paints",
    "task": "tabular",
    "model": {"hidden": [8]},
    "data": {"source": "paints.csv", "columns": {"kinds": {"tint": "colour"}}},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Paints: a tint and a size; the label follows from how red the tint is."""
    chance = np.random.default_rng(1)
    tints = chance.integers(0, 256, (ROWS, 3))
    lines = [
        f"{'' if i % 20 == 3 else f'#{t[0]:02x}{t[1]:02x}{t[2]:02x}'},{chance.random():.3f},{'warm' if t[0] > 127 else 'cold'}"
        for i, t in enumerate(tints.tolist())
    ]
    (tmp_path / "paints.csv").write_text("\n".join(["tint,size,label", *lines]) + "\n")
    return tmp_path


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one file, and an entry point, as pip installs them."""
    site = tmp_path / "site"
    info = site / "colour_field-1.0.dist-info"
    info.mkdir(parents=True)
    shutil.copy(HERE / "field_colour.py", site)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: colour-field\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[sluice.fields]\ncolour = field_colour:Colour\n")
    monkeypatch.syspath_prepend(site)


def packaged(folder: Path) -> tuple[Any, Any, Any]:
    """(dataset, trained model, package) of the project there; chance weights are enough."""
    settings = parse(PROJECT, base_dir=folder)
    task = load_task(settings, folder)
    dataset = prepare(settings, folder, task, folder / "dataset")
    net = network_of(task)
    state = net.fit(dataset)
    torch.manual_seed(3)
    model = net.build(state)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn(p.shape) * 0.3)
    trained = TorchTrained(net, state, {}, lambda: model)
    out = folder / "package"
    out.mkdir()
    (out / "model.onnx").write_bytes(export_graph(trained, settings.export.opset))
    for name, data in state.files.items():
        (out / name).write_bytes(data)
    package = packages.write(
        out,
        name="paints",
        task="tabular",
        objective="classification",
        inputs=list(state.processor.inputs),
        outputs=[state.output],
        labels=state.labels,
        preprocess=state.preprocess,
        precision="fp32",
        metrics={},
        provenance={},
    )
    return dataset, trained, package


@pytest.mark.usefixtures("installed")
def test_from_the_source_to_the_answers_of_a_package_its_log_and_its_drift(folder: Path) -> None:
    settings = parse(PROJECT, base_dir=folder)
    report = validate_project_data(settings, folder, load_task(settings, folder))
    assert report.decision == "pass", report.reasons
    assert [(c["name"], c["type"], c["nulls"]) for c in report.columns] == [
        ("tint", "colour", 15),
        ("size", "numeric", 0),
        ("label", "categorical", 0),
    ]

    dataset, trained, package = packaged(folder)
    assert dataset.columns == {"tint": "colour", "size": "numeric"}
    assert [t.name for t in package.inputs] == ["tint.red", "tint.green", "tint.blue", "size"]

    table = dataset.read("test")
    rows = rows_from_arrow(package.preprocess, table)
    answers = Predictor(package).predict(rows)
    assert np.abs(answers - trained.run(tensors_from_arrow(trained.processor, table))).max() < 1e-5 and answers.std() > 1e-3

    model = Model(package, "paints", 1, 1 << 30)
    row = next(r for r in rows if r["tint"] is not None)
    expected = Predictor(package).predict([row])[0]
    tensors = [("tint", "BYTES", row["tint"]), ("size", "FP32", row["size"])]
    asked = {"inputs": [{"name": name, "datatype": datatype, "shape": [1], "data": [value]} for name, datatype, value in tensors]}
    units = [
        *v1.parse(model, json.dumps({"instances": [row]}).encode(), 64, 100)[0],
        *v2.parse(model, json.dumps(asked).encode(), None, 64, 100).units,
    ]
    for unit in units:
        np.testing.assert_allclose(model.run(unit.tensors)["probabilities"][0], expected, atol=1e-5)
    with pytest.raises(InputError, match="is no colour") as e:
        Predictor(package).predict([{"tint": "red"}])
    assert e.value.field == "rows[0].tint"

    assert model.records is not None
    head = {
        "what": "prediction",
        "kind": model.kind,
        "labels": list(model.labels),
        "columns": [{"name": c.name, "type": c.type} for c in model.records.columns],
    }
    frame = encoded(head, ([row, {}], np.array([[0.9, 0.1]] * 2), np.array([0, 0]), model.labels, model.records.plain))
    logged = prediction_table([(json.loads(frame[FRAME.size :]), b"")]).to_pylist()
    assert [line["features"] for line in logged] == [
        {"tint": row["tint"], "size": pytest.approx(row["size"])},
        {"tint": None, "size": None},
    ]

    profile = dataset.profile()
    counted = profile_counts(profile, [{"tint": "#ffffff"}, {"tint": "#000000"}, {"tint": "none"}])["features"]["tint"]["light"]
    assert (
        sum(counted) == 3
        and counted[-1] == 1
        and counted[0] == 1
        and len(counted) == len(profile["features"]["tint"]["parts"]["light"]["counts"])
    )
    assert sum(b.fit(table).shape[1] for b in blocks_of(dataset.columns, trained.processor)) >= 4
    assert schema(dataset.columns)[0] == {"type": "string", "name": "tint", "required": False}


@pytest.mark.usefixtures("installed")
def test_a_cell_that_is_none_is_named_with_its_row(folder: Path) -> None:
    where = folder / "paints.csv"
    where.write_text(where.read_text().replace("\n#", "\nred #", 1))
    settings = parse(PROJECT, base_dir=folder)
    with pytest.raises(DataError, match="is no colour") as e:
        validate_project_data(settings, folder, load_task(settings, folder))
    assert e.value.field == "column tint, row 1"


def test_where_it_is_not_installed_the_project_and_the_package_say_so(folder: Path) -> None:
    with pytest.raises(ProjectError, match="'colour' is no installed kind of column; there are numeric, categorical, timestamp"):
        parse(PROJECT, base_dir=folder)
    with pytest.raises(PackageError, match="must be numeric, categorical, timestamp"):
        load_processor({"kind": "tabular", "columns": [{"name": "tint", "type": "colour"}]}, {})


def test_it_is_one_file_of_eighty_lines_at_most() -> None:
    assert len((HERE / "field_colour.py").read_text().splitlines()) <= 80
