"""Categories as numbers: in memory, and inside an ONNX graph that takes strings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from sluice.core.errors import DataError

if TYPE_CHECKING:
    import onnx

#: Codes of a category column: what is missing, what the training rows did not hold; known values follow.
MISSING, UNKNOWN, KNOWN = 0, 1, 2
#: Suffix of the graph's internal names behind the string inputs.
_CODES = "__codes"


def codes(values: Sequence[str]) -> dict[str, int]:
    """value -> code; an empty string is what is missing."""
    return {"": MISSING, **{v: i + KNOWN for i, v in enumerate(values)}}


def coded(table: Mapping[str, int], values: np.ndarray) -> np.ndarray:
    """Strings of any shape as the codes of a table, INT64 of that shape; a value it does not hold is `UNKNOWN`."""
    return np.fromiter((table.get(v, UNKNOWN) for v in values.flat), dtype=np.int64, count=values.size).reshape(values.shape)


def take_strings(graph: onnx.ModelProto, tables: Mapping[str, Mapping[str, int]]) -> onnx.ModelProto:
    """Put an ``ai.onnx.ml`` LabelEncoder before each categorical input, so that the graph takes strings.

    Args:
        graph: whose inputs of those names take INT64 codes.
        tables: of each such input value -> code.

    Returns:
        A changed copy.

    Raises:
        DataError: the graph lacks one of the inputs.
    """
    import onnx
    from onnx import TensorProto, helper

    done = onnx.ModelProto()
    done.CopyFrom(graph)
    encoders = []
    for name, table in tables.items():
        entry = next((i for i in done.graph.input if i.name == name), None)
        if entry is None:
            raise DataError(
                "is no input of the exported graph", field="model.onnx", value=name, fix="export with the columns' names as inputs"
            )
        inside = name + _CODES
        while any(inside == i.name for i in done.graph.input):
            inside += "_"
        for node in done.graph.node:
            for at, used in enumerate(node.input):
                if used == name:
                    node.input[at] = inside
        entry.type.tensor_type.elem_type = TensorProto.STRING
        encoders.append(
            helper.make_node(
                "LabelEncoder",
                [name],
                [inside],
                name=f"encode_{name}",
                domain="ai.onnx.ml",
                keys_strings=list(table),
                values_int64s=list(table.values()),
                default_int64=UNKNOWN,
            )
        )
    if encoders:
        nodes = [*encoders, *done.graph.node]
        del done.graph.node[:]
        done.graph.node.extend(nodes)
        if all(o.domain != "ai.onnx.ml" for o in done.opset_import):
            done.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))
    return done
