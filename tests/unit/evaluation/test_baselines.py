"""The baselines: what scikit-learn used plainly gives, on whatever columns a dataset has, and never the end of a gate."""

from __future__ import annotations

import io
import subprocess
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from sluice.core.png import png
from sluice.core.warm.client import PLACE
from sluice.data.dataset import Dataset, write_dataset
from sluice.fields import AudioProcessor, Column, ImageProcessor, TabularProcessor, TensorInput, TensorProcessor
from sluice.gates import baselines, features
from sluice.gates.config import EvaluateConfig

CONFIG = EvaluateConfig()
NAMES = ["red", "green", "blue", "grey"]


@pytest.fixture(autouse=True)
def plain_processes(monkeypatch):
    """A baseline's process is started here, where these tests look at it."""
    monkeypatch.delenv(PLACE, raising=False)


def dataset(root: Path, columns: dict[str, str], table: pa.Table, held_out: int, task: str = "tabular") -> Dataset:
    """The last `held_out` rows are the test split."""
    table = table.append_column("row_id", pa.array([str(i) for i in range(len(table))]))
    regression = pa.types.is_floating(table.schema.field("label").type)
    labels = [] if regression else sorted(set(table.column("label").to_pylist()))
    n = len(table) - held_out
    return write_dataset(
        root,
        {"train": table.slice(0, n), "test": table.slice(n)},
        task=task,
        objective="regression" if regression else "classification",
        labels=labels,
        columns=columns,
        source={},
        shard_rows=1000,
    )


def learn(data: Dataset, processor: Any = None) -> tuple[str, np.ndarray, dict[str, Any]]:
    fields = features.blocks_of(data.columns, processor)
    name, (found,), facts = baselines.learn(data.read("train"), [data.read("test")], fields, data.labels)
    return name, found, facts


def people(n: int, label: list[Any], seed: int = 0) -> pa.Table:
    """Two columns of numbers (one with holes), one that never varies, one of categories with holes."""
    rng = np.random.default_rng(seed)
    age = [None if i % 7 == 3 else float(v) for i, v in enumerate(rng.normal(40, 12, n))]
    return pa.table(
        {
            "age": pa.array(age, pa.float64()),
            "fare": rng.exponential(30, n),
            "same": np.full(n, 3.0),
            "colour": pa.array([None if i % 11 == 5 else NAMES[v] for i, v in enumerate(rng.integers(0, 4, n))], pa.string()),
            "label": label,
        }
    )


KINDS = {"age": "numeric", "fare": "numeric", "same": "numeric", "colour": "categorical"}


def plain(table: pa.Table, n: int) -> tuple[np.ndarray, np.ndarray]:
    """The same columns through scikit-learn's own transformers."""
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    frame = table.drop_columns(["label"]).to_pandas()
    numbers = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
    both = ColumnTransformer([("n", numbers, ["age", "fare", "same"]), ("c", OneHotEncoder(handle_unknown="ignore"), ["colour"])])
    return both.fit_transform(frame[:n]), both.transform(frame[n:])


def test_logistic_regression_is_scikit_learns_own_on_numbers_categories_and_holes(tmp_path):
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(1)
    table = people(400, [("yes" if v else "no") for v in rng.random(400) < 0.3])
    data = dataset(tmp_path / "d", KINDS, table, 100)
    name, found, facts = learn(data)
    x, xt = plain(table, 300)
    expected = LogisticRegression(max_iter=300).fit(x, table.column("label").to_pylist()[:300]).predict_proba(xt)
    assert name == "logistic regression"
    assert np.abs(found - expected).max() < 1e-3
    assert facts == {"rows_trained": 300, "features": 3 + 5}  # age, its flag, fare; four colours and none


