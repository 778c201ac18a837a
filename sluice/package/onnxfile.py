"""What an ONNX file says about itself, read from its bytes without the `onnx` package.

The protobuf wire format (protobuf.dev/programming-guides/encoding) with the field numbers of
onnx.proto3. Weights are stepped over, so a large file costs neither time nor memory.
"""

from __future__ import annotations

import dataclasses
import math
import mmap
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from sluice.core.datatypes import TABLE
from sluice.core.errors import PackageError

#: Newest operator sets a package may use, by domain; ONNX Runtime's own is not versioned.
MAX_OPSET = {"": 26, "ai.onnx": 26, "ai.onnx.ml": 5, "com.microsoft": 1}
MIN_OPSET = 7
#: Other domains ONNX Runtime has built in, and those PyTorch's exporter names its functions by.
_BUILT_IN = (
    "ai.onnx.training",
    "ai.onnx.preview.training",
    "com.microsoft.nchwc",
    "com.microsoft.experimental",
    "com.ms.internal.nhwc",
    "org.pytorch.aten",
    "pkg.onnxscript.torch_lib",
    "pkg.onnxscript.torch_lib.common",
)
_DYNAMIC = {"DynamicQuantizeLinear", "com.microsoft.DynamicQuantizeMatMul", "com.microsoft.DynamicQuantizeLSTM"}
#: Operators that hand a table or an index on, one value for one.
_PASSING = ("Cast", "Identity", "DequantizeLinear")
#: A protobuf message ends at 2 GiB.
LIMIT_BYTES = 2 << 30
_LIMIT_DEPTH = 32

#: TensorProto.DataType -> name and bytes an element; 0 where that varies or is packed.
_ELEMENTS = {d.onnx: (d.name, d.size) for d in TABLE} | {16: ("BF16", 2)}


@dataclasses.dataclass
class Facts:
    """A graph's facts.

    Attributes:
        ir_version: of the file format.
        opsets: operator set version by domain.
        operators: nodes by operator type (with its domain where that is not ONNX's own), those of branches and functions too.
        external: tensors whose weights lie outside the file.
        locations: the files those weights are said to be in; "" where none is named.
        tables: rows of the table that an input picks from, by the input's name: its values must be below.
        elements: numbers stored as constants, by element type.
        weight_bytes: their bytes together, of the types whose size is fixed.
    """

    ir_version: int = 0
    opsets: dict[str, int] = dataclasses.field(default_factory=dict)
    operators: Counter[str] = dataclasses.field(default_factory=Counter)
    external: list[str] = dataclasses.field(default_factory=list)
    locations: set[str] = dataclasses.field(default_factory=set)
    tables: dict[str, int] = dataclasses.field(default_factory=dict)
    elements: Counter[str] = dataclasses.field(default_factory=Counter)
    weight_bytes: int = 0

    @property
    def dynamic_scales(self) -> bool:
        """Whether activations are quantised by the batch's own range: a row's answer then depends on its batch mates."""
        return bool(self.operators.keys() & _DYNAMIC)


def facts(path: Path, limit: int = LIMIT_BYTES) -> Facts:
    """Read a file's facts.

    Raises:
        PackageError: unreadable, larger than `limit` bytes, or no ONNX model.
    """
    try:
        size = path.stat().st_size
        if size > limit:
            raise PackageError(
                f"is larger than {limit} bytes", field=str(path), value=size, fix="export a smaller model, or raise the limit"
            )
        with path.open("rb") as f:  # the map goes with its last slice: closing it under one is an error
            found = _model(memoryview(mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)))
    except (OSError, ValueError) as e:
        raise PackageError(f"is no readable ONNX file: {e}", field=str(path), fix="export the model again") from e
    if not found.opsets:
        raise PackageError("is no ONNX model: it names no operator set", field=str(path), fix="export the model again")
    return found


def check(path: Path) -> Facts:
    """`facts` of a file that is safe to give to ONNX Runtime.

    Raises:
        PackageError: as `facts`; weights outside the file, which could name any file of the host; operators of
            an unknown domain, or of a version that is not served.
    """
    found = facts(path)
    if found.external:
        raise PackageError(
            "keeps weights outside the file", field=str(path), value=found.external[:5], fix="export with the weights inside"
        )
    check_operators(found, path)
    return found


def check_operators(found: Facts, path: Path) -> None:
    """Raises `PackageError`: operators of a domain ONNX Runtime does not have, or of a version it does not run."""
    for domain, version in found.opsets.items():
        if domain not in MAX_OPSET and domain not in _BUILT_IN:
            raise PackageError("needs operators ONNX Runtime does not have", field=str(path), value=domain, fix="export standard ONNX")
        low, high = MIN_OPSET if domain in ("", "ai.onnx") else 1, MAX_OPSET.get(domain)
        if high is not None and not low <= version <= high:
            raise PackageError(
                f"has an operator set outside {low}..{high}",
                field=str(path),
                value=f"{domain or 'ai.onnx'} {version}",
                fix="export it with export.opset 20",
            )


