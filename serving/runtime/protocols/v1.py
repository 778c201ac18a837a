"""KServe's V1 protocol: ``{"instances": [...]}`` in, ``{"predictions": [...]}`` out."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson

from serving.runtime.engine.queue import Tensors, Unit
from serving.runtime.errors import RequestError, TooLarge
from serving.runtime.models.model import Model
from serving.runtime.protocols.inputs import row_of_instance, tensors_of_instances, units_of_rows, units_of_tensors
from serving.runtime.protocols.tensors import json_values, loads

_FIX = 'send {"instances": [...]}'


def parse(model: Model, body: bytes, max_batch: int, max_rows: int) -> tuple[list[Unit], np.ndarray | None, Any]:
    """(units, the rows' order in them, raw rows or tensors) of a request.

    Raises:
        RequestError: not of the protocol. InputError: a row cannot be used. TooLarge: too many rows.
    """
    doc = loads(body, _FIX, exact=model.records is not None, decimals=True)
    instances = doc.get("instances", doc.get("inputs")) if type(doc) is dict else None
    if type(instances) is not list:
        raise RequestError("must be a list", field="instances", value=instances, fix=_FIX)
    if not instances:
        raise RequestError("is empty", field="instances", fix="send at least one")
    if len(instances) > max_rows:
        raise TooLarge(f"has more than {max_rows} rows", field="instances", value=len(instances), fix="send several requests")
    if model.processor is None or _are_tensors(model, instances[0]):
        tensors = tensors_of_instances(model, instances)
        return units_of_tensors(model, tensors, max_batch, max_rows), None, tensors
    rows = instances if model.value is None else [row_of_instance(model, x, i) for i, x in enumerate(instances)]
    units, order = units_of_rows(model, rows, max_batch)
    return units, order, rows


def _are_tensors(model: Model, instance: Any) -> bool:
    """Whether an instance of a model whose rows are values alone is the graph's own tensors, not a raw row."""
    if model.value is None or type(instance) is not dict or not model.inputs.keys() & instance.keys():
        return False
    return all(type(v) is list for v in instance.values())


def render(model: Model, outputs: Tensors, best: np.ndarray | None) -> bytes:
    """The answer's JSON. A classification's numbers are written by orjson as the shortest 32-bit ones."""
    if best is not None:
        return _classes(model, np.ascontiguousarray(outputs[model.outputs[0]]), best)
    if model.regresses:
        values = outputs[model.outputs[0]].ravel()
        return orjson.dumps({"predictions": [{"value": v} for v in values.tolist()]})
    if model.remote is not None:
        return orjson.dumps({"predictions": [dict(zip(outputs, row, strict=True)) for row in zip(*outputs.values(), strict=True)]})
    if model.arrays is not None:
        outputs = model.arrays.told(outputs[model.outputs[0]], model.labels) or outputs
        told = {name: json_values(array) for name, array in outputs.items()}
        rows = [dict(zip(told, row, strict=True)) for row in zip(*told.values(), strict=True)]
        return orjson.dumps({"predictions": rows}, option=orjson.OPT_SERIALIZE_NUMPY)
    if len(outputs) == 1:
        return orjson.dumps({"predictions": json_values(next(iter(outputs.values())))}, option=orjson.OPT_SERIALIZE_NUMPY)
    columns = {name: json_values(array) for name, array in outputs.items()}
    lengths = {len(c) for c in columns.values() if isinstance(c, list)}
    if len(lengths) == 1 and all(isinstance(c, list) for c in columns.values()):
        predictions: Any = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    else:
        predictions = columns
    return orjson.dumps({"predictions": predictions}, option=orjson.OPT_SERIALIZE_NUMPY)


def _classes(model: Model, probabilities: np.ndarray, best: np.ndarray) -> bytes:
    names = model.label_json
    parts = []
    for row, top in zip(probabilities, best.tolist(), strict=True):
        numbers = orjson.dumps(row, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1].split(b",")
        pairs = b",".join([name + b":" + n for name, n in zip(names, numbers, strict=True)])
        parts.append(b'{"label":%b,"probability":%b,"probabilities":{%b}}' % (names[top], numbers[top], pairs))
    return b'{"predictions":[' + b",".join(parts) + b"]}"