def test_ridge_regression_is_scikit_learns_own(tmp_path):
    from sklearn.linear_model import Ridge

    table = people(300, list(np.random.default_rng(2).normal(size=300)))
    data = dataset(tmp_path / "d", KINDS, table, 80)
    name, found, _ = learn(data)
    x, xt = plain(table, 220)
    assert name == "ridge regression"
    assert found == pytest.approx(Ridge(alpha=1.0).fit(x, table.column("label").to_pylist()[:220]).predict(xt), abs=1e-6)


def test_texts_are_tf_idf_of_words_and_characters_in_any_script(tmp_path):
    good, bad = ["정말 좋은 영화", "很好看的电影", "a lovely film"], ["정말 나쁜 영화", "很难看的电影", "an awful film"]
    texts = [t for i in range(40) for t in (good[i % 3] + f" {i % 5}", bad[i % 3] + f" {i % 5}")]
    table = pa.table({"text": pa.array([*texts, None, "???"], pa.string()), "label": [*(["good", "bad"] * 40), "bad", "good"]})
    name, found, _ = learn(dataset(tmp_path / "d", {"text": "text"}, table, 12, "text"))
    assert name == "logistic regression"
    assert (found[:10].argmax(axis=1) == [1, 0] * 5).all()
    assert found.sum(axis=1) == pytest.approx(1)


def test_images_audio_and_tensors_go_through_the_packages_own_processing(tmp_path):
    rng = np.random.default_rng(3)
    side = rng.integers(0, 2, 120)

    def image(right: int) -> bytes:
        pixels = rng.integers(0, 60, (12, 12))
        pixels[:, 6 * right : 6 * right + 6] += 120
        return png(pixels.tolist())

    def sound(high: int, length: int = 4000) -> bytes:
        t = np.arange(length) / 8000
        samples = np.sin(2 * np.pi * (2000 if high else 300) * t + rng.random() * 6) * 12000 + rng.normal(0, 800, length)
        out = io.BytesIO()
        with wave.open(out, "wb") as f:
            f.setparams((1, 2, 8000, 0, "NONE", ""))
            f.writeframes(samples.astype("<i2").tobytes())
        return out.getvalue()

    label = ["ab"[s] for s in side]
    tensors = [[[float(s), float(rng.normal())]] * int(rng.integers(1, 5)) for s in side]
    cases: list[tuple[str, str, pa.Array, Any]] = [
        ("image", "image", pa.array([image(s) for s in side], pa.binary()), ImageProcessor(1, (32, 32))),
        ("audio", "audio", pa.array([sound(s) for s in side], pa.binary()), AudioProcessor(8000, 4000)),
        ("audio", "audio", pa.array([sound(s, 1000 + 31 * i) for i, s in enumerate(side)], pa.binary()), AudioProcessor(8000, 8000, True)),
        ("x", "tensor", pa.array(tensors, pa.list_(pa.list_(pa.float64()))), TensorProcessor([TensorInput("x", "FP32", (-1, -1, 2), 0.0)])),
    ]
    for number, (name, kind, values, processor) in enumerate(cases):
        data = dataset(tmp_path / str(number), {name: kind}, pa.table({name: values, "label": label}), 30, "plug:In")
        _, found, facts = learn(data, processor)
        assert (found.argmax(axis=1) == side[90:]).mean() > 0.95, name
        assert facts["features"] <= features.MOST_PIXELS


def test_pooling_keeps_means_and_bounds_the_size():
    x = np.arange(2 * 3 * 50 * 70, dtype=float).reshape(2, 3, 50, 70)
    small = features.pooled(x)
    assert small.shape[1] <= features.MOST_PIXELS
    assert features.pooled(np.full((2, 3, 64, 64), 5.0)) == pytest.approx(5.0)


