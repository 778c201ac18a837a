"""A model asked for the same row over every protocol."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from serving.runtime.models.model import Model
from serving.runtime.protocols import grpc_server, v1, v2
from serving.runtime.protocols.protos import open_inference_pb2 as pb
from serving.runtime.protocols.tensors import DTYPES, to_binary


def run(model: Model, units: list[Any]) -> list[list[float]]:
    return [row for unit in units for row in model.run(unit.tensors)["probabilities"].tolist()]


def by_v1(model: Model, column: str, value: Any) -> Any:
    return run(model, v1.parse(model, json.dumps({"instances": [{column: value}]}).encode(), 64, 100)[0])[0]


def by_v2(model: Model, column: str, datatype: str, data: list[Any], shape: list[int] | None = None) -> Any:
    body = json.dumps({"inputs": [{"name": column, "datatype": datatype, "shape": shape or [len(data)], "data": data}]}).encode()
    return run(model, v2.parse(model, body, None, 64, 100).units)


def by_binary(model: Model, column: str, datatype: str, array: np.ndarray) -> Any:
    raw = to_binary(array)
    head = json.dumps(
        {"inputs": [{"name": column, "datatype": datatype, "shape": list(array.shape), "parameters": {"binary_data_size": len(raw)}}]}
    ).encode()
    return run(model, v2.parse(model, head + raw, str(len(head)).encode(), 64, 100).units)


def by_grpc(model: Model, column: str, datatype: str, array: np.ndarray, *, raw: bool) -> Any:
    request = pb.ModelInferRequest(model_name="one")
    entry = request.inputs.add(name=column, datatype=datatype, shape=array.shape)
    if raw:
        request.raw_input_contents.append(to_binary(array))
    else:
        getattr(entry.contents, grpc_server._CONTENTS[datatype]).extend(
            [v.encode() if isinstance(v, str) else v for v in array.ravel().tolist()]
        )
    units, _, _ = v2.ask_of_tensors(model, grpc_server.tensors_of(request), 64, 100, encoded=False)
    return run(model, units)


def everywhere(model: Model, column: str, values: list[Any]) -> list[Any]:
    """The answers to each of these values of one meaning, over every protocol and datatype that can say it."""
    answers = []
    for value in values:
        answers.append(by_v1(model, column, value))
        if isinstance(value, str):
            array = np.array([value], dtype=object)
            kinds = ["BYTES"]
        else:
            kinds = {bool: ["BOOL"], int: ["INT64", "UINT64", "INT32", "FP64"], float: ["FP32", "FP64"]}[type(value)]
        for kind in kinds:
            if not isinstance(value, str):
                array = np.array([value]).astype(DTYPES[kind])
                if kind != "FP32" and array.tolist()[0] != value:
                    continue  # the datatype cannot say it
            answers += by_v2(model, column, kind, [value if isinstance(value, str) or kind == "FP32" else array.tolist()[0]])
            answers += (
                by_binary(model, column, kind, array)
                + by_grpc(model, column, kind, array, raw=True)
                + by_grpc(model, column, kind, array, raw=False)
            )
    return answers
