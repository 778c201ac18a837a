"""The package: a directory that can be served with no Python of the user's.

``model.json`` lists every other file with its size and sha256; the package digest is the
sha256 of ``model.json``'s bytes, so it covers every byte of the package. The digest is the
model version, and the store keeps a package under ``sha256/<digest>/``.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
import shutil
from pathlib import Path
from typing import Any

import orjson

from sluice import files
from sluice.errors import PackageError

FORMAT = "sluice.package/v1"
MANIFEST = "model.json"
MODEL = "model.onnx"
PROFILE = "profile.json"

#: V2 (Open Inference Protocol) names of the element types packages use.
DATATYPES = ("BOOL", "UINT8", "INT32", "INT64", "FP16", "FP32", "FP64", "BYTES")

_DIGEST = re.compile(r"[0-9a-f]{64}")
_LIMIT_MANIFEST = 8 << 20


@dataclasses.dataclass(frozen=True)
class TensorSpec:
    """A tensor of the graph: `shape` has -1 where the size is free (axis 0 is always the batch)."""

    name: str
    datatype: str
    shape: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Package:
    """A verified package on disk.

    Attributes:
        root: the directory.
        digest: sha256 (hex) of ``model.json``.
        name: the model's name (the project's).
        task: ``text``, ``image``, ``tabular`` or the user's own.
        objective: ``classification`` or ``regression``.
        inputs, outputs: the graph's tensors. Classification has one output
            ``probabilities`` FP32 [-1, labels]; regression ``value`` FP32 [-1].
        labels: class names in the order of the output's columns; empty for regression.
        preprocess: the processor's specification, with its ``kind``.
        precision: ``fp32`` or ``int8``.
        metrics: metrics on the held-out rows.
        provenance: digests of code, config and data, seed, library versions.
        manifest: the whole of ``model.json``.
    """

    root: Path
    digest: str
    name: str
    task: str
    objective: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    labels: tuple[str, ...]
    preprocess: dict[str, Any]
    precision: str
    metrics: dict[str, Any]
    provenance: dict[str, Any]
    manifest: dict[str, Any]

    @property
    def model(self) -> Path:
        return self.root / MODEL

    def profile(self) -> dict[str, Any] | None:
        """The reference distribution for drift, if the package has one."""
        path = self.root / PROFILE
        return files.read_json(path) if path.exists() else None


def write(root: Path, *, name: str, task: str, objective: str, inputs: list[TensorSpec], outputs: list[TensorSpec],
          labels: list[str], preprocess: dict[str, Any], precision: str, metrics: dict[str, Any],
          provenance: dict[str, Any]) -> Package:  # fmt: skip
    """Seal a directory that already holds ``model.onnx`` and its side files: write ``model.json`` last.

    Nothing that differs between two equal trainings (times, paths, run ids) may be put in:
    equal seed, data and project give an equal digest.
    """
    listed = {p.relative_to(root).as_posix(): {"sha256": files.sha256_file(p), "size": p.stat().st_size}
              for p in sorted(root.rglob("*")) if p.is_file() and p.name != MANIFEST}  # fmt: skip
    files.write_json(root / MANIFEST, {
        "format": FORMAT, "name": name, "task": task, "objective": objective,
        "inputs": [dataclasses.asdict(t) for t in inputs], "outputs": [dataclasses.asdict(t) for t in outputs],
        "labels": labels, "preprocess": preprocess, "precision": precision, "metrics": metrics,
        "provenance": provenance, "files": listed,
    })  # fmt: skip
    return read(root)


def read(root: Path, digest: str | None = None) -> Package:
    """Open and verify a package: the format, every file's digest and size, no file unlisted.

    Args:
        root: the directory.
        digest: the digest it must have, if known.

    Raises:
        PackageError: missing, truncated, tampered with, or another digest than asked for.
    """
    where = root / MANIFEST
    try:
        if where.stat().st_size > _LIMIT_MANIFEST:
            raise PackageError("is too large to be a manifest", field=str(where), value=where.stat().st_size)
        raw = where.read_bytes()
    except OSError as e:
        raise PackageError(f"not a package: {e.strerror}", field=str(where),
                           fix="name a directory that `sluice run` or `export_onnx` wrote") from e  # fmt: skip
    found = hashlib.sha256(raw).hexdigest()
    if digest is not None and found != digest.removeprefix("sha256:"):
        raise PackageError(f"digest is {found}, not the one asked for", field=str(where), value=digest,
                           fix="the package was changed after it was registered; fetch it again")  # fmt: skip
    try:
        m = orjson.loads(raw)
        if not isinstance(m, dict) or m.get("format") != FORMAT:
            raise PackageError(f"format is not {FORMAT}", field=str(where), value=m.get("format") if isinstance(m, dict) else m)
        _verify_files(root, m["files"])
        return Package(root=root, digest=found, name=m["name"], task=m["task"], objective=m["objective"],
                       inputs=_tensors(m["inputs"], where), outputs=_tensors(m["outputs"], where),
                       labels=tuple(m["labels"]), preprocess=m["preprocess"], precision=m["precision"],
                       metrics=m["metrics"], provenance=m["provenance"], manifest=m)  # fmt: skip
    except orjson.JSONDecodeError as e:
        raise PackageError(f"is not JSON: {e}", field=str(where)) from e
    except (KeyError, TypeError, AttributeError, ValueError) as e:
        raise PackageError(f"is missing or misshapes {e}", field=str(where)) from e


def _tensors(raw: list[dict[str, Any]], where: Path) -> tuple[TensorSpec, ...]:
    specs = tuple(TensorSpec(t["name"], t["datatype"], tuple(int(n) for n in t["shape"])) for t in raw)
    for t in specs:
        if t.datatype not in DATATYPES:
            raise PackageError(f"tensor {t.name} has an unknown datatype", field=str(where), value=t.datatype)
    return specs


def _verify_files(root: Path, listed: dict[str, dict[str, Any]]) -> None:
    if MODEL not in listed:
        raise PackageError(f"lists no {MODEL}", field=str(root / MANIFEST))
    base = root.resolve()
    for name, entry in listed.items():
        path = root / name
        if not path.resolve().is_relative_to(base) or Path(name).is_absolute():
            raise PackageError("names a file outside the package", field=str(root / MANIFEST), value=name)
        if not path.is_file():
            raise PackageError("listed in model.json but not there", field=str(path), fix="copy the package again")
        size = path.stat().st_size
        if size != entry["size"]:
            raise PackageError(f"has {size} bytes, model.json says {entry['size']}", field=str(path), fix="copy the package again")
        if files.sha256_file(path) != entry["sha256"]:
            raise PackageError("does not have the sha256 model.json gives", field=str(path), fix="copy the package again")
    extra = {p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file()} - set(listed) - {MANIFEST}
    if extra:
        raise PackageError("holds files model.json does not list", field=str(root), value=sorted(extra)[:5])


class Store:
    """Content-addressed packages: ``<root>/sha256/<digest>/``. Adding is atomic and idempotent."""

    def __init__(self, root: Path):
        self.root = root / "sha256"

    def path(self, digest: str) -> Path:
        """Where a digest is kept. Raises `PackageError` for what is no digest."""
        digest = digest.removeprefix("sha256:")
        if not _DIGEST.fullmatch(digest):
            raise PackageError("is not a package digest (64 hex digits)", field="digest", value=digest)
        return self.root / digest

    def uri(self, digest: str) -> str:
        """The ``file://`` address of a stored package."""
        return self.path(digest).absolute().as_uri()

    def add(self, package: Package) -> Package:
        """Copy a package in; one already there whole is kept, a damaged one replaced."""
        target = self.path(package.digest)
        if target.exists():
            try:
                return read(target, package.digest)
            except PackageError:
                pass
        with files.new_dir(target) as tmp:
            shutil.copytree(package.root, tmp, dirs_exist_ok=True)
        return read(target, package.digest)

    def get(self, digest: str) -> Package:
        """A stored package, verified. Raises `PackageError`."""
        return read(self.path(digest), digest.removeprefix("sha256:"))

    def digests(self) -> list[str]:
        if not self.root.is_dir():
            return []
        return sorted(p.name for p in self.root.iterdir() if _DIGEST.fullmatch(p.name))