def _model(message: memoryview) -> Facts:
    found = Facts()
    for number, value in _fields(message):
        if number == 1 and isinstance(value, int):
            found.ir_version = value
        elif number == 7 and isinstance(value, memoryview):
            _graph(value, found, 0)
        elif number == 8 and isinstance(value, memoryview):
            domain, version = "", 0
            for n, v in _fields(value):
                if n == 1 and isinstance(v, memoryview):
                    domain = _text(v)
                elif n == 2 and isinstance(v, int):
                    version = v
            found.opsets[domain] = version
        elif number == 20:
            raise ValueError("it holds a training graph")
        elif number == 25 and isinstance(value, memoryview):
            for n, v in _fields(value):
                if n == 7 and isinstance(v, memoryview):
                    _node(v, found, 0)
    return found


def _graph(message: memoryview, found: Facts, depth: int) -> None:
    if depth > _LIMIT_DEPTH:
        raise ValueError("its graphs are nested too deep")
    rows: dict[str, int] = {}
    inputs: set[str] = set()
    picks: list[tuple[str, str]] = []
    source: dict[str, str] = {}
    for number, value in _fields(message):
        if isinstance(value, memoryview):
            if number == 1:
                operator, reads, writes = _node(value, found, depth)
                if operator == "Gather" and len(reads) == 2:
                    picks.append((reads[0], reads[1]))
                elif operator in _PASSING and reads and writes:
                    source[writes[0]] = reads[0]
            elif number == 5:
                name, dims = _tensor(value, found)
                rows[name] = dims[0] if dims else 0
            elif number == 11:
                inputs.update(_text(v) for n, v in _fields(value) if n == 1 and isinstance(v, memoryview))
            elif number == 15:
                _sparse(value, found)
    if depth == 0:
        for table, index in picks:
            size, asked = rows.get(_origin(table, source)), _origin(index, source)
            if size and asked in inputs - rows.keys():
                found.tables[asked] = min(size, found.tables.get(asked, size))


def _origin(name: str, source: dict[str, str]) -> str:
    for _ in range(_LIMIT_DEPTH):
        if name not in source:
            break
        name = source[name]
    return name


def _node(message: memoryview, found: Facts, depth: int) -> tuple[str, list[str], list[str]]:
    operator = domain = ""
    reads: list[str] = []
    writes: list[str] = []
    for number, value in _fields(message):
        if isinstance(value, memoryview):
            if number == 1:
                reads.append(_text(value))
            elif number == 2:
                writes.append(_text(value))
            elif number == 4:
                operator = _text(value)
            elif number == 7:
                domain = _text(value)
            elif number == 5:
                _attribute(value, found, depth)
    found.operators[f"{domain}.{operator}" if domain not in ("", "ai.onnx") else operator] += 1
    return operator, reads, writes


def _attribute(message: memoryview, found: Facts, depth: int) -> None:
    for number, value in _fields(message):
        if isinstance(value, memoryview):
            if number in (5, 10):
                _tensor(value, found)
            elif number in (6, 11):
                _graph(value, found, depth + 1)
            elif number in (22, 23):
                _sparse(value, found)


def _sparse(message: memoryview, found: Facts) -> None:
    for number, value in _fields(message):
        if number in (1, 2) and isinstance(value, memoryview):
            _tensor(value, found)


def _tensor(message: memoryview, found: Facts) -> tuple[str, list[int]]:
    dims: list[int] = []
    keys: dict[str, str] = {}
    kind, name, outside = 0, "", False
    for number, value in _fields(message):
        if number == 1:
            dims += [value] if isinstance(value, int) else list(_packed(value))
        elif number == 2 and isinstance(value, int):
            kind = value
        elif number == 8 and isinstance(value, memoryview):
            name = _text(value)
        elif number == 13 and isinstance(value, memoryview):  # external_data
            outside = True
            pair = {n: _text(v) for n, v in _fields(value) if isinstance(v, memoryview)}
            keys[pair.get(1, "")] = pair.get(2, "")
        elif number == 14 and value != 0:  # data_location
            outside = True
    if outside:
        found.external.append(name)
        found.locations.add(keys.get("location", ""))
    datatype, size = _ELEMENTS.get(kind, (f"type {kind}", 0))
    count = math.prod(dims)
    found.elements[datatype] += count
    found.weight_bytes += count * size
    return name, dims


def _packed(message: memoryview) -> Iterator[int]:
    at = 0
    while at < len(message):
        value, at = _varint(message, at)
        yield value


def _text(raw: memoryview) -> str:
    return bytes(raw).decode()


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """(field number, number or bytes); fixed-width numbers are stepped over. Raises `ValueError` where it is damaged."""
    at, end = 0, len(message)
    while at < end:
        key, at = _varint(message, at)
        kind = key & 7
        if kind == 0:
            value, at = _varint(message, at)
            yield key >> 3, value
        elif kind == 2:
            size, at = _varint(message, at)
            if size > end - at:
                raise ValueError("it is cut off")
            yield key >> 3, message[at : at + size]
            at += size
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
            if at > end:
                raise ValueError("it is cut off")
        else:
            raise ValueError(f"it has a field of wire type {kind}")


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(message) and shift < 70:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise ValueError("it is cut off" if at >= len(message) else "it has a number of more than 64 bits")
