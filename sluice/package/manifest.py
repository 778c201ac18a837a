"""What ``model.json`` may say. Nothing in it is trusted before it was checked here."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

import orjson

from sluice.core.datatypes import DATATYPES, MODEL, TensorSpec
from sluice.core.errors import PackageError
from sluice.core.registry import Registry
from sluice.fields.field import FIELDS, Field
from sluice.problems import decision
from sluice.problems.problem import PROBLEMS, Problem, problem

#: What is written; packages of v1 are read as well, for ever (`sluice.package.v1`).
FORMAT, FORMAT_V1 = "sluice.package/v2", "sluice.package/v1"
MANIFEST = "model.json"
PROMPT = "prompt.json"
#: The file that an engine opens: a graph, TorchScript, a prompt, or what tells of a tuned language model.
MODELS = (MODEL, "model.ts", PROMPT, "tuned.json")

LIMIT_MANIFEST = 8 << 20
LIMIT_FILES = 256
#: Bytes of all files together: ONNX without external data ends at 2 GiB.
LIMIT_BYTES = 4 << 30

_KEYS = ("files", "format", "inputs", "labels", "metrics", "name", "objective", "outputs", "precision", "preprocess", "provenance", "task")
#: What v2 names beside.
_NAMED = ("engine", "fields", "problem")
#: Keys a package need not have: what is absent is as it was before there was the key.
_OPTIONAL = ("decision",)
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FIX = "export the model again, or use the version of Sluice that wrote it"


def parse(raw: bytes, where: str) -> dict[str, Any]:
    """Read ``model.json`` and check all of it.

    Args:
        raw: its bytes.
        where: how errors call it.

    Returns:
        The manifest as it is, of v2 or v1.

    Raises:
        PackageError: not JSON, of another format, a key missing or unknown, or a value of a wrong type or size.
    """
    if len(raw) > LIMIT_MANIFEST:
        raise PackageError(f"is larger than {LIMIT_MANIFEST} bytes", field=where, value=len(raw))
    try:
        m = orjson.loads(raw)
    except orjson.JSONDecodeError as e:
        raise PackageError(f"is not JSON: {e}", field=where, fix="copy the package again") from e
    _check_keys(m, where)
    for key in ("name", "task", "precision"):
        _need(isinstance(m[key], str) and m[key] != "", "must be a name", where, key, m[key])
    for key in ("preprocess", "metrics", "provenance", "files"):
        _need(isinstance(m[key], dict), "must be an object", where, key, m[key])
    if m["format"] == FORMAT:
        _check_named(m, where)
    _check_answers(m, where)
    check_files(m["files"], f"{where}: files")
    return m


def _check_keys(m: Any, where: str) -> None:
    if not isinstance(m, dict) or m.get("format") not in (FORMAT, FORMAT_V1):
        found = m.get("format") if isinstance(m, dict) else m
        raise PackageError(f"format is not {FORMAT} or {FORMAT_V1}", field=where, value=found, fix=_FIX)
    required = (*_KEYS, *(_NAMED if m["format"] == FORMAT else ()))
    for key in required:
        if key not in m:
            raise PackageError("is missing", field=f"{where}: {key}", fix=_FIX)
    for key in m:
        if key not in (*required, *_OPTIONAL):
            raise PackageError("is no key of this format", field=f"{where}: {key}", value=m[key], fix=_FIX)


def _check_named(m: dict[str, Any], where: str) -> None:
    """Problem and fields are there by these names, or classes of the user's own, which serving does not need. The engine's name is looked up when it opens the graph."""
    _check_name(PROBLEMS, m["problem"], f"{where}: problem")
    _need(isinstance(m["fields"], dict), "must be an object from name to kind", where, "fields", m["fields"])
    for name, kind in m["fields"].items():
        if kind != Field.kind:
            _check_name(FIELDS, kind, f"{where}: fields.{name}")
    engine = m["engine"]
    fine = isinstance(engine, dict) and set(engine) == {"name", "options"} and isinstance(engine["options"], dict)
    _need(fine and isinstance(engine["name"], str) and engine["name"] != "", "must have name and options", where, "engine", engine)


def _check_name(registry: Registry, name: Any, where: str) -> None:
    if not isinstance(name, str) or (":" not in name and name not in registry):
        fix = registry.nearest(name) if isinstance(name, str) else _FIX
        raise PackageError(f"is no {registry.kind} that is known here", field=where, value=name, fix=fix)


def _check_answers(m: dict[str, Any], where: str) -> None:
    """Labels, tensors and decision fit the problem whose answers the package gives: a built-in one, so it is served without the user's code."""
    labels = m["labels"]
    _need(
        isinstance(labels, list) and all(isinstance(v, str) for v in labels) and len(set(labels)) == len(labels),
        "must be different strings",
        where,
        "labels",
        labels,
    )
    _need(isinstance(m["objective"], str) and ":" not in m["objective"], "must be a name", where, "objective", m["objective"])
    _check_name(PROBLEMS, m["objective"], f"{where}: objective")
    answered = problem(m["objective"])
    inputs, outputs = tensors(m["inputs"], f"{where}: inputs"), tensors(m["outputs"], f"{where}: outputs")
    names = [t.name for t in (*inputs, *outputs)]
    _need(len(set(names)) == len(names), "name a tensor twice", where, "inputs, outputs", names)
    wanted = TensorSpec(answered.output, answered.datatype, (-1, *answered.width(labels)))
    _need(
        outputs[0] == wanted and _are_labels(answered, labels),
        f"must start with {wanted.name} {wanted.datatype} {list(wanted.shape)} for its labels",
        where,
        "outputs",
        m["outputs"],
    )
    try:
        decision.read(m.get("decision"), labels)
    except ValueError as e:
        raise PackageError(str(e), field=f"{where}: decision", value=m["decision"], fix=_FIX) from e


