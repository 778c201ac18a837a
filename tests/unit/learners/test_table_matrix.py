"""A table's matrix: in memory and in the graph the same numbers."""

from __future__ import annotations

import json

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from sluice.learners.estimators.base import Estimator
from sluice.learners.estimators.matrix import TableMatrix
from sluice.learners.state import State
from sluice.learners.tables.nodes import Nodes

MANY = [f"v{i:03d}" for i in range(100)]


class Plain(Estimator):
    pass


class Reads(Estimator):
    reads_missing = True
    ranks = True


class Scales(Estimator):
    scaled = True


def state(numbers: bool = True, categories: bool = True) -> State:
    def number(mean: float, std: float, missing: int) -> dict[str, object]:
        return {"mean": mean, "std": std, "missing": missing, "low": 0.0, "high": 1.0, "edges": []}

    return State(
        "classification",
        ["a", "b"],
        {},
        extra={
            "numeric": {"age": number(40.1, 7.3, 2), "sum": number(1e6, 1e5, 0)} if numbers else {},
            "categories": {"city": ["Rome", "Oslo"], "code": MANY} if categories else {},
        },
    )


def rows() -> dict[str, np.ndarray]:
    def strings(*values: str) -> np.ndarray:
        return np.array(values, dtype=object).reshape(-1, 1)

    return {
        "age": np.array([[31.7], [np.nan], [55.25]], np.float32),
        "sum": np.array([[np.nan], [0.1], [1.7e6]], np.float32),
        "city": strings("Oslo", "", "Lima"),
        "code": strings("v000", "v099", "v200"),
    }


def in_graph(matrix: TableMatrix, inputs: dict[str, np.ndarray]) -> np.ndarray:
    g = Nodes()
    g.add("Identity", matrix.nodes(g), name="out")
    used = [*matrix.numbers, *matrix.categories]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT if n in matrix.numbers else TensorProto.STRING, ["n", 1]) for n in used]
    model = g.model(ends, [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["n", matrix.features])], 20)
    onnx.checker.check_model(model, full_check=True)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {n: inputs[n] for n in used})[0]


@pytest.mark.parametrize("kind", [Plain, Reads, Scales])
@pytest.mark.parametrize(("numbers", "categories"), [(True, True), (True, False), (False, True)])
def test_memory_and_graph_give_the_same_bits(kind: type[Estimator], numbers: bool, categories: bool) -> None:
    matrix = TableMatrix.fitted(state(numbers, categories), kind)
    there = matrix.of(rows())
    assert there.shape == (3, matrix.features)
    assert there.dtype == np.float32
    np.testing.assert_array_equal(in_graph(matrix, rows()), there)


def test_it_is_kept_as_json() -> None:
    matrix = TableMatrix.fitted(state(), Reads)
    assert TableMatrix.load(json.loads(json.dumps(matrix.dump()))) == matrix


def test_what_is_missing_is_the_mean_with_a_flag_where_training_rows_lacked_some() -> None:
    found = TableMatrix.fitted(state(categories=False), Plain).of(rows())
    np.testing.assert_array_equal(found[:, 0], np.float32([31.7, 40.1, 55.25]))
    np.testing.assert_array_equal(found[:, 1], np.float32([1e6, 0.1, 1.7e6]))
    np.testing.assert_array_equal(found[:, 2:], np.float32([[0], [1], [0]]))


def test_an_estimator_that_reads_missing_numbers_gets_them_where_training_rows_lacked_some() -> None:
    found = TableMatrix.fitted(state(categories=False), Reads).of(rows())
    np.testing.assert_array_equal(found, np.float32([[31.7, 1e6], [np.nan, 0.1], [55.25, 1.7e6]]))


def test_numbers_are_scaled_for_an_estimator_that_wants_it() -> None:
    found = TableMatrix.fitted(state(categories=False), Scales).of(rows())
    np.testing.assert_allclose(found[:, 0], [(31.7 - 40.1) / 7.3, 0, (55.25 - 40.1) / 7.3], rtol=1e-5)


def test_a_category_has_a_column_a_common_value_one_for_missing_and_none_for_the_unknown() -> None:
    found = TableMatrix.fitted(state(numbers=False), Plain).of(rows())
    city, code = found[:, :3], found[:, 3:]
    np.testing.assert_array_equal(city, [[0, 0, 1], [1, 0, 0], [0, 0, 0]])
    assert code.shape == (3, 65)
    np.testing.assert_array_equal(code.sum(axis=1), [1, 0, 0])


def test_trees_tell_a_rare_value_by_its_rank() -> None:
    found = TableMatrix.fitted(state(numbers=False), Reads).of(rows())
    np.testing.assert_array_equal(found[:, -1], [1, 100, 101])