def test_the_trivial_one_is_class_shares_the_mean_or_for_mae_the_median(tmp_path):
    data = dataset(tmp_path / "c", KINDS, people(50, ["b"] * 30 + ["a"] * 10 + ["c"] * 10), 10)
    found = baselines.trivial(data, data.labels, "accuracy")
    assert found.outputs.shape == (10, 3)
    assert found.outputs[0] == pytest.approx([0.25, 0.75, 0.0])
    assert found.name == "the majority class 'b'"
    always = baselines.trivial(data, data.labels, "f1", "c")
    assert (always.name, always.outputs[0].tolist()) == ("answering 'c' throughout", [0, 0, 1])
    numbers = dataset(tmp_path / "r", KINDS, people(5, [1.0, 2.0, 9.0, 0.0, 0.0]), 2)
    assert baselines.trivial(numbers, [], "rmse").outputs.tolist() == [4.0, 4.0]
    assert baselines.trivial(numbers, [], "mae").outputs.tolist() == [2.0, 2.0]


def test_a_label_only_the_held_out_rows_have_gets_no_probability(tmp_path):
    table = people(100, ["a", "b"] * 40 + ["new"] * 20)
    data = dataset(tmp_path / "d", KINDS, table, 20)
    _, found, _ = learn(data)
    assert found.shape == (20, 3)
    assert (found[:, data.labels.index("new")] == 0).all()


def test_one_class_in_training_and_columns_that_never_vary_are_said(tmp_path):
    one = dataset(tmp_path / "one", KINDS, people(60, ["a"] * 50 + ["b"] * 10), 10)
    with pytest.raises(ValueError, match="one class"):
        learn(one)
    still = pa.table({"same": np.full(60, 2.0), "label": ["a", "b"] * 30})
    with pytest.raises(ValueError, match="no field that varies"):
        learn(dataset(tmp_path / "still", {"same": "numeric"}, still, 10))


def test_a_thousand_classes_are_learnt_from_a_bounded_sample(tmp_path, monkeypatch):
    monkeypatch.setattr(baselines, "MOST_WORK", 1_500_000)
    rng = np.random.default_rng(4)
    centres = rng.normal(size=(1000, 3)) * 50
    y = np.tile(np.arange(1000), 3)
    x = centres[y] + rng.normal(size=(3000, 3))
    table = pa.table({**{f"x{i}": x[:, i] for i in range(3)}, "label": [f"c{v:04d}" for v in y]})
    data = dataset(tmp_path / "d", {f"x{i}": "numeric" for i in range(3)}, table, 200)
    _, found, facts = learn(data)
    assert facts["rows_trained"] == 2800 * 1_500_000 // (2800 * 3 * 1000)
    assert found.shape == (200, 1000)
    assert found.sum(axis=1) == pytest.approx(1)


def test_missing_throughout_infinite_and_enormous_numbers_stay_finite(tmp_path):
    n = 60
    table = pa.table(
        {
            "none": pa.array([None] * n, pa.float64()),
            "wild": pa.array([1e308, -1e308, float("inf")] * 20, pa.float64()),
            "fine": np.arange(n, dtype=float),
            "label": ["a", "b"] * 30,
        }
    )
    _, found, _ = learn(dataset(tmp_path / "d", {"none": "numeric", "wild": "numeric", "fine": "numeric"}, table, 10))
    assert np.isfinite(found).all()


