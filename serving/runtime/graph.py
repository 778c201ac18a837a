"""What an ONNX file says about itself, read from its protobuf bytes without the `onnx` package.

Field numbers are those of onnx.proto3. Weights are skipped over, so a large file costs no memory.
"""

from __future__ import annotations

import dataclasses
import mmap
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from sluice.errors import PackageError

#: The newest operator sets this server's ONNX Runtime runs; older ones it converts.
MAX_OPSET = {"": 26, "ai.onnx": 26, "ai.onnx.ml": 5}
MIN_OPSET = 7
#: Domains whose operators ONNX Runtime has built in.
DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "ai.onnx.training", "ai.onnx.preview.training", "com.microsoft", "com.microsoft.nchwc", "pkg.onnxscript.torch_lib",
           "pkg.onnxscript.torch_lib.common", "com.ms.internal.nhwc", "com.microsoft.experimental", "org.pytorch.aten")  # fmt: skip
_DEPTH = 64


@dataclasses.dataclass(frozen=True)
class Graph:
    """`opsets`: version by domain. `external`: files weights are kept in. `operators`: their types."""

    opsets: dict[str, int]
    external: frozenset[str]
    operators: frozenset[str]

    @property
    def dynamic_scales(self) -> bool:
        """Whether activations are quantised by the batch's own range: a row's answer then depends on its batch mates."""
        return bool(self.operators & {"DynamicQuantizeLinear", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM"})


def check(path: Path, max_bytes: int) -> Graph:
    """Read a graph and refuse what is not safe to load.

    Weights outside the file may only lie beside it or below: an absolute path, or one that
    climbs out (also by a symbolic link), could read any file of the host.

    Raises:
        PackageError: unreadable, too large, no ONNX, an operator set not run here, or an external path that is refused.
    """
    try:
        size = path.stat().st_size
        if size > max_bytes:
            raise PackageError(f"is larger than {max_bytes} bytes", field=str(path), value=size, fix="raise --max-model, if that is meant")
        with path.open("rb") as f:  # the map goes with its last slice; closing it earlier is an error
            graph = _read(memoryview(mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)))
    except (OSError, ValueError) as e:
        raise PackageError(f"is not a readable ONNX file: {e}", field=str(path)) from e
    if not graph.opsets:
        raise PackageError("is not an ONNX model: it names no operator set", field=str(path))
    for domain, version in graph.opsets.items():
        highest = MAX_OPSET.get(domain)
        if domain not in DOMAINS:
            raise PackageError("needs operators this server does not have", field=str(path), value=domain)
        if (highest is not None and version > highest) or (domain == "" and version < MIN_OPSET):
            raise PackageError(f"has an operator set outside {MIN_OPSET}..{highest}", field=str(path), value=f"{domain or 'ai.onnx'} {version}",
                               fix="export it with opset 18")  # fmt: skip
    total = size
    for name in sorted(graph.external):
        total += _external(path, name)
    if total > max_bytes:
        raise PackageError(
            f"and its weights are larger than {max_bytes} bytes", field=str(path), value=total, fix="raise --max-model, if that is meant"
        )
    return graph


def _external(model: Path, name: str) -> int:
    where = PurePosixPath(name)
    base = model.parent.resolve()
    if not name or where.is_absolute() or ".." in where.parts or "\\" in name or not (base / name).resolve().is_relative_to(base):
        raise PackageError("keeps weights outside the package", field=str(model), value=name, fix="export with the weights inside the file")
    try:
        return (base / name).stat().st_size
    except OSError as e:
        raise PackageError("keeps weights in a file that is not there", field=str(model), value=name) from e


def _read(model: memoryview) -> Graph:
    opsets: dict[str, int] = {}
    external: set[str] = set()
    operators: set[str] = set()
    for number, value in _fields(model):
        if number == 8 and isinstance(value, memoryview):  # opset_import
            domain, version = "", 0
            for n, v in _fields(value):
                if n == 1 and isinstance(v, memoryview):
                    domain = _text(v)
                elif n == 2 and isinstance(v, int):
                    version = v
            opsets[domain] = version
        elif number == 7 and isinstance(value, memoryview):
            _graph(value, external, operators, 0)
        elif number == 25 and isinstance(value, memoryview):  # functions: nodes are field 7
            for n, v in _fields(value):
                if n == 7 and isinstance(v, memoryview):
                    _node(v, external, operators, 0)
    return Graph(opsets, frozenset(external), frozenset(operators))


def _graph(graph: memoryview, external: set[str], operators: set[str], depth: int) -> None:
    if depth > _DEPTH:
        raise ValueError("graphs nested too deep")
    for number, value in _fields(graph):
        if not isinstance(value, memoryview):
            continue
        if number == 1:
            _node(value, external, operators, depth)
        elif number == 5:
            _tensor(value, external)
        elif number == 15:
            _sparse(value, external)


def _node(node: memoryview, external: set[str], operators: set[str], depth: int) -> None:
    for number, value in _fields(node):
        if not isinstance(value, memoryview):
            continue
        if number == 4:
            operators.add(_text(value))
        elif number == 5:
            for n, v in _fields(value):
                if not isinstance(v, memoryview):
                    continue
                if n in (5, 10):
                    _tensor(v, external)
                elif n in (6, 11):
                    _graph(v, external, operators, depth + 1)
                elif n in (22, 23):
                    _sparse(v, external)


def _sparse(tensor: memoryview, external: set[str]) -> None:
    for number, value in _fields(tensor):
        if number in (1, 2) and isinstance(value, memoryview):
            _tensor(value, external)


def _tensor(tensor: memoryview, external: set[str]) -> None:
    for number, value in _fields(tensor):
        if number == 13 and isinstance(value, memoryview):  # external_data: key and value
            pair = {n: _text(v) for n, v in _fields(value) if isinstance(v, memoryview)}
            if pair.get(1) == "location":
                external.add(pair.get(2, ""))


def _text(raw: memoryview) -> str:
    return bytes(raw).decode()


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """(field number, number or bytes) of a protobuf message. Raises `ValueError` where it is damaged."""
    at, end = 0, len(message)
    while at < end:
        key, at = _varint(message, at)
        kind = key & 7
        if kind == 0:
            value, at = _varint(message, at)
            yield key >> 3, value
        elif kind == 2:
            size, at = _varint(message, at)
            if at + size > end:
                raise ValueError("truncated")
            yield key >> 3, message[at : at + size]
            at += size
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
            if at > end:
                raise ValueError("truncated")
        else:
            raise ValueError(f"wire type {kind}")


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(message) or shift > 63:
            raise ValueError("truncated")
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
