"""A learner of one's own: found by name, asked by the train step's parts and by the export, with no torch in sight."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import onnx
import pyarrow as pa
import pytest
from onnx import TensorProto, helper, numpy_helper

from sluice.core import files
from sluice.core.errors import ProjectError
from sluice.core.section import Section
from sluice.data.dataset import Dataset, write_dataset
from sluice.engines.rows import rows_from_arrow
from sluice.fields import TabularProcessor
from sluice.fields.column import Column
from sluice.learners.answers import own_answers, split_answers
from sluice.learners.base import HISTORY, LEARNERS, Job, Learner, Trained
from sluice.learners.config import TrainSection
from sluice.learners.crossvalidation import cross_validate
from sluice.learners.fit import load_trained
from sluice.learners.state import State
from sluice.learners.torch.config import TrainConfig
from sluice.learners.torch.network import network_of
from sluice.project import Project, parse
from sluice.tasks.base import Task


class Shares(Trained):
    """Answers the shares of the labels among the training rows, whatever it is asked."""

    def __init__(self, state: State, record: dict[str, Any]):
        self.state, self.record, self.text = state, record, "the labels were counted"

    @property
    def shares(self) -> np.ndarray:
        return np.asarray(self.state.extra["shares"], dtype=np.float32)

    def run(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        return np.tile(self.shares, (len(inputs["x"]), 1)) + 0 * inputs["x"]

    def graph(self, opset: int) -> onnx.ModelProto:
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1])
        out = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", len(self.shares)])
        parts = [numpy_helper.from_array(self.shares, "shares"), numpy_helper.from_array(np.zeros((1, 1), np.float32), "none")]
        nodes = [helper.make_node("MatMul", ["x", "none"], ["zero"]), helper.make_node("Add", ["zero", "shares"], ["probabilities"])]
        graph = helper.make_graph(nodes, "shares", [x], [out], parts)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)

    def save(self, root: Path) -> None:
        self.state.save(root)
        files.write_json(root / HISTORY, self.record)


class Counting(Learner):
    """Counts labels."""

    name: ClassVar[str] = "counting"
    Train = TrainSection

    def fit(self, job: Job) -> Shares:
        labels = job.dataset.read("train", ["label"]).column("label").to_pylist()
        shares = [labels.count(label) / len(labels) for label in job.dataset.labels]
        spec = {"kind": "tensor", "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 1]}]}
        state = State("classification", job.dataset.labels, spec, {}, {"shares": shares})
        entry = {"epoch": 1, "train_loss": None, "validation_loss": 0.5, "validation_metrics": {"accuracy": max(shares)}}
        job.on_event({"kind": "epoch", "epochs": 1, **entry})
        made = Shares(state, {"history": [entry], "best_epoch": 1, "seconds": 0.25, "ended": "epochs", "world_size": 1, "environment": {}})
        with files.new_dir(job.out) as tmp:
            made.save(tmp)
        return made

    def load(self, root: Path) -> Shares:
        return Shares(State.load(root), files.read_json(root / HISTORY))


class Model(Section):
    """No settings."""


class Counted(Task):
    """One number and a label."""

    name: ClassVar[str] = "counted"
    Model = Model

    def kinds(self, table: pa.Table) -> dict[str, str]:
        return {"x": "numeric"}

    def canonical(self, table: pa.Table) -> pa.Table:
        return table.select(["x", "label"])

    def learner(self) -> Learner:
        return Counting(self)


@pytest.fixture
def project() -> Project:
    """Of the tabular task's sections; the task is handed over by the tests."""
    return parse({"name": "t", "task": "tabular", "data": {"source": "x"}, "train": {"folds": 3}})


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    rows = pa.table(
        {
            "row_id": [f"{i:016x}" for i in range(60)],
            "x": pa.array([[float(i)] for i in range(60)], pa.list_(pa.float32())),
            "label": ["yes" if i % 3 == 0 else "no" for i in range(60)],
        }
    )
    return write_dataset(
        tmp_path / "data",
        {"train": rows.slice(0, 45), "test": rows.slice(45)},
        task="counted:Counted",
        objective="classification",
        labels=["no", "yes"],
        columns={"x": "numeric"},
        source={},
        shard_rows=100,
    )


