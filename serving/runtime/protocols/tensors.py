"""Tensors of the Open Inference Protocol: JSON and binary data to numpy and back.

Binary data is the extension "Binary Tensor Data": little-endian elements in row-major order;
BYTES elements are each preceded by their length in 4 bytes.
"""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.ma  # numpy itself loads it with the first masked array: better before workers are forked
import orjson

from serving.runtime.errors import RequestError
from sluice.core.datatypes import TABLE

DTYPES: dict[str, np.dtype[Any]] = {d.name: np.dtype(d.numpy) for d in TABLE if d.name != "BYTES"}
NAMES = {dtype: name for name, dtype in DTYPES.items()}
#: Every datatype of the protocol that is taken.
DATATYPES = tuple(d.name for d in TABLE)
_KINDS = {"b": "b", "u": "ui", "i": "ui", "f": "fui"}
_LENGTH = struct.Struct("<I")
_LIMIT_AXES = 16
#: A number of JSON that may have more digits than 64 bits, or a float, hold.
_LONG = re.compile(rb"[\[:,\s]-?[0-9]{16}")


def shape_of(raw: Any, field: str) -> tuple[int, ...]:
    """A request's `shape`. Raises `RequestError`: no list of whole numbers of at least 0."""
    if type(raw) is not list or len(raw) > _LIMIT_AXES:
        raise RequestError("must be a list of sizes", field=f"{field}.shape", value=raw, fix="for example [1, 4]")
    for n in raw:
        if type(n) is not int or n < 0 or n > 1 << 40:
            raise RequestError("must hold whole numbers of at least 0", field=f"{field}.shape", value=raw)
    return tuple(raw)


def from_json(data: Any, datatype: str, shape: tuple[int, ...] | None, field: str) -> np.ndarray:
    """A tensor from JSON `data`, flat or nested. BYTES give an object array of `str`.

    Args:
        shape: what the elements are arranged to; None keeps the nesting's own.

    Raises:
        RequestError: values of another type, out of range, or another number of them than `shape` says.
    """
    if type(data) is not list:
        raise RequestError("must be a list", field=f"{field}.data", value=data, fix="send the elements in row-major order")
    if datatype == "BYTES":
        flat = data if all(type(v) is str for v in data) else list(_flatten(data, field))
        if shape is None:
            shape = np.array(data, dtype=object).shape
        out = np.empty(len(flat), dtype=object)
        out[:] = flat
        return reshape(out, shape, field)
    target = DTYPES[datatype]
    if target.kind == "f" and None in data:
        raise RequestError("holds null", field=f"{field}.data", fix="send numbers")
    try:
        array = np.array(data)
    except (ValueError, OverflowError) as e:
        raise RequestError("is not a rectangular list of numbers", field=f"{field}.data", fix=f"send {datatype}") from e
    if target == np.uint64 and array.dtype.kind in "fO":
        array = _large(data, array)
    if array.dtype.kind not in _KINDS[target.kind] and array.size:
        raise RequestError(f"does not hold {datatype}", field=f"{field}.data", value=data[:5], fix=f"send numbers of {datatype}")
    if target.kind in "ui" and array.size:
        info = np.iinfo(target)
        if (target.itemsize < 8 or array.dtype.kind != target.kind) and (int(array.min()) < info.min or int(array.max()) > info.max):
            raise RequestError(f"does not fit {datatype}", field=f"{field}.data", fix=f"numbers in {info.min}..{info.max}")
        return reshape(array.astype(target, copy=False), shape, field)
    with np.errstate(over="ignore"):
        cast = array.astype(target, copy=False)
    if target.kind == "f" and cast.size and not np.isfinite(cast).all():
        raise RequestError(f"does not fit {datatype}", field=f"{field}.data", fix=f"numbers up to {np.finfo(target).max}")
    return reshape(cast, shape, field)


def with_missing(data: Any, datatype: str, shape: tuple[int, ...] | None, field: str) -> np.ndarray:
    """A tensor from JSON `data` in which null stands for what is missing: a masked array where there is any.

    The elements that are there are held to the datatype as `from_json` holds them.

    Raises:
        RequestError: as `from_json`.
    """
    if type(data) is not list or not (None in data or any(type(v) is list for v in data)):
        return from_json(data, datatype, shape, field)
    try:
        whole = np.array(data, dtype=object)
    except ValueError as e:
        raise RequestError("is not a rectangular list", field=f"{field}.data", fix=f"send {datatype}") from e
    mask = np.array([v is None for v in whole.flat], dtype=bool)
    if not mask.any():
        return from_json(data, datatype, shape, field)
    if any(type(v) is list for v in whole.flat):
        raise RequestError("is not a rectangular list", field=f"{field}.data", fix=f"send {datatype}")
    there = from_json([v for v in whole.flat if v is not None], datatype, (int((~mask).sum()),), field)
    full = np.empty(whole.size, dtype=there.dtype)
    full[mask] = "" if datatype == "BYTES" else 0
    full[~mask] = there
    return reshape(np.ma.MaskedArray(full, mask=mask).reshape(whole.shape), shape, field)