def _are_labels(answered: Problem, labels: list[str]) -> bool:
    try:
        answered.check_labels(labels)
    except ValueError:
        return False
    return True


def tensors(raw: Any, where: str) -> tuple[TensorSpec, ...]:
    """Tensor specifications as ``model.json`` writes them. Raises `PackageError`."""
    return tuple(_tensors(raw, where))


def _tensors(raw: Any, where: str) -> Iterator[TensorSpec]:
    if not isinstance(raw, list) or not raw:
        raise PackageError("must be a list of tensors", field=where, value=raw, fix=_FIX)
    for i, t in enumerate(raw):
        at = f"{where}[{i}]"
        if not isinstance(t, dict) or set(t) != {"name", "datatype", "shape"}:
            raise PackageError("must have name, datatype and shape", field=at, value=t, fix=_FIX)
        if not isinstance(t["name"], str) or not t["name"]:
            raise PackageError("must be a name", field=f"{at}.name", value=t["name"], fix=_FIX)
        if t["datatype"] not in DATATYPES:
            raise PackageError("is an unknown datatype", field=f"{at}.datatype", value=t["datatype"], fix=f"one of {', '.join(DATATYPES)}")
        shape = t["shape"]
        if not isinstance(shape, list) or not shape or shape[0] != -1 or not all(type(n) is int and (n == -1 or n > 0) for n in shape):
            raise PackageError("must be sizes, the batch (-1) first", field=f"{at}.shape", value=shape, fix=_FIX)
        yield TensorSpec(t["name"], t["datatype"], tuple(shape))


def check_files(listed: dict[str, Any], where: str) -> None:
    """Names stay inside the package, sizes within the limits. Raises `PackageError`."""
    if not any(name in listed for name in MODELS):
        raise PackageError(f"lists no {MODEL}", field=where, fix=_FIX)
    if len(listed) > LIMIT_FILES:
        raise PackageError(f"lists more than {LIMIT_FILES} files", field=where, value=len(listed))
    total = 0
    for name, entry in listed.items():
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or path.as_posix() != name or name in (".", MANIFEST) or "\\" in name or "\0" in name:
            raise PackageError("names a file outside the package, or not in its plain form", field=where, value=name)
        if not isinstance(entry, dict) or set(entry) != {"sha256", "size"}:
            raise PackageError("must have sha256 and size", field=f"{where}: {name}", value=entry, fix=_FIX)
        if not isinstance(entry["sha256"], str) or not _SHA256.fullmatch(entry["sha256"]):
            raise PackageError("is no sha256", field=f"{where}: {name}.sha256", value=entry["sha256"])
        if type(entry["size"]) is not int or entry["size"] < 0:
            raise PackageError("is no size", field=f"{where}: {name}.size", value=entry["size"])
        total += entry["size"]
    if total > LIMIT_BYTES:
        raise PackageError(f"lists more than {LIMIT_BYTES} bytes", field=where, value=total)


def _need(fine: bool, message: str, where: str, key: str, value: Any) -> None:
    if not fine:
        raise PackageError(message, field=f"{where}: {key}", value=value, fix=_FIX)
