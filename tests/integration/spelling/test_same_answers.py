"""A value is one category however it is typed: in files, in training, in every protocol, in the log and in batches."""

from __future__ import annotations

import csv
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from components.batch_predict.logic import predict_files
from serving.runtime.errors import RequestError
from serving.runtime.logs.feedback import feedback_items
from serving.runtime.logs.parquet import prediction_table
from serving.runtime.logs.predictions import FRAME, encoded
from serving.runtime.models.model import Model
from serving.runtime.protocols import v1
from sluice.core.errors import InputError
from sluice.data.dataset import Dataset
from sluice.data.prepare import prepare, validate_project_data
from sluice.engines.predictor import Predictor
from sluice.fields import load_processor
from sluice.formats.export import export_graph
from sluice.learners.state import State
from sluice.learners.torch.learner import TorchTrained
from sluice.learners.torch.network import network_of
from sluice.package import package as packages
from sluice.package.package import Package
from sluice.project import parse
from sluice.tasks import Task, load_task
from tests.integration.spelling.asking import by_binary, by_v1, by_v2, everywhere

BIG = 2**53 + 1
HUGE = 2**70 + 1
#: As pandas writes them: booleans, whole numbers beside missing ones, codes, ids; and names that a graph keeps for itself.
ROWS: dict[str, list[Any]] = {
    "active": ["True", "False", "True", "", "False", "True"],
    "store": ["1.0", "2.0", "", "3.0", "1.0", "2.0"],
    "zip": ["01234", "98765", "00007", "01234", "98765", "00007"],
    "mixed": ["True", "yes", "1.0", "yes", "True", "1.0"],
    "user": [BIG, BIG + 2, HUGE, HUGE + 1, "", 5],
    "rate": ["0.1", "0.25", "2.0", "0.1", "0.25", ""],
    "value": [0.5, 1.5, -2.5, 0.25, 3.5, 1.25],
    "probabilities": ["a", "b", "a", "b", "a", "b"],
    "self": [1.5, 2.5, 3.5, 4.5, 5.5, 6.5],
    "zip__codes": [9.5, 8.5, 7.5, 6.5, 5.5, 4.5],
    "serving.model.mean": [9.5, 8.5, 7.5, 6.5, 5.5, 4.5],
    "label": ["1.0", "0.0", "1", "0", "1", "0.0"],
}
CATEGORIES = ["store", "zip", "user", "rate"]


def project(source: str, **data: Any) -> Any:
    return parse(
        {
            "name": "one",
            "task": "tabular",
            "model": {"hidden": [8]},
            "data": {"source": source, "columns": {"categorical": CATEGORIES}, "checks": {"rows_min": 10, "duplicates_max": 1}, **data},
        }
    )


def write_csv(path: Path, rows: dict[str, list[Any]], times: int = 20) -> None:
    with path.open("w", newline="") as f:
        out = csv.writer(f)
        out.writerow(rows)
        for turn in range(times):
            for row in zip(*rows.values(), strict=True):
                out.writerow([v + turn if isinstance(v, float) else v for v in row])


def packed(root: Path, source: str) -> tuple[Task, Dataset, Package]:
    """A package of a network with random weights: which category a value is shows in its answers as well as after training."""
    settings = project(source)
    task = load_task(settings, root)
    dataset = prepare(settings, root, task, root / "dataset")
    (root / "state").mkdir()
    net = network_of(task)
    net.fit(dataset).save(root / "state")
    state = State.load(root / "state")
    torch.manual_seed(3)
    network = net.build(state)
    for weights in network.parameters():
        torch.nn.init.normal_(weights, std=0.5)
    trained = TorchTrained(net, state, {}, lambda: network)
    processor = state.processor
    out = root / "package"
    out.mkdir()
    (out / "model.onnx").write_bytes(export_graph(trained, settings.export.opset))
    for name, data in processor.files().items():
        (out / name).write_bytes(data)
    return (
        task,
        dataset,
        packages.write(
            out,
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
        ),
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Task, Dataset, Package]:
    root = tmp_path_factory.mktemp("one")
    write_csv(root / "d.csv", ROWS)
    return packed(root, "d.csv")


