"""Open Inference Protocol V2 over REST, with the binary tensor extension."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import orjson

from serving.runtime.engine.queue import Tensors, Unit
from serving.runtime.errors import RequestError, TooLarge
from serving.runtime.models.model import Model
from serving.runtime.protocols.inputs import from_base64, units_of_rows, units_of_tensors
from serving.runtime.protocols.tensors import (
    DATATYPES,
    datatype_of,
    from_binary,
    from_json,
    json_values,
    loads,
    shape_of,
    texts,
    to_binary,
    with_missing,
)
from sluice.fields import TabularProcessor

_FIX = 'send {"inputs": [{"name": ..., "shape": ..., "datatype": ..., "data": [...]}]}'


@dataclasses.dataclass
class Wanted:
    """What the answer shall hold: `outputs` None is all; `binary` by output, and for those not named."""

    id: str | None = None
    outputs: list[str] | None = None
    binary: dict[str, bool] = dataclasses.field(default_factory=dict)
    all_binary: bool = False


@dataclasses.dataclass
class Question:
    """A parsed request: units of work, their order, what the log keeps, and what the answer shall hold."""

    units: list[Unit]
    order: np.ndarray | None
    raw: Any
    wanted: Wanted


def parse(model: Model, body: bytes, json_length: bytes | None, max_batch: int, max_rows: int) -> Question:
    """Parse a request. `json_length`: the header ``Inference-Header-Content-Length``.

    Raises:
        RequestError: not of the protocol. InputError: a row cannot be used. TooLarge: too many rows.
    """
    binary = memoryview(b"")
    if json_length is not None:
        try:
            split = int(json_length)
        except ValueError:
            split = -1
        if not 0 <= split <= len(body) or not json_length.isdigit():
            raise RequestError(
                "is not a length within the body", field="inference-header-content-length", value=json_length.decode("latin-1")
            )
        binary, body = memoryview(body)[split:], body[:split]
    doc = loads(body, _FIX, exact=model.records is not None)
    if type(doc) is not dict or type(doc.get("inputs")) is not list:
        raise RequestError("must be a list", field="inputs", value=doc.get("inputs") if type(doc) is dict else doc, fix=_FIX)
    wanted = _wanted(model, doc)
    tensors: Tensors = {}
    at = 0
    for i, entry in enumerate(doc["inputs"]):
        name, datatype, shape, size = _entry(entry, i)
        if name in tensors:
            raise RequestError("stands twice", field=f"inputs[{i}].name", value=name)
        field = f"inputs.{name}"
        if size is not None:
            if at + size > len(binary):
                raise RequestError(
                    f"says {size} bytes, {len(binary) - at} are left", field=f"{field}.parameters.binary_data_size", value=size
                )
            tensors[name] = from_binary(binary[at : at + size], datatype, shape, field)
            at += size
        elif "data" not in entry:
            raise RequestError("is missing", field=f"{field}.data", fix="send data, or binary_data_size and the bytes behind the JSON")
        else:
            read = with_missing if model.records is not None else from_json
            tensors[name] = read(entry["data"], datatype, shape, field)
    if at != len(binary):
        raise RequestError(f"holds {len(binary) - at} bytes no input takes", field="body", fix="set binary_data_size of each binary input")
    units, order, raw = ask_of_tensors(model, tensors, max_batch, max_rows, encoded=json_length is None)
    return Question(units, order, raw, wanted)


def _entry(entry: Any, i: int) -> tuple[str, str, tuple[int, ...], int | None]:
    field = f"inputs[{i}]"
    if type(entry) is not dict:
        raise RequestError("is not an object", field=field, value=entry, fix=_FIX)
    name, datatype = entry.get("name"), entry.get("datatype")
    if type(name) is not str:
        raise RequestError("must be a string", field=f"{field}.name", value=name)
    if datatype not in DATATYPES or type(datatype) is not str:
        raise RequestError(f"must be one of {', '.join(DATATYPES)}", field=f"{field}.datatype", value=datatype)
    parameters = entry.get("parameters")
    size = None
    if parameters is not None:
        if type(parameters) is not dict:
            raise RequestError("is not an object", field=f"{field}.parameters", value=parameters)
        size = parameters.get("binary_data_size")
        if size is not None and (type(size) is not int or size < 0):
            raise RequestError("must be a whole number of at least 0", field=f"{field}.parameters.binary_data_size", value=size)
    return name, datatype, shape_of(entry.get("shape"), field), size


def _wanted(model: Model, doc: dict[str, Any]) -> Wanted:
    wanted = Wanted()
    given = doc.get("id")
    if given is not None:
        if type(given) is not str or len(given) > 1024:
            raise RequestError("must be a string of at most 1024 characters", field="id", value=given)
        wanted.id = given
    parameters = doc.get("parameters")
    if parameters is not None:
        if type(parameters) is not dict:
            raise RequestError("is not an object", field="parameters", value=parameters)
        wanted.all_binary = parameters.get("binary_data_output") is True
    outputs = doc.get("outputs")
    if outputs is not None:
        if type(outputs) is not list:
            raise RequestError("must be a list", field="outputs", value=outputs)
        names = []
        for i, o in enumerate(outputs):
            name = o.get("name") if type(o) is dict else None
            if name not in output_names(model):
                raise RequestError(
                    "is not an output of this model",
                    field=f"outputs[{i}].name",
                    value=name,
                    fix=f"outputs: {', '.join(output_names(model))}",
                )
            names.append(name)
            if type(o.get("parameters")) is dict and "binary_data" in o["parameters"]:
                wanted.binary[name] = o["parameters"]["binary_data"] is True
        wanted.outputs = names or None
    return wanted


def output_names(model: Model) -> list[str]:
    """The outputs a client can ask for: the graph's, and what the problem tells: of a classification ``label``."""
    told = ["label"] if model.classifies else list(model.arrays.tells) if model.arrays is not None else []
    return [*model.outputs, *told]