def json_values(array: np.ndarray) -> Any:
    """An array's numbers as JSON can say them, nested as it is: what is no finite number becomes ``"NaN"``, ``"Infinity"`` or ``"-Infinity"``.

    These are the strings of protobuf's JSON mapping; `float` and numpy read them back.
    """
    if array.dtype.kind != "f" or np.isfinite(array).all():
        return array.tolist()
    wide = array.astype(np.float64)
    out = wide.astype(object)
    out[np.isnan(wide)], out[wide == np.inf], out[wide == -np.inf] = "NaN", "Infinity", "-Infinity"
    return out.tolist()


def loads(body: bytes | memoryview, fix: str, *, exact: bool = False, decimals: bool = False) -> Any:
    """A request's JSON.

    Args:
        exact: whole numbers keep all their digits; otherwise those beyond 64 bits become floats.
        decimals: so do those written with a point or an exponent, as `Decimal` where a float is another number.

    Raises:
        RequestError: it is none.
    """
    try:
        doc = orjson.loads(body)
        return json.loads(bytes(body), parse_float=_whole if decimals else None) if exact and _LONG.search(body) else doc
    except (ValueError, RecursionError) as e:
        raise RequestError(f"is not JSON: {e}", field="body", fix=fix) from e


def _whole(text: str) -> float | Decimal:
    found = float(text)
    return Decimal(text) if found.is_integer() and abs(found) >= 1 << 53 and Decimal(text) != found else found


def _large(data: list[Any], array: np.ndarray) -> np.ndarray:
    """Whole numbers of which some need 64 bits without a sign: beside smaller ones numpy takes them for floats."""
    exact = np.array(data, dtype=object)
    if not all(type(v) is int and 0 <= v < 1 << 64 for v in exact.flat):
        return array
    return exact.astype(np.uint64)


def _flatten(data: list[Any], field: str) -> Any:
    for v in data:
        if type(v) is list:
            yield from _flatten(v, field)
        elif type(v) is str:
            yield v
        else:
            raise RequestError("does not hold BYTES", field=f"{field}.data", value=v, fix="send strings")


def reshape(array: np.ndarray, shape: tuple[int, ...] | None, field: str) -> np.ndarray:
    """Arranged to `shape`. Raises `RequestError`: another number of elements."""
    if shape is None or array.shape == shape:
        return array
    if array.size != math.prod(shape):
        raise RequestError(f"holds {array.size} elements, its shape says {math.prod(shape)}", field=f"{field}.data", value=list(shape))
    return array.reshape(shape)


def from_binary(data: bytes | memoryview, datatype: str, shape: tuple[int, ...], field: str) -> np.ndarray:
    """A tensor from binary data. BYTES give an object array of `bytes`.

    Raises:
        RequestError: another number of bytes than the shape needs, or a length that points outside.
    """
    if datatype == "BYTES":
        return reshape(_binary_bytes(data, math.prod(shape), field), shape, field)
    dtype = DTYPES[datatype]
    wanted = math.prod(shape) * dtype.itemsize
    if len(data) != wanted:
        raise RequestError(f"has {len(data)} bytes, its shape needs {wanted}", field=field, value=list(shape))
    array = np.frombuffer(data, dtype=dtype).reshape(shape)
    if datatype == "BOOL":
        return array.view(np.uint8) != 0
    return array


def _binary_bytes(data: bytes | memoryview, count: int, field: str) -> np.ndarray:
    view = memoryview(data)
    if count > len(view) // 4:
        raise RequestError(f"has {len(view)} bytes, too few for {count} elements", field=field)
    out = np.empty(count, dtype=object)
    at = 0
    for i in range(count):
        if at + 4 > len(view):
            raise RequestError(f"ends within element {i}", field=field)
        (size,) = _LENGTH.unpack_from(view, at)
        at += 4
        if at + size > len(view):
            raise RequestError(f"ends within element {i}", field=field, value=size)
        out[i] = bytes(view[at : at + size])
        at += size
    if at != len(view):
        raise RequestError(f"has {len(view) - at} bytes more than its shape needs", field=field)
    return out


def to_binary(array: np.ndarray) -> bytes:
    """The binary data of a tensor; object arrays (`str` or `bytes`) are BYTES."""
    if array.dtype == object:
        parts = []
        for v in array.flat:
            raw = v.encode() if isinstance(v, str) else v
            parts += [_LENGTH.pack(len(raw)), raw]
        return b"".join(parts)
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).tobytes()


def datatype_of(array: np.ndarray) -> str:
    """The protocol's name of an array's element type."""
    return "BYTES" if array.dtype.kind in "OUS" else NAMES[array.dtype.newbyteorder("<") if array.dtype.itemsize > 1 else array.dtype]


def texts(values: Sequence[Any] | np.ndarray, field: str) -> list[Any]:
    """BYTES elements as text; None stays None. Raises `RequestError` for what is not UTF-8."""
    out: list[Any] = []
    for i, v in enumerate(values):
        if v is None or isinstance(v, str):
            out.append(v)
            continue
        try:
            out.append(v.decode())
        except UnicodeDecodeError as e:
            raise RequestError("is not UTF-8", field=f"{field}[{i}]", value=v[:40], fix="send UTF-8 text") from e
    return out