@pytest.fixture(scope="module")
def model(made: tuple[Task, Dataset, Package]) -> Model:
    return Model(made[2], "one", 1, 1 << 30)


#: What a client may send for one category of a column, beside one that is another.
SAME = [
    ("active", [True, 1, 1.0, "1", "1.0", "True", "true", "TRUE"], "False"),
    ("active", [False, 0, 0.0, "0", "False", "false"], "True"),
    ("store", [1, 1.0, "1", "1.0", "1.00", True], "2"),
    ("store", [3, 3.0, "3", "3.0"], "1"),
    ("zip", ["01234", 1234, 1234.0], "98765"),
    ("zip", ["00007", 7], "01234"),
    ("mixed", ["True", True], "yes"),
    ("mixed", ["1.0", 1, 1.0], "True"),
    ("user", [BIG, str(BIG), f"{BIG}.0"], BIG + 2),
    ("user", [5, 5.0, "5"], BIG),
    ("rate", [0.1, "0.1", "0.10"], 0.25),
    ("rate", [2, 2.0, "2.0"], 0.1),
    ("probabilities", ["a"], "b"),
]


@pytest.mark.parametrize(("column", "values", "other"), SAME)
def test_the_answer_is_the_same_however_the_value_is_typed(model: Model, column: str, values: list[Any], other: Any) -> None:
    answers = everywhere(model, column, values)
    assert len(answers) >= 2 * len(values) and all(a == answers[0] for a in answers)
    assert by_v1(model, column, other) != answers[0] != by_v1(model, column, "never seen") and answers[0] != by_v1(model, column, None)


def test_whole_numbers_of_json_beyond_64_bits_keep_their_digits(model: Model) -> None:
    assert (
        by_v1(model, "user", HUGE)
        == by_v1(model, "user", str(HUGE))
        != by_v1(model, "user", HUGE + 1)
        == by_v1(model, "user", f"{HUGE + 1}.0")
    )
    assert by_v1(model, "user", HUGE + 2) == by_v1(model, "user", "never seen")


def test_names_are_no_numbers(model: Model) -> None:
    for column, text in (("zip", "1234"), ("zip", "7"), ("store", "001"), ("mixed", "true"), ("mixed", "1")):
        assert by_v1(model, column, text) == by_v1(model, column, "never seen")


@pytest.mark.parametrize("bad", [[1], {"a": 1}])
def test_what_is_no_category_is_refused_with_its_row(model: Model, bad: Any) -> None:
    with pytest.raises(InputError, match=r"rows\[0\]\.store: is not a category"):
        by_v1(model, "store", bad)
    with pytest.raises(InputError, match=r"rows\[0\]\.store: is infinite"):
        by_binary(model, "store", "FP32", np.array([np.inf], np.float32))


def test_every_column_counts_whatever_its_name(model: Model, made: tuple[Task, Dataset, Package]) -> None:
    shown = {t["name"]: t["datatype"] for t in model.metadata()["inputs"]}
    assert list(shown) == [n for n in ROWS if n != "label"] and shown["value"] == "FP32" and shown["probabilities"] == "BYTES"
    base = dict.fromkeys(("value", "self", "zip__codes", "serving.model.mean"), 1.0)
    answers = [Predictor(made[2]).predict([{**base, **change}])[0].tolist() for change in ({}, *({c: 3.0} for c in base))]
    assert len({str(a) for a in answers}) == 5
    for name in base:
        assert by_v2(model, name, "FP32", [3.0]) == by_binary(model, name, "FP32", np.array([3.0], np.float32)) == [by_v1(model, name, 3.0)]


def test_what_a_client_must_not_call_an_input_is_still_refused(model: Model) -> None:
    with pytest.raises(RequestError, match="value__column"):
        by_v2(model, "value__column", "FP32", [3.0])


def test_labels_are_one_class_a_number(made: tuple[Task, Dataset, Package], model: Model, tmp_path: Path) -> None:
    assert made[1].labels == ["0", "1"] == list(model.labels)
    for label in ("1", "1.0", 1, 1.0, True):
        assert feedback_items(model, json.dumps({"request_id": "a" * 8, "label": label}).encode(), None)[0]["label"] == "1"
    with pytest.raises(RequestError, match="is not a label of this model"):
        feedback_items(model, b'{"request_id": "aaaaaaaa", "label": 2}', None)


