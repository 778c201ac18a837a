"""The package: a directory that can be served with no Python of the user's.

``model.json`` lists every other file with its size and sha256; the package digest is the
sha256 of ``model.json``'s bytes, so it covers every byte of the package. The digest is the
model version, and the store keeps a package under ``sha256/<digest>/``.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import re
import secrets
import shutil
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sluice.core import files
from sluice.core.datatypes import MODEL, EngineSpec, TensorSpec
from sluice.core.errors import PackageError
from sluice.package import beside, v1
from sluice.package import manifest as manifests
from sluice.package.manifest import FORMAT, LIMIT_MANIFEST, MANIFEST, MODELS, PROMPT
from sluice.problems import decision
from sluice.problems.decision import Rule

__all__ = [
    "FORMAT",
    "MANIFEST",
    "MODEL",
    "PROFILE",
    "READING",
    "SHAP",
    "EngineSpec",
    "Package",
    "Store",
    "read",
    "write",
]

PROFILE = "profile.json"
#: Keys of the project's ``data:`` that say how its source is read, as far as they are not as by default.
READING = "reading.json"
#: ``rows``, ``unit`` and ``columns`` {column: mean absolute SHAP value}.
SHAP = "shap.json"

_DIGEST = re.compile(r"[0-9a-f]{64}")
_COPY = "copy the package again"
#: What opens a graph of which nothing is said.
ENGINE = EngineSpec("onnxruntime")


@dataclasses.dataclass(frozen=True)
class Package:
    """A verified package on disk.

    Attributes:
        root: the directory.
        digest: sha256 (hex) of ``model.json``.
        name: the model's name (the project's).
        task: ``text``, ``image``, ``tabular`` or the user's own.
        objective: the built-in problem whose answers it gives: ``classification`` or ``regression``.
        inputs, outputs: the graph's tensors. Classification has one output
            ``probabilities`` FP32 [-1, labels]; regression ``value`` FP32 [-1].
        labels: class names in the order of the output's columns; empty for regression.
        preprocess: the processor's specification, with its ``kind``.
        precision: the name of its format.
        metrics: metrics on the held-out rows.
        provenance: digests of code, config and data, seed, library versions.
        rule: how probabilities become a label; None: the most probable one is answered.
        manifest: the whole of ``model.json``, of v2 or v1.
        engine: what opens the graph, and with which options.
        problem: what it was trained and judged as: `objective`, or a class of the user's own that derives from it.
        fields: name to kind of what it was trained on.
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
    engine: EngineSpec
    problem: str
    fields: Mapping[str, str]
    rule: Rule | None = None

    @property
    def model(self) -> Path:
        """The file that its engine opens."""
        listed = self.manifest.get("files", {})
        return self.root / next((name for name in MODELS if name in listed), MODEL)

    @property
    def graph(self) -> bool:
        """Whether that is an ONNX graph."""
        return self.model.name == MODEL

    @property
    def tensors(self) -> bool:
        """Whether it is computed here from tensors, and not asked for in words."""
        return self.model.name != PROMPT

    def profile(self) -> dict[str, Any] | None:
        """The reference distribution for drift, if the package has one. Raises `PackageError`."""
        return self._side_file(PROFILE)

    def reading(self) -> dict[str, Any]:
        """How the source it was trained on is read (`READING`); empty where nothing but the defaults was said. Raises `PackageError`."""
        return self._side_file(READING) or {}

    def shap(self) -> dict[str, Any] | None:
        """What the trees of the model say of its columns (`SHAP`); None where it has none. Raises `PackageError`."""
        return self._side_file(SHAP)

    def _side_file(self, name: str) -> dict[str, Any] | None:
        path = self.root / name
        if name not in self.manifest.get("files", {}) and not path.exists():
            return None
        try:
            found = files.read_json(path)
        except (OSError, ValueError) as e:
            raise PackageError(f"cannot be read: {e}", field=str(path), fix=_COPY) from e
        return dict(found)


