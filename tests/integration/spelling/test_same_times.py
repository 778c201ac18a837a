"""A time is one time however it is spelled: training, evaluation, batches, every protocol and the log give one answer."""

from __future__ import annotations

import csv
import datetime
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from components.batch_predict.logic import predict_files
from serving.runtime.logs.parquet import prediction_table
from serving.runtime.logs.predictions import FRAME, encoded
from serving.runtime.models.model import Model
from serving.runtime.protocols import v1
from sluice.core.errors import InputError
from sluice.data.prepare import prepare
from sluice.engines.predictor import Predictor
from sluice.engines.rows import rows_from_arrow, tensors_from_arrow
from sluice.fields import TabularProcessor
from sluice.formats.export import export_graph
from sluice.gates.features import blocks_of
from sluice.learners.torch.learner import TorchTrained
from sluice.learners.torch.network import network_of
from sluice.package import package as packages
from sluice.project import parse
from sluice.tasks import load_task
from tests.integration.spelling.asking import by_binary, by_grpc, by_v1, by_v2

N = 400
MOMENTS = [datetime.datetime(2023, 1, 1) + datetime.timedelta(minutes=1753 * i) for i in range(N)]
START = 1_700_000_000
#: In Berlin's summer, two hours before UTC.
WHEN = datetime.datetime(2023, 7, 4, 18, 30)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Three columns of times, as a local text, a number since 1970 and a text with a zone; and a number of which 32 bits know too little."""
    root = tmp_path_factory.mktemp("times")
    with (root / "d.csv").open("w", newline="") as f:
        out = csv.writer(f)
        out.writerow(["local", "sent_at", "utc", "counter", "label"])
        for i, m in enumerate(MOMENTS):
            seconds = int(m.replace(tzinfo=datetime.UTC).timestamp())
            out.writerow(
                [
                    m.strftime("%d/%m/%Y %H:%M"),
                    seconds,
                    m.isoformat() + "Z" if i % 9 else "",
                    START + 60 * i,
                    "late" if m.hour > 12 else "early",
                ]
            )
    settings = parse(
        {"name": "one", "task": "tabular", "model": {"hidden": [8]}, "data": {"source": "d.csv", "columns": {"time_zone": "Europe/Berlin"}}}
    )
    task = load_task(settings, root)
    dataset = prepare(settings, root, task, root / "dataset")
    assert dataset.columns == {"local": "timestamp", "sent_at": "timestamp", "utc": "timestamp", "counter": "numeric"}
    net = network_of(task)
    state = net.fit(dataset)
    torch.manual_seed(3)
    model = net.build(state)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn(p.shape) * 0.2)
    out_dir = root / "package"
    out_dir.mkdir()
    processor = state.processor
    trained = TorchTrained(net, state, {}, lambda: model)
    (out_dir / "model.onnx").write_bytes(export_graph(trained, settings.export.opset))
    package = packages.write(
        out_dir,
        name="one",
        task="tabular",
        objective="classification",
        inputs=list(processor.inputs),
        outputs=[state.output],
        labels=state.labels,
        preprocess=state.preprocess,
        precision="fp32",
        metrics={},
        provenance={},
    )
    return task, state, trained, dataset, package


@pytest.fixture(scope="module")
def model(made: Any) -> Model:
    return Model(made[4], "one", 1, 1 << 30)


def test_the_package_answers_as_the_trained_model_for_every_split(made: Any) -> None:
    _, _, trained, dataset, package = made
    for split in ("train", "test"):
        table = dataset.read(split)
        own = trained.run(tensors_from_arrow(trained.processor, table))
        answers = Predictor(package).predict(rows_from_arrow(package.preprocess, table))
        assert np.abs(answers - own).max() < 1e-5 and answers.std() > 1e-3


def test_raw_rows_of_the_source_give_what_training_saw(made: Any) -> None:
    _, _, _, dataset, package = made
    table = dataset.read("test")
    processor = TabularProcessor.load(package.preprocess, lambda name: (package.root / name).read_bytes())
    trained = tensors_from_arrow(processor, table)
    with (dataset.root.parent / "d.csv").open() as f:
        rows = {r["local"]: {**r, "counter": float(r["counter"])} for r in csv.DictReader(f)}
    raw = [{k: v for k, v in rows[m.strftime("%d/%m/%Y %H:%M")].items() if k != "label"} for m in table.column("local").to_pylist()]
    got = processor.encode_batch(raw)
    for name, array in trained.items():
        assert (got[name] == array).all() or np.array_equal(got[name], array, equal_nan=True), name


UTC = WHEN - datetime.timedelta(hours=2)
EPOCH = int(UTC.replace(tzinfo=datetime.UTC).timestamp())


@pytest.mark.parametrize("column", ["local", "sent_at", "utc"])
def test_the_answer_is_the_same_however_the_time_is_spelled(model: Model, column: str) -> None:
    texts = [
        "2023-07-04T18:30:00",
        "2023-07-04 18:30",
        "2023-07-04T16:30:00Z",
        "2023-07-04T18:30+02:00",
        "20230704T163000Z",
        *(["04/07/2023 18:30"] if column == "local" else []),
    ]
    numbers = [EPOCH, EPOCH * 1000] if column != "sent_at" else [EPOCH]
    answers = [by_v1(model, column, v) for v in (*texts, *numbers, float(EPOCH))]
    for text in texts:
        array = np.array([text], dtype=object)
        answers += (
            by_v2(model, column, "BYTES", [text])
            + by_binary(model, column, "BYTES", array)
            + by_grpc(model, column, "BYTES", array, raw=True)
        )
    for number in numbers:
        for kind in ("INT64", "UINT64", "FP64"):
            array = np.array([number], {"INT64": np.int64, "UINT64": np.uint64, "FP64": np.float64}[kind])
            answers += (
                by_v2(model, column, kind, array.tolist())
                + by_binary(model, column, kind, array)
                + by_grpc(model, column, kind, array, raw=False)
            )
    assert all(a == answers[0] for a in answers) and len(answers) > 25
    assert by_v1(model, column, "2023-07-04T06:30:00") != answers[0] != by_v1(model, column, None)
    nothing = [by_v1(model, column, v) for v in (None, "", "NaT")] + by_v2(model, column, "BYTES", [None])
    assert all(a == nothing[0] for a in nothing)


@pytest.mark.parametrize("value", ["31.12.2023", "2023-02-30", True, 17, [2023], "soon"])
def test_what_is_no_time_is_refused_with_field_and_value(model: Model, value: Any) -> None:
    with pytest.raises(InputError, match=r"rows\[0\]\.local: is not a time \(got") as e:
        by_v1(model, "local", value)
    assert "%d/%m/%Y" in str(e.value.fix)


def test_metadata_says_what_clients_send(model: Model) -> None:
    assert {t["name"]: (t["datatype"], t["shape"]) for t in model.metadata()["inputs"]} == {
        "local": ("BYTES", [-1, 1]),
        "sent_at": ("BYTES", [-1, 1]),
        "utc": ("BYTES", [-1, 1]),
        "counter": ("FP64", [-1, 1]),
    }


def test_numbers_of_ten_digits_are_told_apart(model: Model) -> None:
    assert len({str(by_v1(model, "counter", START + 60 * i)) for i in range(20)}) == 20  # in 32 bits neighbours are 128 apart
    assert (
        by_v2(model, "counter", "FP64", [START + 60.0])
        == by_v2(model, "counter", "INT64", [START + 60])
        == [by_v1(model, "counter", START + 60)]
    )


def test_batches_of_any_type_of_column_are_answered_alike(made: Any, tmp_path: Path) -> None:
    rows = {"local": ["04/07/2023 18:30", None], "sent_at": [EPOCH, None], "utc": ["2023-07-04T16:30:00Z", None], "counter": [1.7e9, 1.7e9]}
    naive, aware = pa.array([WHEN, None], pa.timestamp("ns")), pa.array([UTC, None], pa.timestamp("ms", "UTC"))
    pq.write_table(pa.table(rows), tmp_path / "texts.parquet")
    pq.write_table(
        pa.table({"local": naive, "sent_at": aware, "utc": aware, "counter": pa.array([1_700_000_000] * 2)}), tmp_path / "typed.parquet"
    )
    predict_files(made[4], [tmp_path / "texts.parquet"], tmp_path / "a")
    predict_files(made[4], [tmp_path / "typed.parquet"], tmp_path / "b")
    found = [pq.read_table(tmp_path / side / "part-00000.parquet").column("probabilities").to_pylist() for side in "ab"]
    assert found[0] == found[1] and found[0][0] != found[0][1]


def test_the_log_keeps_the_time_the_model_read(model: Model) -> None:
    rows = [{"local": "04/07/2023 18:30", "sent_at": EPOCH, "utc": "2023-07-04T16:30:00.5Z", "counter": EPOCH}, {"local": None}]
    units, _, raw = v1.parse(model, json.dumps({"instances": rows}).encode(), 64, 100)
    outputs = model.run(units[0].tensors)
    assert isinstance(model.processor, TabularProcessor)
    frame = encoded(
        {
            "what": "prediction",
            "kind": "tabular",
            "labels": list(model.labels),
            "columns": [{"name": c["name"], "type": c["type"]} for c in model.package.preprocess["columns"]],
        },
        (raw, outputs["probabilities"], outputs["probabilities"].argmax(1), model.labels, model.processor.plain),
    )
    found = [f["features"] for f in prediction_table([(json.loads(frame[FRAME.size :]), b"")]).to_pylist()]
    assert found[0] == {
        "local": "2023-07-04T18:30:00",
        "sent_at": "2023-07-04T18:30:00",
        "utc": "2023-07-04T18:30:00.500000",
        "counter": float(EPOCH),
    }
    assert set(found[1].values()) == {None}


def test_the_floor_reads_hours_and_weekdays_too(made: Any) -> None:
    _, state, _, dataset, _ = made
    table = dataset.read("train")
    blocks = blocks_of(dataset.columns, state.processor)
    wide = [b.fit(table) for b in blocks]
    assert sum(w.shape[1] for w in wide) > 3 * (24 + 7)
    assert [b.transform(dataset.read("test")).shape[1] for b in blocks] == [w.shape[1] for w in wide]