def test_files_of_one_glob_and_declared_labels_agree(tmp_path: Path) -> None:
    columns = {
        "active": ["True", "False"],
        "store": ["1", "2"],
        "zip": ["01234", "98765"],
        "user": ["1", "2"],
        "rate": ["1", "0.5"],
        "x": [0.5, 1.25],
        "label": ["1", "0"],
    }
    write_csv(tmp_path / "a.csv", columns, 40)
    write_csv(tmp_path / "b.csv", {**columns, "active": ["true", "1.0"], "store": ["1.0", ""], "label": ["1.0", "0.0"]}, 40)
    write_csv(tmp_path / "c.csv", {**columns, "label": ["1.0", ""]}, 4)
    settings = project(
        "*.csv", checks={"rows_min": 10, "duplicates_max": 1, "conflicts_max": 1, "nulls_max": 0.5, "labels": ["0.0", "1.0"]}
    )
    task = load_task(settings, tmp_path)
    report = validate_project_data(settings, tmp_path, task)
    assert not [c for c in report.checks if c.status == "refuse"] and not [
        c for c in report.checks if c.name in ("spelling", "label_set") and c.status != "pass"
    ]
    made = prepare(settings, tmp_path, task, tmp_path / "dataset")
    assert made.labels == ["0", "1"]
    rows = made.read("train")
    assert set(rows.column("active").to_pylist()) == {"true", "false"} and set(rows.column("store").to_pylist()) == {"1", "2", None}


TYPED: dict[str, pa.Array] = {
    "active": pa.array([True, False, True, None, False, True]),
    "store": pa.array([1, 2, None, 3, 1, 2], pa.int16()),
    "zip": pa.array([1234, 98765, 7, 1234, 98765, 7], pa.int32()),
    "mixed": pa.array(ROWS["mixed"]),
    "user": pa.array([Decimal(v) if v else None for v in ROWS["user"]], pa.decimal128(38, 2)),
    "rate": pa.array([0.1, 0.25, 2.0, 0.1, 0.25, None], pa.float32()),
    "value": pa.array(ROWS["value"]),
    "probabilities": pa.array(ROWS["probabilities"]).dictionary_encode(),
    "self": pa.array(ROWS["self"]),
    "zip__codes": pa.array(ROWS["zip__codes"]),
    "serving.model.mean": pa.array([Decimal(str(v)) for v in ROWS["serving.model.mean"]]),
}


def test_a_batch_of_typed_columns_is_predicted_as_the_texts_of_the_csv(made: tuple[Task, Dataset, Package], tmp_path: Path) -> None:
    names = list(TYPED)
    pq.write_table(pa.table(TYPED), tmp_path / "typed.parquet")
    numeric = {"value", "self", "zip__codes", "serving.model.mean"}
    texts = pa.table({n: pa.array(ROWS[n]) if n in numeric else pa.array([str(v) or None for v in ROWS[n]]) for n in names})
    pq.write_table(texts, tmp_path / "texts.parquet")
    predict_files(made[2], [tmp_path / "typed.parquet"], tmp_path / "a")
    predict_files(made[2], [tmp_path / "texts.parquet"], tmp_path / "b")
    found = [pq.read_table(tmp_path / side / "part-00000.parquet").column("probabilities").to_pylist() for side in "ab"]
    assert found[0] == found[1] and len({str(r) for r in found[0]}) == 6


def test_typed_held_out_rows_are_the_training_rows_categories(tmp_path: Path) -> None:
    write_csv(tmp_path / "d.csv", ROWS)
    pq.write_table(pa.table({**TYPED, "label": pa.array([1.0, 0.0, 1.0, 0.0, 1.0, 0.0])}), tmp_path / "t.parquet")
    settings = project("d.csv", test="t.parquet")
    made = prepare(settings, tmp_path, load_task(settings, tmp_path), tmp_path / "dataset")
    seen = made.read("test")
    for name in ("active", "store", "zip", "mixed", "user", "rate", "label"):
        assert set(seen.column(name).to_pylist()) == set(made.read("train").column(name).to_pylist()) | set(
            made.read("validation").column(name).to_pylist()
        )


