"""Tensors as they are: for plug-in tasks and plain ONNX models whose rows are arrays already."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from sluice.core.datatypes import DATATYPES, TABLE, TensorSpec
from sluice.core.errors import InputError, PackageError
from sluice.fields.base import Example, Processor, SideFile, only, setting

NUMPY: dict[str, np.dtype[Any]] = {d.name: np.dtype(d.numpy) for d in TABLE if d.packaged}
_LIMIT_ELEMENTS = 1 << 28


@dataclasses.dataclass(frozen=True)
class TensorInput:
    """An input of the graph: axis 0 is the batch; a free axis (-1) behind it needs `pad`, what shorter rows are filled with."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    pad: float | None = None


class TensorProcessor(Processor):
    """Rows are dicts from input to nested lists or an array, without the batch axis; where there is one input, just its value.

    Args:
        tensors: the graph's inputs.

    Raises:
        PackageError: no inputs, one named twice, an unknown datatype, a shape that does not start
            with -1 or that has another free axis and no `pad`.
    """

    kind: ClassVar[str] = "tensor"

    def __init__(self, tensors: Sequence[TensorInput]):
        if not tensors:
            raise PackageError("has no inputs", field="preprocess.inputs", value=[])
        for i, t in enumerate(tensors):
            where = f"preprocess.inputs[{i}]"
            if not t.name or t.name in [u.name for u in tensors[:i]]:
                raise PackageError("is empty or stands twice", field=f"{where}.name", value=t.name)
            if t.datatype not in DATATYPES:
                raise PackageError(f"must be one of {', '.join(DATATYPES)}", field=f"{where}.datatype", value=t.datatype)
            if (
                not t.shape
                or t.shape[0] != -1
                or any(n < 1 and n != -1 for n in t.shape[1:])
                or math.prod(map(abs, t.shape)) > _LIMIT_ELEMENTS
            ):
                raise PackageError("must start with -1 and hold positive sizes behind it", field=f"{where}.shape", value=list(t.shape))
            if -1 in t.shape[1:] and (t.pad is None or t.datatype == "BYTES"):
                raise PackageError(
                    "has a free axis behind the batch and no number to pad with",
                    field=f"{where}.shape",
                    value=list(t.shape),
                    fix='add "pad": 0, or fix the axis',
                )
        self.tensors = tuple(tensors)
        self.inputs = tuple(TensorSpec(t.name, t.datatype, t.shape) for t in tensors)

    @classmethod
    def load(cls, spec: Mapping[str, Any], side_file: SideFile) -> TensorProcessor:
        """Read ``{"kind": "tensor", "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}]}``. Raises `PackageError`."""
        only(spec, "kind", "inputs")
        tensors = []
        for i, raw in enumerate(setting(spec, "inputs", list)):
            where = f"preprocess.inputs[{i}]"
            if not isinstance(raw, Mapping):
                raise PackageError("is not an object", field=where, value=raw)
            only(raw, "name", "datatype", "shape", "pad", where=where)
            shape = setting(raw, "shape", (list, tuple), where)
            if not all(type(n) is int for n in shape):
                raise PackageError("must be whole numbers", field=f"{where}.shape", value=shape)
            pad = setting(raw, "pad", (int, float), where) if raw.get("pad") is not None else None
            tensors.append(TensorInput(setting(raw, "name", str, where), setting(raw, "datatype", str, where), tuple(shape), pad))
        return cls(tensors)

    @classmethod
    def names(cls, spec: Mapping[str, Any]) -> list[str] | None:
        """Its inputs'."""
        return [t["name"] for t in spec["inputs"]] if "inputs" in spec else None

    @classmethod
    def numbers(cls, spec: Mapping[str, Any]) -> frozenset[str]:
        """All but those of texts."""
        return frozenset(t["name"] for t in spec["inputs"] if t["datatype"] != "BYTES")

    def encode(self, rows: Sequence[Any]) -> list[Example]:
        """One tensor an input, of its datatype and of its shape without the batch axis. Raises `InputError`."""
        return [self._example(row, i) for i, row in enumerate(rows)]

    def _example(self, row: Any, i: int) -> Example:
        if not isinstance(row, Mapping):
            if len(self.tensors) > 1:
                raise InputError(
                    "is not an object from input to value",
                    field=f"rows[{i}]",
                    value=row,
                    fix=f"inputs: {', '.join(t.name for t in self.tensors)}",
                )
            row = {self.tensors[0].name: row}
        for name in row:
            if name not in {t.name for t in self.tensors}:
                raise InputError(
                    "is not an input of this model",
                    field=f"rows[{i}].{name}",
                    value=row[name],
                    fix=f"inputs: {', '.join(t.name for t in self.tensors)}",
                )
        for t in self.tensors:
            if t.name not in row:
                raise InputError("is missing", field=f"rows[{i}].{t.name}", fix=f"send {t.datatype} of shape {list(t.shape[1:])}")
        return {t.name: _tensor(row[t.name], t, f"rows[{i}].{t.name}") for t in self.tensors}

    def batch(self, examples: Sequence[Example]) -> dict[str, np.ndarray]:
        """Stacked; free axes padded at their end to the batch's longest."""
        out = {}
        for t in self.tensors:
            parts = [e[t.name] for e in examples]
            if -1 not in t.shape[1:]:
                out[t.name] = np.stack(parts)
                continue
            shape = np.max([p.shape for p in parts], axis=0)
            full = np.full((len(parts), *shape), t.pad, dtype=NUMPY[t.datatype])
            for row, part in zip(full, parts, strict=True):
                row[tuple(slice(n) for n in part.shape)] = part
            out[t.name] = full
        return out

    def length(self, example: Example) -> int:
        """The largest free axis."""
        return max((n for t in self.tensors for n, free in zip(example[t.name].shape, t.shape[1:], strict=True) if free == -1), default=1)

    def spec(self) -> dict[str, Any]:
        return {
            "kind": "tensor",
            "inputs": [
                {"name": t.name, "datatype": t.datatype, "shape": list(t.shape)} | ({} if t.pad is None else {"pad": t.pad})
                for t in self.tensors
            ],
        }


