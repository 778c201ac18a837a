"""What a plain ONNX model answers is told apart in every protocol, NaN and infinities too."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from onnx import TensorProto, helper

from serving.runtime.errors import RequestError
from serving.runtime.models.model import Model, load
from serving.runtime.protocols import grpc_server, v1, v2
from serving.runtime.protocols.tensors import json_values, loads
from sluice.core.spelling import value_text


@pytest.fixture(scope="module", params=[TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16])
def logarithm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    x, y = (helper.make_tensor_value_info(n, request.param, ["N", 3]) for n in "xy")
    graph = helper.make_graph([helper.make_node("Log", ["x"], ["y"])], "g", [x], [y])
    path = tmp_path_factory.mktemp("log") / "log.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), path)
    return load(path, "", None, 1, 1 << 20)


def test_nan_and_infinities_stay_apart_in_json_as_in_binary_and_grpc(logarithm: Model) -> None:
    datatype = logarithm.inputs["x"].datatype
    body = {"inputs": [{"name": "x", "datatype": datatype, "shape": [2, 3], "data": [0, -1, 1, 1, 0, 1]}]}
    question = v2.parse(logarithm, json.dumps(body).encode(), None, 8, 8)
    outputs = logarithm.run(question.units[0].tensors)
    expected = [-math.inf, math.nan, 0, 0, -math.inf, 0]
    data = json.loads(v2.render(logarithm, outputs, None, question.wanted)[0])["outputs"][0]["data"]
    assert data == ["-Infinity", "NaN", 0, 0, "-Infinity", 0]
    np.testing.assert_array_equal(np.array(data, dtype=np.float64), expected)  # as clients read them
    tensors = v1.parse(logarithm, b'{"instances": [[0, -1, 1], [1, 0, 1]]}', 8, 8)[0][0].tensors
    assert json.loads(v1.render(logarithm, logarithm.run(tensors), None)) == {"predictions": [["-Infinity", "NaN", 0], [0, "-Infinity", 0]]}
    question.wanted.all_binary = True
    raw, length = v2.render(logarithm, outputs, None, question.wanted)
    np.testing.assert_array_equal(np.frombuffer(raw[length:], outputs["y"].dtype), expected)
    over_grpc = grpc_server.answer(logarithm, "", outputs, raw=True)
    np.testing.assert_array_equal(np.frombuffer(over_grpc.raw_output_contents[0], outputs["y"].dtype), expected)


@settings(max_examples=200, deadline=None, database=None)
@given(hnp.arrays(st.sampled_from([np.float16, np.float32, np.float64]), hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3)))
def test_every_array_of_floats_comes_back_from_json(array: np.ndarray) -> None:
    back = np.array(json.loads(json.dumps(json_values(array), allow_nan=False)), dtype=array.dtype)
    np.testing.assert_array_equal(back.reshape(array.shape), array)


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 2**64, 10**30 + 1, 9007199254740993])
def test_exact_json_keeps_the_digits_of_whole_numbers(number: int) -> None:
    for body in (f"[{number}]", f'{{"a":[1,\n {number} ]}}', f'{{"a": {number}}}'):
        found: Any = loads(body.encode(), "", exact=True)
        while isinstance(found, list | dict):
            found = found[-1] if isinstance(found, list) else found["a"]
        assert found == number and type(found) is int


@pytest.mark.parametrize(
    "body", [b"[1" + b"0" * 5000 + b"]", b'{"a": NaN, "b": 12345678901234567890}', b"[" * 2000 + b"1" * 30 + b"]" * 2000, b"\xff", b""]
)
def test_json_that_cannot_be_read_is_the_clients_mistake(body: bytes) -> None:
    with pytest.raises(RequestError, match="is not JSON"):
        loads(body, "", exact=True)


def test_numbers_written_with_a_point_keep_digits_that_a_float_has_not() -> None:
    found = loads(
        b"[9007199254740993.0, 9007199254740993e0, 9007199254740992.0, 1234567890123456.5, 0.1, 9.007199254740993e15]",
        "",
        exact=True,
        decimals=True,
    )
    assert [value_text(v) for v in found] == [
        "9007199254740993",
        "9007199254740993",
        "9007199254740992",
        "1234567890123456.5",
        "0.1",
        "9007199254740993",
    ]
    assert [type(v) for v in found[2:5]] == [float] * 3 and loads(b"[9007199254740993.0]", "", exact=True) == [9007199254740992.0]