def test_what_it_leaves_is_what_load_gives_back_and_answers_rows_in_their_order(project: Project, dataset: Dataset, tmp_path: Path) -> None:
    learner = Counted(project).learner()
    told: list[dict[str, Any]] = []
    made = learner.fit(Job(dataset, tmp_path / "out", told.append))
    again = learner.load(tmp_path / "out")
    assert made.metrics == again.metrics == {"loss": 0.5, "accuracy": pytest.approx(2 / 3)}
    assert told[0]["epoch"] == 1 and again.best == again.history[0]
    found = split_answers(again, dataset, "test")
    assert found.shape == (15, 2) and found.dtype == np.float64
    np.testing.assert_allclose(found, np.tile([2 / 3, 1 / 3], (15, 1)), rtol=1e-6)
    assert own_answers(again, again.processor.encode([{"x": [1.0]}])).dtype == np.float32


def test_a_split_of_a_table_is_answered_as_its_rows_are() -> None:
    made = TabularProcessor([Column("n", "numeric"), Column("c", "categorical")])
    table = pa.table({"n": pa.array([*range(150), None], pa.float64()), "c": ["a", "bb", None] * 50 + [""]})
    batches: list[dict[str, np.ndarray]] = []

    def run(batch: dict[str, np.ndarray]) -> np.ndarray:
        batches.append(batch)
        return np.nan_to_num(batch["n"][:, 0]) + np.array([len(c) for c in batch["c"][:, 0]], np.float32)

    trained: Any = SimpleNamespace(processor=made, state=SimpleNamespace(preprocess=made.spec()), run=run)
    split: Any = SimpleNamespace(batches=lambda name, rows: iter(table.to_batches(max_chunksize=100)))
    found = split_answers(trained, split, "test")
    rows = rows_from_arrow(made.spec(), table)
    expected = np.concatenate([own_answers(trained, made.encode(rows[a:b]), 64) for a, b in ((0, 100), (100, 151))])
    assert found.tolist() == expected.tolist() and found.dtype == np.float64
    assert [len(b["n"]) for b in batches] == [64, 36, 51] * 2


def test_cross_validation_asks_the_learner_alone(project: Project, dataset: Dataset, tmp_path: Path) -> None:
    folds: list[Any] = []
    found = cross_validate(project, dataset, tmp_path, Counted(project).learner().fit, on_fold=folds.append)
    assert [f["rows"] for f in found["folds"]] == [15, 15, 15] and found["metric"] == "accuracy"
    assert found["summary"]["accuracy"]["mean"] == pytest.approx(2 / 3)
    assert [f.seconds for f in folds] == [0.25] * 3


def test_the_export_takes_its_graph(project: Project, dataset: Dataset, tmp_path: Path) -> None:
    import onnxruntime as ort

    from sluice.formats.export import export_graph

    made = Counted(project).learner().fit(Job(dataset, tmp_path / "out"))
    x = np.ones((3, 1), np.float32)
    (answer,) = ort.InferenceSession(export_graph(made, 18)).run(None, {"x": x})
    np.testing.assert_allclose(answer, made.run({"x": x}), rtol=1e-6)


def test_a_learner_can_be_a_class_beside_the_project_file(tmp_path: Path) -> None:
    (tmp_path / "own_learner.py").write_text(
        "from sluice.learners.torch.learner import TorchLearner\nclass Mine(TorchLearner):\n    name = 'mine'\n"
    )
    assert LEARNERS.get("own_learner:Mine", beside=tmp_path).name == "mine"
    with pytest.raises(ProjectError, match="unknown learner") as caught:
        LEARNERS.get("troch")
    assert "did you mean 'torch'?" in (caught.value.fix or "")


def test_the_torch_learner_says_what_a_task_without_a_network_lacks(project: Project) -> None:
    with pytest.raises(ProjectError, match=r"names no network.*Counted") as caught:
        network_of(Counted(project))
    assert "TorchTask" in (caught.value.fix or "")


def test_a_directory_without_a_model_is_refused(project: Project, tmp_path: Path) -> None:
    from sluice.core.errors import DataError

    with pytest.raises(DataError, match="cannot be read"):
        load_trained(project, tmp_path)


def test_the_section_of_the_torch_learner_is_read_without_torch_numpy_or_pyarrow() -> None:
    code = """
import sys
from sluice.learners.base import LEARNERS
from sluice.tasks.tabular import TabularTask
from sluice.tasks.image import ImageTask
from sluice.tasks.text import TextTask
assert LEARNERS.get(TextTask.learnt_by(TextTask.Model())).Train.__name__ == "TrainConfig"
sys.exit(", ".join(m for m in ("torch", "numpy", "pyarrow", "pandas") if m in sys.modules) or 0)
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert issubclass(TrainConfig, TrainSection)