def test_a_sample_is_spread_out_stays_the_same_and_falls_for_no_rhythm_of_the_rows():
    at = baselines.some(10_000, 1000)
    assert (np.diff(at) > 0).all()
    assert (at // 10).tolist() == list(range(1000))
    assert at.tolist() == baselines.some(10_000, 1000).tolist()
    assert 400 < (at % 2).sum() < 600  # a and b in turn: every tenth row would always be a
    assert baselines.some(7, 50).tolist() == list(range(7))


def test_large_data_are_sampled_and_that_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(baselines, "MOST_ROWS", 20)
    data = dataset(tmp_path / "d", KINDS, people(100, ["a", "b"] * 50), 30)
    table, at = baselines.sampled(data, "test")
    assert len(table) == len(at) == 20
    assert table.column("row_id").to_pylist() == data.read("test").take(pa.array(at)).column("row_id").to_pylist()
    assert (
        baselines._note(data, 20, 20)
        == "trained on 20 of 70 training rows, spread over all; judged on 20 of 30 held-out rows, spread over all"
    )
    monkeypatch.setattr(baselines, "MOST_CHARACTERS", 100)
    texts = dataset(tmp_path / "t", {"text": "text"}, pa.table({"text": ["ten chars!"] * 80, "label": ["a", "b"] * 40}), 40, "text")
    assert baselines.sampled(texts, "train")[0].num_rows == 10


def columns_of(data: Dataset) -> dict[str, Any]:
    return TabularProcessor([Column(n, k) for n, k in data.columns.items()]).spec()


def test_the_process_of_its_own_answers_as_the_library_does_and_what_breaks_it_is_only_said(tmp_path, monkeypatch):
    data = dataset(tmp_path / "d", KINDS, people(100, ["a", "b"] * 50), 30)
    found = baselines.simple(data, data.labels, columns_of(data), tmp_path, CONFIG)
    assert isinstance(found, baselines.Baseline)
    assert found.outputs == pytest.approx(learn(data)[1])
    assert found.rows.tolist() == list(range(30))
    assert found.facts["rows_trained"] == 70
    assert found.facts["note"] == ""

    assert "is not a kind" in baselines.simple(data, data.labels, {"kind": "smoke"}, tmp_path, CONFIG)
    monkeypatch.setattr(baselines, "PATIENCE", 0.001)
    assert "seconds (120) by the clock" in baselines.simple(data, data.labels, columns_of(data), tmp_path, CONFIG)
    monkeypatch.setattr(baselines.sys, "executable", str(tmp_path / "no-python"))
    assert "could not be started" in baselines.simple(data, data.labels, columns_of(data), tmp_path, CONFIG)


@pytest.mark.parametrize(
    ("status", "stderr", "said"),
    [
        (1, b"Traceback\nnumpy._core._exceptions._ArrayMemoryError: Unable to allocate 9 TiB for an array", "ran out of the 3 GiB"),
        (1, b"MemoryError: ", "ran out of the 3 GiB"),
        (-24, b"", "seconds (120) of processor time"),
        (-11, b"", "status -11"),
        (1, b"the training rows hold one class\n", "the training rows hold one class"),
    ],
)
def test_why_the_process_ended_is_said(tmp_path, monkeypatch, status, stderr, said):
    data = dataset(tmp_path / "d", KINDS, people(20, ["a", "b"] * 10), 5)
    monkeypatch.setattr(baselines.subprocess, "run", lambda *a, **k: subprocess.CompletedProcess(a, status, b"", stderr))
    assert said in baselines.simple(data, data.labels, columns_of(data), tmp_path, CONFIG)


def test_where_the_project_has_a_threshold_the_baseline_gets_one_too(tmp_path):
    rng = np.random.default_rng(7)
    x, yes = rng.normal(size=900), rng.random(900)
    label = ["Yes" if u < 0.02 + 0.3 * (v > 1) else "No" for u, v in zip(yes, x, strict=True)]
    table = pa.table({"x": x, "label": label, "row_id": [str(i) for i in range(900)]})
    data = write_dataset(
        tmp_path / "d",
        {"train": table.slice(0, 300), "validation": table.slice(300, 300), "test": table.slice(600)},
        task="tabular",
        objective="classification",
        labels=["No", "Yes"],
        columns={"x": "numeric"},
        source={},
        shard_rows=1000,
    )
    config = EvaluateConfig(decision={"aim": "f1"})
    found = baselines.simple(data, data.labels, columns_of(data), tmp_path, config, "Yes")
    assert isinstance(found, baselines.Baseline)
    assert found.rule is not None
    assert found.rule.label == "Yes"
    assert found.rule.threshold < 0.5
    assert len(found.outputs) == 300