def write(
    root: Path,
    *,
    name: str,
    task: str,
    objective: str,
    inputs: list[TensorSpec],
    outputs: list[TensorSpec],
    labels: list[str],
    preprocess: dict[str, Any],
    precision: str,
    metrics: dict[str, Any],
    provenance: dict[str, Any],
    rule: Rule | None = None,
    problem: str = "",
    fields: Mapping[str, str] | None = None,
    engine: EngineSpec = ENGINE,
) -> Package:
    """Seal a directory that already holds ``model.onnx`` and its side files: write ``model.json`` last.

    Nothing that differs between two equal trainings (times, paths, run ids) may be put in:
    equal seed, data and project give an equal digest.

    Args:
        problem: what it was judged as; by default `objective`.
        fields: name to kind; by default what `preprocess` reads. A kind that only the user's task knows is written as one nobody knows.
        engine: what opens the graph.

    Raises:
        PackageError: what is given, or the directory, would be no package.
    """
    listed = {name: {"sha256": files.sha256_file(root / name), "size": (root / name).stat().st_size} for name in _regular_files(root)}
    files.write_json(
        root / MANIFEST,
        {
            "format": FORMAT,
            "name": name,
            "task": task,
            "objective": objective,
            "inputs": [dataclasses.asdict(t) for t in inputs],
            "outputs": [dataclasses.asdict(t) for t in outputs],
            "labels": labels,
            "preprocess": preprocess,
            "precision": precision,
            "metrics": metrics,
            "provenance": provenance,
            "problem": problem or objective,
            "fields": v1.fields_of(preprocess) if fields is None else {n: v1.kind(k) for n, k in fields.items()},
            "engine": {"name": engine.name, "options": dict(engine.options)},
            "files": listed,
            **({"decision": rule.to_dict()} if rule else {}),
        },
    )
    return read(root)


def read(root: Path, digest: str | None = None) -> Package:
    """Open and verify a package: the manifest, every file's digest and size, no link and no file unlisted.

    Args:
        root: the directory; it may be a link itself, nothing in it may.
        digest: the digest it must have, if known. Without it, an altered manifest that is still a
            manifest is another package, not an error.

    Raises:
        PackageError: missing, truncated, tampered with, or another digest than asked for.
    """
    root = Path(root)
    where = root / MANIFEST
    try:
        if where.stat().st_size > LIMIT_MANIFEST:
            raise PackageError("is too large to be a manifest", field=str(where), value=where.stat().st_size)
        raw = where.read_bytes()
    except OSError as e:
        raise PackageError(
            f"not a package: {e.strerror}", field=str(where), fix="name a directory that `sluice run` or `export_onnx` wrote"
        ) from e
    found = hashlib.sha256(raw).hexdigest()
    if digest is not None and found != digest.removeprefix("sha256:"):
        raise PackageError(
            f"digest is {found}, not the one asked for",
            field=str(where),
            value=digest,
            fix="the package was changed after it was registered; fetch it again",
        )
    m = manifests.parse(raw, str(where))
    try:
        _verify_files(root, m["files"])
    except OSError as e:
        raise PackageError(f"cannot be read: {e.strerror or e}", field=str(e.filename or root), fix=_COPY) from e
    named = m if m["format"] == FORMAT else v1.named(m)
    return Package(
        root=root,
        digest=found,
        name=m["name"],
        task=m["task"],
        objective=m["objective"],
        inputs=manifests.tensors(m["inputs"], str(where)),
        outputs=manifests.tensors(m["outputs"], str(where)),
        labels=tuple(m["labels"]),
        preprocess=m["preprocess"],
        precision=m["precision"],
        metrics=m["metrics"],
        provenance=m["provenance"],
        manifest=m,
        rule=decision.read(m.get("decision"), m["labels"]),
        engine=EngineSpec(**named["engine"]),
        problem=named["problem"],
        fields=named["fields"],
    )