def ask_of_tensors(
    model: Model, tensors: Tensors, max_batch: int, max_rows: int, *, encoded: bool
) -> tuple[list[Unit], np.ndarray | None, Any]:
    """Units of V2 inputs: one BYTES input called as the field that a row is (``text``, ``image``, ``audio``), a tensor a column, or the graph's own tensors.

    Args:
        encoded: BYTES came in JSON, so an image or a recording is base64.

    Raises:
        RequestError: inputs that are none of these. InputError: a row cannot be used. TooLarge: too many rows.
    """
    if not tensors:
        raise RequestError("is empty", field="inputs", fix=_FIX)
    field = model.value
    raw = tensors.get(field.name) if field is not None else None
    if field is not None and raw is not None and raw.dtype == object and len(tensors) == 1:
        if raw.ndim not in (1, 2) or (raw.ndim == 2 and raw.shape[1] != 1) or not raw.size:
            raise RequestError(f"has shape {list(raw.shape)}", field=f"inputs.{field.name}.shape", fix="send [rows] or [rows, 1]")
        _limit(raw.shape[0], max_rows)
        values = raw.ravel().tolist()
        where = f"inputs.{field.name}.data"
        if not field.blob:
            rows: list[Any] = texts(values, where)
        else:
            rows = [from_base64(v, f"{where}[{i}]") if encoded or isinstance(v, str) else v for i, v in enumerate(values)]
        return (*units_of_rows(model, rows, max_batch), rows)
    if model.remote is not None and not tensors.keys() & model.inputs.keys():
        rows = model.remote.rows_of(tensors)
        _limit(len(rows), max_rows)
        return (*units_of_rows(model, rows, max_batch), rows)
    if isinstance(model.processor, TabularProcessor):
        columns = _columns(model, tensors)
        rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
        _limit(len(rows), max_rows)
        return (*units_of_rows(model, rows, max_batch), rows)
    return units_of_tensors(model, tensors, max_batch, max_rows), None, tensors