def test_the_log_keeps_what_the_model_read(model: Model) -> None:
    rows = [
        {"active": 1.0, "store": True, "zip": 1234, "user": BIG, "rate": "0.10", "value": 2},
        {"active": "FALSE", "store": " ", "rate": None, "value": None},
    ]
    units, _, raw = v1.parse(model, json.dumps({"instances": rows}).encode(), 64, 100)
    outputs = model.run(units[0].tensors)
    frame = encoded(
        {
            "what": "prediction",
            "kind": "tabular",
            "labels": list(model.labels),
            "columns": [{"name": c["name"], "type": c["type"]} for c in model.package.preprocess["columns"]],
        },
        (raw, outputs["probabilities"], outputs["probabilities"].argmax(1), model.labels, model.processor.plain),
    )
    record = json.loads(frame[FRAME.size :])
    found = [f["features"] for f in prediction_table([(record, b"")]).to_pylist()]
    assert {k: found[0][k] for k in rows[0]} == {
        "active": "true",
        "store": "1",
        "zip": "01234",
        "user": str(BIG),
        "rate": "0.1",
        "value": 2.0,
    }
    assert {k: found[1][k] for k in rows[1]} == {"active": "false", "store": None, "rate": None, "value": None}


# -- one null does not switch the checks off

MISSING: list[tuple[str, str, list[Any], list[Any]]] = [
    ("user", "INT64", [BIG, None], [BIG]),
    ("active", "BOOL", [True, None], [True]),
    ("store", "BYTES", ["1", None], ["1"]),
    ("value", "FP32", [1.5, None], [1.5]),
    ("value", "INT8", [99, None], [99]),
    ("store", "FP64", [None, 2.0], [2.0]),
]


@pytest.mark.parametrize(("column", "datatype", "data", "there"), MISSING)
def test_null_is_missing_and_the_rest_is_what_it_is_without(
    model: Model, column: str, datatype: str, data: list[Any], there: list[Any]
) -> None:
    flat = by_v2(model, column, datatype, data)
    assert flat == by_v2(model, column, datatype, [[v] for v in data], [2, 1]) == by_v2(model, column, datatype, [[v] for v in data], [2])
    missing = data.index(None)
    assert flat[1 - missing] == by_v2(model, column, datatype, there * 2)[1 - missing] != pytest.approx(flat[missing], abs=1e-6)
    assert flat[missing] == pytest.approx(by_v1(model, column, None), abs=1e-6)  # runs of one row and of two round otherwise
    assert by_v2(model, column, datatype, [None]) == [by_v1(model, column, None)]


@pytest.mark.parametrize(
    ("datatype", "data"),
    [
        ("INT8", [999, None]),
        ("INT64", [1.5, None]),
        ("FP32", ["12", None]),
        ("INT64", ["1", None]),
        ("BYTES", [1, None]),
        ("BOOL", [1, None]),
        ("FP32", [1e39, None]),
        ("FP32", [[1.0], None]),
        ("FP32", [[1.0, None], [1.0]]),
        ("INT64", [2**64, None]),
        ("FP32", [True, None]),
    ],
)
@pytest.mark.parametrize("nested", [False, True])
def test_a_null_lets_nothing_else_through(model: Model, datatype: str, data: list[Any], nested: bool) -> None:
    column = "store" if datatype == "BYTES" else "value"
    with pytest.raises(RequestError):
        by_v2(model, column, datatype, [[v] for v in data] if nested else data, [2, 1] if nested else [2])


def test_packages_of_before_are_read_as_they_were() -> None:
    old = load_processor({"kind": "tabular", "columns": [{"name": "f", "type": "categorical"}]}, {})
    found = [old.encode_batch([{"f": v}])["f"].item() for v in ("True", True, "1.0", 1, 1.0, "007", None, "")]
    assert found == ["True", "true", "1.0", "1", "1", "007", "", ""] and "spelling" not in old.spec()["columns"][0]
