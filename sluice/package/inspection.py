"""What a package holds, and how two differ, as plain JSON for the command line and the report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sluice.package import onnxfile
from sluice.package.manifest import MANIFEST
from sluice.package.package import Package


def inspect(package: Package) -> dict[str, Any]:
    """A package's facts.

    Returns:
        ``digest``, ``name``, ``task``, ``objective``, ``problem``, ``fields``, ``engine``, ``precision``, ``labels``, ``inputs``, ``outputs``, ``preprocess``,
        ``metrics``, ``provenance``, ``decision`` (label, threshold, aim; null where the most probable label is answered), ``bytes`` (all files), ``files`` {name: {size, sha256}} and ``graph`` {ir_version,
        opsets, operators {type: nodes}, nodes, parameters, elements {type: numbers}, weight_bytes}.

    Raises:
        PackageError: the graph cannot be read.
    """
    m, found = package.manifest, onnxfile.facts(package.model) if package.graph else None
    return {
        "digest": package.digest,
        **{
            k: m[k]
            for k in (
                "name",
                "task",
                "objective",
                "precision",
                "labels",
                "inputs",
                "outputs",
                "preprocess",
                "metrics",
                "provenance",
                "files",
            )
        },
        **_named(package),
        "decision": m.get("decision"),
        "bytes": sum(e["size"] for e in m["files"].values()) + (package.root / MANIFEST).stat().st_size,
        "graph": found
        and {
            "ir_version": found.ir_version,
            "opsets": {k or "ai.onnx": v for k, v in sorted(found.opsets.items())},
            "operators": dict(sorted(found.operators.items(), key=lambda o: (-o[1], o[0]))),
            "nodes": found.operators.total(),
            "parameters": found.elements.total(),
            "elements": dict(sorted(found.elements.items())),
            "weight_bytes": found.weight_bytes,
        },
    }


def diff(a: Package, b: Package) -> dict[str, Any]:
    """What changed from one package to another.

    Returns:
        ``same`` (equal digests); ``a`` and ``b`` (digests); ``fields`` {dotted key: [old, new]} of everything in the
        manifest but metrics, labels and files (of a package of v1 what it meant by them), null where one has no such key; ``labels`` {added, removed}; ``metrics`` {name: {a, b, change}};
        ``files`` {added, removed, changed}; ``bytes`` of the graph {a, b, change}.
    """
    skipped = {"metrics", "labels", "files"}
    old, new = (_flat({k: v for k, v in {**p.manifest, **_named(p)}.items() if k not in skipped}) for p in (a, b))
    files_a, files_b = a.manifest["files"], b.manifest["files"]
    return {
        "same": a.digest == b.digest,
        "a": a.digest,
        "b": b.digest,
        "fields": {k: [old.get(k), new.get(k)] for k in sorted(old.keys() | new.keys()) if old.get(k) != new.get(k)},
        "labels": {"added": sorted(set(b.labels) - set(a.labels)), "removed": sorted(set(a.labels) - set(b.labels))},
        "metrics": {k: _change(a.metrics.get(k), b.metrics.get(k)) for k in sorted(a.metrics.keys() | b.metrics.keys())},
        "files": {
            "added": sorted(files_b.keys() - files_a.keys()),
            "removed": sorted(files_a.keys() - files_b.keys()),
            "changed": sorted(n for n in files_a.keys() & files_b.keys() if files_a[n]["sha256"] != files_b[n]["sha256"]),
        },
        "bytes": _change(files_a[a.model.name]["size"], files_b[b.model.name]["size"]),
    }


def _named(package: Package) -> dict[str, Any]:
    """What v2 names, of a package of v1 as it was meant."""
    engine = package.engine
    return {"problem": package.problem, "fields": dict(package.fields), "engine": {"name": engine.name, "options": dict(engine.options)}}


def _change(old: Any, new: Any) -> dict[str, Any]:
    numbers = all(isinstance(v, int | float) for v in (old, new))
    return {"a": old, "b": new, "change": new - old if numbers else None}


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, item in value.items():
        out |= _flat(item, f"{prefix}{key}.") if isinstance(item, Mapping) and item else {f"{prefix}{key}": item}
    return out
