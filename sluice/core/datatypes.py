"""Tensors, and their element types: the Open Inference Protocol's names, and what numpy, ONNX and ONNX Runtime call them; and which engine runs a graph of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

#: A package's file that an engine opens, unless its format has another.
MODEL = "model.onnx"


class Datatype(NamedTuple):
    """An element type.

    Attributes:
        name: in the Open Inference Protocol V2.
        numpy: the array's type, little-endian; objects hold texts.
        onnx: its number in ONNX (`TensorProto.DataType` of onnx.proto3).
        ort: what ONNX Runtime calls a tensor of it.
        size: bytes of an element; 0 where that varies.
        packaged: whether a package's own graph may take or give it.
    """

    name: str
    numpy: str
    onnx: int
    ort: str
    size: int
    packaged: bool


TABLE = (
    Datatype("BOOL", "|b1", 9, "tensor(bool)", 1, True),
    Datatype("UINT8", "|u1", 2, "tensor(uint8)", 1, True),
    Datatype("UINT16", "<u2", 4, "tensor(uint16)", 2, False),
    Datatype("UINT32", "<u4", 12, "tensor(uint32)", 4, False),
    Datatype("UINT64", "<u8", 13, "tensor(uint64)", 8, False),
    Datatype("INT8", "|i1", 3, "tensor(int8)", 1, False),
    Datatype("INT16", "<i2", 5, "tensor(int16)", 2, False),
    Datatype("INT32", "<i4", 6, "tensor(int32)", 4, True),
    Datatype("INT64", "<i8", 7, "tensor(int64)", 8, True),
    Datatype("FP16", "<f2", 10, "tensor(float16)", 2, True),
    Datatype("FP32", "<f4", 1, "tensor(float)", 4, True),
    Datatype("FP64", "<f8", 11, "tensor(double)", 8, True),
    Datatype("BYTES", "|O", 8, "tensor(string)", 0, True),
)

#: Names of the element types that packages use.
DATATYPES = tuple(d.name for d in TABLE if d.packaged)


@dataclasses.dataclass(frozen=True)
class TensorSpec:
    """A tensor of a graph: `shape` has -1 where the size is free (axis 0 is always the batch)."""

    name: str
    datatype: str
    shape: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class EngineSpec:
    """Which engine opens the graph, and its options: what the graph's format needs."""

    name: str
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
