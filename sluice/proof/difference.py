"""How two packages that were to be the same differ: which files, which tensors, and by how much."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sluice.core import files
from sluice.core.datatypes import MODEL
from sluice.package.inspection import diff
from sluice.package.package import Package

#: Tensors, keys and files that are told of.
_MOST = 20


def differences(a: Package, b: Package) -> dict[str, Any]:
    """What is different in `b`.

    Returns:
        ``manifest`` {dotted key: [a, b]}, ``metrics`` {name: [a, b]}, ``files`` [{name, what}] with ``bytes`` [a, b] and, of a graph, ``tensors``
        [{name, numbers, changed, max_abs, max_rel}], ``others`` (tensors that only one has); of JSON ``keys`` {dotted key: [a, b]}.
    """
    found, entries_a, entries_b = diff(a, b), a.manifest["files"], b.manifest["files"]
    told = []
    for name in sorted(entries_a.keys() | entries_b.keys()):
        if name not in entries_a or name not in entries_b:
            told.append({"name": name, "what": "only in the new one" if name in entries_b else "only in the old one"})
        elif entries_a[name]["sha256"] != entries_b[name]["sha256"]:
            sizes = [entries_a[name]["size"], entries_b[name]["size"]]
            told.append({"name": name, "what": "changed", "bytes": sizes} | _inside(name, a.root / name, b.root / name))
    metrics = {n: [m["a"], m["b"]] for n, m in found["metrics"].items() if m["a"] != m["b"]}
    return {"manifest": found["fields"], "metrics": metrics, "files": told[:_MOST]}


def _inside(name: str, a: Path, b: Path) -> dict[str, Any]:
    if name == MODEL:
        return _tensors(a, b)
    if name.endswith(".json"):
        try:
            return {"keys": _keys(files.read_json(a), files.read_json(b))}
        except (OSError, ValueError):
            return {}
    return {}


def _tensors(a: Path, b: Path) -> dict[str, Any]:
    """The graphs' constant tensors, side by side."""
    old, new = dict(_initializers(a)), dict(_initializers(b))
    changed: list[dict[str, Any]] = []
    for name in sorted(old.keys() & new.keys()):
        x, y = old[name], new[name]
        if x.shape != y.shape or x.dtype != y.dtype:
            changed.append({"name": name, "what": f"{x.dtype}{list(x.shape)} is {y.dtype}{list(y.shape)}"})
        elif x.tobytes() != y.tobytes():
            changed.append({"name": name, "numbers": int(x.size), **_apart(x, y)})
    changed.sort(key=lambda t: -(t.get("max_abs") or math.inf))
    return {"tensors": changed[:_MOST], "changed_tensors": len(changed), "others": sorted(old.keys() ^ new.keys())[:_MOST]}


def _initializers(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(str(path), load_external_data=False).graph
    for tensor in graph.initializer:
        yield tensor.name, numpy_helper.to_array(tensor)
    for place, node in enumerate(graph.node):  # trees keep their thresholds in lists of numbers
        for attribute in node.attribute:
            values = attribute.floats or attribute.ints
            if values:
                yield f"{node.op_type} {place}: {attribute.name}", np.asarray(values)


def _apart(x: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    """How far two tensors of one shape are apart; null where they hold no numbers."""
    moved = int(np.sum(x != y))
    if not np.issubdtype(x.dtype, np.number):
        return {"changed": moved, "max_abs": None, "max_rel": None}
    wide_x, wide_y = x.astype(np.float64), y.astype(np.float64)
    apart = np.abs(wide_x - wide_y)
    scale = np.maximum(np.abs(wide_x), np.abs(wide_y))
    relative = np.divide(apart, scale, out=np.zeros_like(apart), where=scale > 0)
    return {"changed": moved, "max_abs": float(np.nanmax(apart, initial=0.0)), "max_rel": float(np.nanmax(relative, initial=0.0))}


def _keys(a: Any, b: Any, at: str = "") -> dict[str, list[Any]]:
    """Where two JSON values differ, at most `_MOST` places."""
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        pairs = [(f"{at}.{k}" if at else str(k), a.get(k), b.get(k)) for k in sorted(a.keys() | b.keys())]
    elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        pairs = [(f"{at}[{i}]", x, y) for i, (x, y) in enumerate(zip(a, b, strict=True))]
    else:
        return {} if a == b and type(a) is type(b) else {at or "(all)": [_short(a), _short(b)]}
    found: dict[str, list[Any]] = {}
    for where, x, y in pairs:
        found |= _keys(x, y, where)
        if len(found) >= _MOST:
            break
    return dict(list(found.items())[:_MOST])


def _short(value: Any) -> Any:
    return value if not isinstance(value, dict | list) else f"{type(value).__name__} of {len(value)}"


def causes(told: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """What went in differently: of ``code``, ``settings``, ``data`` and ``environment`` those that do, each as {what: [then, now]}.

    Args:
        told, now: ``commit``, ``clean``, ``sluice`` (its code's digest), ``config``, ``data``, ``python``, ``packages``, ``machine``.
    """
    found: dict[str, dict[str, Any]] = {}
    for part, keys in {
        "code": ("commit", "clean", "sluice"),
        "settings": ("config",),
        "data": ("data",),
        "environment": ("python",),
    }.items():
        differ = {k: [told.get(k), now.get(k)] for k in keys if told.get(k) != now.get(k)}
        if differ:
            found[part] = differ
    then, here = told.get("packages") or {}, now.get("packages") or {}
    moved = {n: [then.get(n), here.get(n)] for n in sorted(then.keys() | here.keys()) if then.get(n) != here.get(n)}
    machine = {
        k: [v, (now.get("machine") or {}).get(k)] for k, v in (told.get("machine") or {}).items() if (now.get("machine") or {}).get(k) != v
    }
    if moved or machine:
        found.setdefault("environment", {}).update({**moved, **machine})
    return found
