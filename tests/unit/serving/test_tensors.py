"""Tensors in JSON and binary, there and back."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from kserve.protocol.infer_type import deserialize_bytes_tensor, serialize_byte_tensor

from serving.runtime.errors import RequestError
from serving.runtime.protocols.tensors import DTYPES, datatype_of, from_binary, from_json, shape_of, to_binary

arrays = st.sampled_from(sorted(DTYPES)).flatmap(
    lambda name: hnp.arrays(
        DTYPES[name],
        hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
        elements=hnp.from_dtype(DTYPES[name], allow_nan=False, allow_infinity=False),
    )
)


@settings(max_examples=300, deadline=None, database=None)
@given(array=arrays)
def test_binary_is_lossless(array: np.ndarray) -> None:
    back = from_binary(to_binary(array), datatype_of(array), array.shape, "x")
    assert back.dtype == array.dtype and back.shape == array.shape and np.array_equal(back, array)


@settings(max_examples=300, deadline=None, database=None)
@given(array=arrays)
def test_json_is_lossless_flat_and_nested(array: np.ndarray) -> None:
    flat = json.loads(json.dumps(array.ravel().tolist()))
    back = from_json(flat, datatype_of(array), array.shape, "x")
    assert back.dtype == array.dtype and np.array_equal(back, array)
    if array.ndim and array.size:
        assert np.array_equal(from_json(json.loads(json.dumps(array.tolist())), datatype_of(array), array.shape, "x"), array)


def test_the_largest_whole_numbers_stay_exact_beside_small_ones() -> None:
    assert from_json([0, 2**63, 2**64 - 1], "UINT64", (3,), "x").tolist() == [0, 2**63, 2**64 - 1]
    assert from_json([[1], [2**63]], "UINT64", (2, 1), "x").tolist() == [[1], [2**63]]
    for wrong in ([0, 2**64], [-1, 2**63], [0.5, 2**63]):
        with pytest.raises(RequestError):
            from_json(wrong, "UINT64", (2,), "x")


@settings(max_examples=200, deadline=None, database=None)
@given(values=st.lists(st.binary(max_size=20), max_size=6))
def test_bytes_are_coded_as_kserve_codes_them(values: list[bytes]) -> None:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    raw = to_binary(array)
    assert raw == (serialize_byte_tensor(array).item() if values else b"")
    assert from_binary(raw, "BYTES", (len(values),), "x").tolist() == deserialize_bytes_tensor(raw).tolist() == values


@pytest.mark.parametrize(
    ("data", "datatype", "shape"),
    [
        ([1.5], "INT64", (1,)),
        ([True], "INT64", (1,)),
        ([1], "BOOL", (1,)),
        (["1"], "FP32", (1,)),
        ([1, "a"], "FP32", (2,)),
        ([256], "UINT8", (1,)),
        ([-1], "UINT64", (1,)),
        ([2**63], "INT64", (1,)),
        ([2**80], "UINT64", (1,)),
        ([1e39], "FP32", (1,)),
        ([7e4], "FP16", (1,)),
        ([[1], [2, 3]], "FP32", (3,)),
        ([None], "FP32", (1,)),
        ([1, 2], "FP32", (3,)),
        (5, "FP32", (1,)),
        ("ab", "BYTES", (1,)),
        ([5], "BYTES", (1,)),
        ([["a"], 5], "BYTES", (2,)),
        ([{}], "FP32", (1,)),
    ],
)
def test_values_that_do_not_fit_are_refused(data: Any, datatype: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(RequestError):
        from_json(data, datatype, shape, "x")


@pytest.mark.parametrize(
    ("raw", "datatype", "shape"),
    [
        (b"123", "FP32", (1,)),
        (b"", "BYTES", (1,)),
        (b"\x09\0\0\0ab", "BYTES", (1,)),
        (b"\x01\0\0\0a\0", "BYTES", (1,)),
        (b"\xff\xff\xff\xff", "BYTES", (1,)),
        (b"abcd", "BYTES", (1 << 40,)),
    ],
)
def test_binary_data_of_another_size_is_refused(raw: bytes, datatype: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(RequestError):
        from_binary(raw, datatype, shape, "x")


@pytest.mark.parametrize("shape", [None, "1", [1.0], [-1], [True], [1 << 50], [1] * 17, {"0": 1}])
def test_shapes_that_are_none_are_refused(shape: Any) -> None:
    with pytest.raises(RequestError):
        shape_of(shape, "x")