def _regular_files(root: Path) -> list[str]:
    """Every file below `root` but the manifest, by its name in the package. Raises `PackageError` for links, sockets and the like."""
    names = []
    for path in sorted(root.rglob("*")):
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            raise PackageError("is a link; a package holds its files itself", field=str(path), fix="copy the package with its files")
        if stat.S_ISDIR(mode):
            continue
        if not stat.S_ISREG(mode):
            raise PackageError("is no regular file", field=str(path), fix=_COPY)
        if path != root / MANIFEST:
            names.append(path.relative_to(root).as_posix())
    return names


def _verify_files(root: Path, listed: dict[str, dict[str, Any]]) -> None:
    there = set(_regular_files(root))
    for name, entry in listed.items():
        path = root / name
        if name not in there:
            raise PackageError("listed in model.json but not there", field=str(path), fix=_COPY)
        size = path.stat().st_size
        if size != entry["size"]:
            raise PackageError(f"has {size} bytes, model.json says {entry['size']}", field=str(path), fix=_COPY)
        if files.sha256_file(path) != entry["sha256"]:
            raise PackageError("does not have the sha256 model.json gives", field=str(path), fix=_COPY)
    extra = there - set(listed)
    if extra:
        raise PackageError("holds files model.json does not list", field=str(root), value=sorted(extra)[:5], fix=_COPY)


class Store:
    """Content-addressed packages: ``<root>/sha256/<digest>/``, each with its proof at ``<root>/proof/<digest>/``. Adding is atomic and idempotent."""

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
        kept = _whole(target, package.digest)
        if kept is not None:
            return kept
        ready = target.with_name(f"{files.PARTIAL}{package.digest}.{secrets.token_hex(4)}")
        with files.new_dir(ready) as tmp:
            shutil.copytree(package.root, tmp, dirs_exist_ok=True, symlinks=True)
            read(tmp, package.digest)
        move_in(ready, target, package.digest)
        return read(target, package.digest)

    def get(self, digest: str) -> Package:
        """A stored package, verified. Raises `PackageError`."""
        return read(self.path(digest), digest.removeprefix("sha256:"))

    def digests(self) -> list[str]:
        """The packages that are there, sorted."""
        if not self.root.is_dir():
            return []
        return sorted(p.name for p in self.root.iterdir() if _DIGEST.fullmatch(p.name))

    def proof_path(self, digest: str) -> Path:
        """Where a package's proof is kept (`sluice.package.beside`). Raises `PackageError` for what is no digest."""
        return self.root.parent / beside.FOLDER / self.path(digest).name

    def add_proof(self, digest: str, found: Mapping[str, bytes]) -> None:
        """Keep a package's proof, in the place of one that is there."""
        root = self.proof_path(digest)
        beside.write(root, root.name, found)

    def proof(self, digest: str) -> dict[str, bytes] | None:
        """A package's proof, None where there is none. Raises `PackageError` where it is damaged."""
        root = self.proof_path(digest)
        return beside.read(root, root.name)


def move_in(ready: Path, target: Path, digest: str) -> None:
    """Move a verified package to its place, unless it is there already: a whole one is never out of its place, not for a moment."""
    try:
        for _ in range(8):
            try:
                ready.rename(target)
                break
            except OSError:
                if _whole(target, digest) is not None:
                    break
                with contextlib.suppress(FileNotFoundError):  # damaged: out of the way with it
                    old = target.with_name(f"{files.PARTIAL}old-{digest}.{secrets.token_hex(4)}")
                    target.rename(old)
                    shutil.rmtree(old, ignore_errors=True)
        else:
            raise PackageError("cannot be moved to its place", field=str(target), fix="look at the folder's permissions")
    finally:
        shutil.rmtree(ready, ignore_errors=True)
    files.fsync_path(target.parent)


def _whole(root: Path, digest: str) -> Package | None:
    """The package at `root` if it is there and undamaged."""
    try:
        return read(root, digest)
    except PackageError:
        return None
