"""Generation as a problem: pictures are told, judged as sets, and a collapse is said."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from sluice.core.errors import DataError
from sluice.data.dataset import Dataset, write_dataset
from sluice.data.digests import row_ids
from sluice.fields.exemplar import column_of
from sluice.gates.config import EvaluateConfig
from sluice.problems.comparison import compare
from sluice.problems.evaluator import evaluate
from sluice.problems.generation.plates import plate
from sluice.problems.generation.problem import Generation, featured, shape_of
from sluice.problems.problem import problem

ASKED = problem("synthesis")
CONFIG = EvaluateConfig()


def lines(rows: int, seed: int) -> np.ndarray:
    """Pictures of a line each, uint8 [rows, 6, 5, 1]: across or down, bright or dim, on noise."""
    rng = np.random.default_rng(seed)
    out = rng.integers(0, 40, (rows, 6, 5, 1))
    for picture in out:
        at, bright = rng.integers(5), rng.integers(120, 215)
        line = picture[at] if rng.random() < 0.5 else picture[:, at]
        line += bright
    return out.astype(np.uint8)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    splits = {}
    for at, (name, rows) in enumerate({"train": 300, "validation": 20, "test": 150}.items()):
        table = pa.table({"seed": pa.array(np.arange(rows) + 1000 * at), "label": column_of(list(lines(rows, at)))})
        splits[name] = table.add_column(0, "row_id", row_ids(table, ["seed"]))
    labels = ASKED.labels(splits["train"].column("label"))
    root = tmp_path_factory.mktemp("lines") / "dataset"
    source = {"uri": "lines", "digest": "0", "rows": 470}
    how = {"task": "generate", "objective": ASKED.name, "columns": {"seed": "seed"}, "shard_rows": 1000}
    return write_dataset(root, splits, labels=labels, source=source, **how)


def judged(dataset: Dataset, made: np.ndarray) -> dict[str, object]:
    outputs, targets = ASKED.judged(lambda rows: made, lambda split: made, dataset, "test", dataset.labels)
    return evaluate(outputs, targets, dataset.labels, CONFIG, asked=ASKED)


def real(rows: int, seed: int) -> np.ndarray:
    return lines(rows, seed).reshape(rows, -1) / 255


def test_labels_name_the_numbers_and_give_the_shape(dataset: Dataset) -> None:
    assert dataset.labels[:3] == ["0_0_0", "0_1_0", "0_2_0"]
    assert shape_of(dataset.labels) == (6, 5, 1)
    assert ASKED.width(dataset.labels) == (30,)
    assert "5x6 pixels" in ASKED.described(dataset.labels)


def test_targets_are_the_pixels(dataset: Dataset) -> None:
    assert np.array_equal(ASKED.targets(dataset.read("test", ["label"]).column("label"), dataset.labels), real(150, 2))


def test_a_client_is_told_a_picture(dataset: Dataset) -> None:
    outputs = np.clip(real(2, 5) + np.array([[0.0], [1.5]]), -1, 2).astype(np.float32)
    told = ASKED.told(outputs, dataset.labels)["png"]
    assert list(ASKED.tells) == ["png"]
    with Image.open(io.BytesIO(base64.b64decode(told[0]))) as picture:
        assert np.array_equal(np.asarray(picture), lines(2, 5)[0, :, :, 0])
    with Image.open(io.BytesIO(base64.b64decode(told[1]))) as picture:
        assert np.asarray(picture).min() == 255


def test_what_is_drawn_from_the_same_law_is_near_and_a_gaussian_is_farther(dataset: Dataset) -> None:
    good = judged(dataset, real(150, 77))
    name, outputs = ASKED.trivial(dataset, dataset.labels, "kernel_distance", None)
    targets = featured(real(150, 2), dataset)
    base = evaluate(outputs, targets, dataset.labels, CONFIG, asked=ASKED)
    assert good["metric"] == "kernel_distance"
    assert good["low"] <= 0.02 and abs(good["value"]) < 0.1 < base["low"]  # type: ignore[operator, arg-type]
    assert "Gaussian" in name
    assert ASKED.faults(good) == ([], [])
    assert {"made", "held out"} == set(good["plates"])  # type: ignore[call-overload]


def test_two_models_are_compared_beside_the_same_real_pictures(dataset: Dataset) -> None:
    labels, targets = dataset.labels, featured(real(150, 2), dataset)
    _, gaussian = ASKED.trivial(dataset, labels, "kernel_distance", None)
    good = featured(real(150, 77), dataset)
    found = compare(good, gaussian, targets, labels, labels, CONFIG, asked=ASKED)
    alone = evaluate(gaussian, targets, labels, CONFIG, asked=ASKED)
    assert found["champion"] == pytest.approx(alone["value"])
    assert found["verdict"] == "better" and 0 < found["low"] < found["difference"]
    assert compare(good, good, targets, labels, labels, CONFIG, asked=ASKED)["verdict"] == "no_worse"
    with pytest.raises(DataError):
        compare(good, gaussian, targets, labels, labels[:-1], CONFIG, asked=ASKED)
    with pytest.raises(DataError, match="another shape"):
        featured(real(5, 1)[:, :12], dataset)


def test_a_collapse_is_refused_by_name(dataset: Dataset) -> None:
    one = np.repeat(real(1, 9), 150, axis=0) + np.random.default_rng(0).normal(0, 1e-4, (150, 30))
    against, _ = ASKED.faults(judged(dataset, np.clip(one, 0, 1)))
    assert any("collapsed" in line and "twin" in line for line in against)
    assert any("collapsed" in line and "recall" in line for line in against)


def test_a_generator_that_leaves_out_a_kind_is_warned_of(dataset: Dataset) -> None:
    half = real(600, 31)
    across = half[(half.reshape(-1, 6, 5).mean(axis=2).max(axis=1) > half.reshape(-1, 6, 5).mean(axis=1).max(axis=1))][:150]
    against, said = ASKED.faults(judged(dataset, across * 0.4))
    assert against or said


def test_pixels_alone_are_compared_where_there_are_no_features(dataset: Dataset) -> None:
    a = ASKED.answers(real(40, 1), real(40, 2), dataset.labels)
    assert a.outputs.shape == (40, 30)
    with pytest.raises(DataError, match="shape"):
        ASKED.answers(real(40, 1)[:, :20], real(40, 2), dataset.labels)


def test_formats_are_compared_by_pixels(dataset: Dataset) -> None:
    by = ASKED.by_row
    assert problem(by.name) is by
    assert not isinstance(by, Generation)
    assert np.array_equal(by.targets(dataset.read("test", ["label"]).column("label"), dataset.labels), real(150, 2))


def test_a_plate_has_room_for_each_picture() -> None:
    with Image.open(io.BytesIO(base64.b64decode(plate(np.zeros((5, 12)), (2, 2, 3), 3)))) as picture:
        assert (picture.size, picture.mode) == ((8, 5), "RGB")
        assert np.asarray(picture)[3:, 6:].min() == 255 and np.asarray(picture)[:2, :2].max() == 0


def test_the_report_shows_the_pictures_and_nothing_from_outside(dataset: Dataset) -> None:
    found = judged(dataset, real(150, 4))
    drawn = ASKED.section(found)
    assert drawn.count("data:image/png;base64,") == 2 and "http" not in drawn
    assert ASKED.section({}) == ""


def test_an_unreadable_shape_is_an_error_of_the_data(tmp_path: Path) -> None:
    mixed = pa.chunked_array([[[[[1]], [[2]]], [[[1]]]]], column_of([]).type)
    with pytest.raises(DataError, match="different shapes"):
        ASKED.targets(mixed, ["0_0_0"])