def _limit(rows: int, most: int) -> None:
    if rows > most:
        raise TooLarge(f"has more than {most} rows", field="inputs", value=rows, fix="send several requests")


def _columns(model: Model, tensors: Tensors) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {}
    for name, array in tensors.items():
        spec = model.inputs.get(name)
        if spec is None:
            raise RequestError("is not a column of this model", field=f"inputs.{name}", fix=f"columns: {', '.join(model.inputs)}")
        wide = spec.shape[1:] != (1,)  # a list a row
        if wide and array.ndim == 2 and spec.datatype == "BYTES":
            columns[name] = _lists(array, f"inputs.{name}.data")
            continue
        if array.ndim not in ((2,) if wide else (1, 2)) or (array.ndim == 2 and array.shape[1] != 1 and not wide) or not array.size:
            fix = f"send [rows, {spec.shape[1]}]" if wide else "send [rows] or [rows, 1]"
            raise RequestError(f"has shape {list(array.shape)}", field=f"inputs.{name}.shape", fix=fix)
        values = array.tolist() if wide else array.ravel().tolist()  # None where a masked array misses one
        if array.dtype == object:
            values = texts(values, f"inputs.{name}.data")
        elif spec.datatype == "BYTES" and array.dtype.kind == "f":
            values = [None if v is None else array.dtype.type(v) for v in values]  # 0.1 of 32 bits has fewer digits than as 64
        columns[name] = values
    sizes = {name: len(c) for name, c in columns.items()}
    if len(set(sizes.values())) > 1:
        raise RequestError("do not have one number of rows", field="inputs", value=sizes)
    return columns


def _lists(array: np.ndarray, field: str) -> list[Any]:
    """A list a row of a column of lists: [rows, any], texts with "" where a row has fewer."""
    if array.dtype != object:
        return list(array.tolist())
    flat = texts(array.ravel().tolist(), field)
    width = array.shape[1]
    return [[v for v in flat[i * width : (i + 1) * width] if v != ""] for i in range(len(array))]


def select(model: Model, outputs: Tensors, best: np.ndarray | None, names: list[str] | None) -> Tensors:
    """The outputs an answer holds, by name: what the problem tells (the label) beside the graph's own."""
    if best is not None:
        assert model.label_objects is not None
        outputs = {**outputs, "label": model.label_objects[best]}
    elif model.arrays is not None:
        outputs = {**outputs, **model.arrays.told(outputs[model.outputs[0]], model.labels)}
    return outputs if names is None else {n: outputs[n] for n in names}


def render(model: Model, outputs: Tensors, best: np.ndarray | None, wanted: Wanted) -> tuple[bytes, int | None]:
    """(body, length of its JSON if binary data follows)."""
    listed, tail = [], []
    for name, array in select(model, outputs, best, wanted.outputs).items():
        is_text = array.dtype == object
        entry: dict[str, Any] = {"name": name, "datatype": datatype_of(array), "shape": list(array.shape)}
        if wanted.binary.get(name, wanted.all_binary):
            raw = to_binary(array)
            entry["parameters"] = {"binary_data_size": len(raw)}
            tail.append(raw)
        elif is_text or array.dtype == np.float16 or (array.dtype.kind == "f" and not np.isfinite(array).all()):
            entry["data"] = json_values(array.ravel())
        else:
            entry["data"] = np.ascontiguousarray(array).ravel()
        listed.append(entry)
    doc: dict[str, Any] = {"model_name": model.name, "model_version": model.version}
    if wanted.id is not None:
        doc["id"] = wanted.id
    doc["outputs"] = listed
    body = orjson.dumps(doc, option=orjson.OPT_SERIALIZE_NUMPY)
    return (body + b"".join(tail), len(body)) if tail else (body, None)