def _tensor(value: Any, t: TensorInput, field: str) -> np.ndarray:
    target = NUMPY[t.datatype]
    wanted = f"send {t.datatype} of shape {list(t.shape[1:])}"
    try:
        array = np.array(value, dtype=object) if t.datatype == "BYTES" else np.asarray(value)
    except (ValueError, OverflowError) as e:
        raise InputError("is not a rectangular array", field=field, value=value, fix=wanted) from e
    if array.ndim != len(t.shape) - 1 or any(n != m and (m != -1 or n < 1) for n, m in zip(array.shape, t.shape[1:], strict=True)):
        raise InputError(f"has shape {list(array.shape)}", field=field, fix=wanted)
    if t.datatype == "BYTES":
        return _texts(array, field, wanted)
    allowed = {"b": "b", "u": "ui", "i": "ui", "f": "fui"}[target.kind]
    if array.dtype.kind not in allowed:
        raise InputError(f"does not hold {t.datatype}", field=field, value=value, fix=wanted)
    if target.kind in "ui" and array.size:
        info = np.iinfo(target)
        if int(array.min()) < info.min or int(array.max()) > info.max:
            raise InputError(f"does not fit {t.datatype}", field=field, value=value, fix=f"numbers in {info.min}..{info.max}")
    if target.kind == "f" and array.size and not np.all(np.abs(array[np.isfinite(array)]) <= np.finfo(target).max):
        raise InputError(f"does not fit {t.datatype}", field=field, value=value, fix=f"numbers up to {np.finfo(target).max}")
    return np.array(array, dtype=target, order="C")


def _texts(array: np.ndarray, field: str, wanted: str) -> np.ndarray:
    for v in array.flat:
        if not isinstance(v, str):
            raise InputError("does not hold texts", field=field, value=v, fix=wanted)
        try:
            v.encode()
        except UnicodeEncodeError as e:
            raise InputError("is not valid Unicode", field=field, value=v[:100], fix="send whole code points, no lone surrogates") from e
    return array
