"""From what a request says to units of work."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from serving.runtime.engine.queue import Tensors, Unit
from serving.runtime.errors import RequestError, TooLarge
from serving.runtime.models.model import Model
from serving.runtime.protocols.tensors import datatype_of, from_json, texts
from sluice.fields import TabularProcessor

_SLACK = 8
_LIKE = 1.5


def units_of_rows(model: Model, rows: Sequence[Any], max_batch: int) -> tuple[list[Unit], np.ndarray | None]:
    """Units of raw rows, those of like length together; and the order of the rows in them, None where it is the request's.

    Raises:
        InputError: a row cannot be used.
    """
    assert model.processor is not None
    processor = model.processor
    if len(rows) == 1:
        example = processor.encode(rows)
        return [Unit(processor.batch(example), 1, processor.length(example[0]))], None
    most = max_batch if model.batches else 1
    if isinstance(processor, TabularProcessor):
        return cut(processor.encode_batch(rows), len(rows), 1, most), None
    examples = processor.encode(rows)
    lengths = np.array([processor.length(e) for e in examples])
    if not model.batches or lengths.min() == lengths.max():
        order, ordered = None, list(range(len(rows)))
    else:
        order = np.argsort(lengths, kind="stable")
        ordered = order.tolist()
    units, start = [], 0
    while start < len(ordered):
        shortest, end = lengths[ordered[start]], start + 1
        while end < len(ordered) and end - start < most and lengths[ordered[end]] <= shortest * _LIKE + _SLACK:
            end += 1
        part = [examples[i] for i in ordered[start:end]]
        units.append(Unit(processor.batch(part), end - start, int(lengths[ordered[end - 1]])))
        start = end
    return units, order


def cut(tensors: Tensors, rows: int, length: int, most: int) -> list[Unit]:
    """Units of at most `most` rows."""
    if rows <= most:
        return [Unit(tensors, rows, length)]
    return [Unit({n: a[at : at + most] for n, a in tensors.items()}, min(most, rows - at), length) for at in range(0, rows, most)]


def units_of_tensors(model: Model, tensors: Tensors, max_batch: int, max_rows: int) -> list[Unit]:
    """Units of the graph's own tensors.

    Raises:
        RequestError: a tensor is missing, unknown, or of another type or shape than the graph's.
        TooLarge: more rows than are taken.
    """
    for name in tensors:
        if name not in model.inputs:
            raise RequestError("is not an input of this model", field=f"inputs.{name}", fix=f"inputs: {', '.join(model.inputs)}")
    rows, length = -1, 1
    for name, spec in model.inputs.items():
        array = tensors.get(name)
        if array is None:
            raise RequestError("is missing", field=f"inputs.{name}", fix=f"send {spec.datatype} of shape {list(spec.shape)}")
        datatype = datatype_of(array)
        if datatype != spec.datatype:
            raise RequestError(f"has datatype {datatype}", field=f"inputs.{name}.datatype", fix=f"send {spec.datatype}")
        if len(array.shape) != len(spec.shape) or any(want not in (-1, n) for n, want in zip(array.shape, spec.shape, strict=True)):
            raise RequestError(f"has shape {list(array.shape)}", field=f"inputs.{name}.shape", fix=f"send {list(spec.shape)}")
        if spec.datatype == "BYTES":
            tensors[name] = _object_texts(array, f"inputs.{name}.data")
        elif name in model.tables and array.size:
            size, low = model.tables[name], int(array.min())
            # ONNX counts negative indices from the end; no tokenizer gives one.
            least, most = -size if model.inferred else 0, int(array.max())
            if low < least or most >= size:
                raise RequestError(
                    "has a value outside the model's table",
                    field=f"inputs.{name}",
                    value=low if low < least else most,
                    fix=f"send {least} to {size - 1}",
                )
        if model.inferred:
            continue
        if rows not in (-1, array.shape[0]):
            raise RequestError(f"has {array.shape[0]} rows, another input {rows}", field=f"inputs.{name}.shape")
        rows = array.shape[0]
        for n in array.shape[1:]:
            if n == 0:
                raise RequestError("has an empty axis", field=f"inputs.{name}.shape", value=list(array.shape))
            length = max(length, n if name in model.tokens else 1)
    if model.inferred:
        return [Unit(tensors, 1)]
    if rows == 0:
        raise RequestError("has no rows", field="inputs", fix="send at least one")
    if rows > max_rows:
        raise TooLarge(f"has more than {max_rows} rows", field="inputs", value=rows, fix="send several requests")
    if model.max_length and length > model.max_length:
        raise RequestError(f"is longer than the model's {model.max_length} tokens", field="inputs", value=length, fix="cut it")
    if model.tokens:
        _same_shape({name: tensors[name] for name in model.tokens if name in tensors})
    return cut(tensors, rows, length, max_batch if model.batches else 1)


def _same_shape(tensors: Tensors) -> None:
    shapes = {a.shape for a in tensors.values()}
    if len(shapes) > 1:
        raise RequestError("do not have one shape", field="inputs", value=sorted(map(list, shapes)))


def _object_texts(array: np.ndarray, field: str) -> np.ndarray:
    out = np.empty(array.size, dtype=object)
    out[:] = texts(array.ravel(), field)
    return out.reshape(array.shape)


def row_of_instance(model: Model, value: Any, i: int) -> Any:
    """V1's instance as a raw row: a file's bytes ``{"b64": ...}`` decoded, a value under its field's name, as ``{"text": ...}``, opened.

    Raises:
        RequestError: base64 that is none.
    """
    field = model.value
    if field is not None and field.blob:
        if isinstance(value, Mapping) and len(value) == 1:
            value = value.get("b64", next(iter(value.values())))
            if isinstance(value, Mapping) and "b64" in value:
                value = value["b64"]
        if isinstance(value, str):
            return from_base64(value, f"instances[{i}].b64")
    elif field is not None and isinstance(value, Mapping) and len(value) == 1 and field.name in value:
        return value[field.name]
    return value


def from_base64(value: str | bytes, field: str) -> bytes:
    """Raises `RequestError`."""
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as e:
        raise RequestError("is not base64", field=field, value=value[:40], fix="encode the file's bytes as base64 (RFC 4648)") from e


def tensors_of_instances(model: Model, instances: Sequence[Any]) -> Tensors:
    """V1 instances that are the graph's tensors, without the batch axis: stacked.

    Raises:
        RequestError: instances of different shapes, or values of another type.
    """
    names = list(model.inputs)
    if not all(isinstance(x, Mapping) for x in instances):
        if len(names) > 1 or any(isinstance(x, Mapping) for x in instances):
            raise RequestError("must be objects from input to value", field="instances", fix=f"inputs: {', '.join(names)}")
        columns: dict[str, list[Any]] = {names[0]: list(instances)}
    else:
        columns = {}
        for i, x in enumerate(instances):
            if set(x) != set(instances[0]):
                raise RequestError("does not have the first one's keys", field=f"instances[{i}]", value=sorted(x))
        for name in instances[0]:
            columns[name] = [x[name] for x in instances]
    out = {}
    for name, values in columns.items():
        spec = model.inputs.get(name)
        if spec is None:
            raise RequestError("is not an input of this model", field=f"instances[0].{name}", fix=f"inputs: {', '.join(names)}")
        out[name] = from_json(values, spec.datatype, None, f"instances.{name}")
    return out
